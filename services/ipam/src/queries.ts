/** What is there, read from etcd and not from memory: the caller may have written through another replica just before. */
import { type Claim, Pool, type PoolUsage } from '@heddle/contract'
import { type Call, pageAfter } from '@heddle/core'
import { parseIp } from '@heddle/net'
import { planOf } from './domain/pool.ts'
import { claimKey, claimPrefix, claimRef, claimsBelow, poolKey, poolPrefix } from './keys.ts'
import { decodeClaim, decodePool } from './records.ts'
import type { IpamRepo } from './repo.ts'

const maxCount = 2n ** 63n - 1n
/** Claims in a page; the longest has some 600 bytes. */
const pageSize = 1_000

const poolShape = { keyOf: ({ id }: Pool) => id, bytesOf: (pool: Pool) => Pool.encode(pool).finish().length }

interface PoolFilter {
  readonly id: string
  readonly space: string
  readonly pageToken: string
}

/** In the order of their ids. */
export async function listPools(repo: IpamRepo, filter: PoolFilter, call: Call): Promise<{ pools: PoolUsage[]; nextPageToken: string }> {
  const records = await repo.list(filter.id === '' ? poolPrefix : poolKey(filter.id), call)
  const pools = records
    .flatMap((record) => repo.readable(record.key, () => decodePool(record)) ?? [])
    .filter((pool) => (filter.id === '' || pool.id === filter.id) && (filter.space === '' || pool.space === filter.space))
  const { entries, nextPageToken } = pageAfter(filter.pageToken, pools, poolShape)
  return { pools: await Promise.all(entries.map((pool) => usageOf(repo, pool, call))), nextPageToken }
}

async function usageOf(repo: IpamRepo, pool: Pool, call: Call): Promise<PoolUsage> {
  const { dynamic } = planOf(pool)
  const claims = legible(repo, await repo.listClaims(pool.id, call))
  const free = dynamic.size - BigInt(claims.filter(({ address }) => dynamic.has(parseIp(address).value)).length)
  return { pool, claimed: BigInt(claims.length), free: free < maxCount ? free : maxCount }
}

interface ClaimFilter {
  readonly poolId: string
  readonly owner: string
  readonly host: string
  readonly pageToken: string
}

/** In the order of pool id and address as text. */
export async function listClaims(repo: IpamRepo, filter: ClaimFilter, call: Call): Promise<{ claims: Claim[]; nextPageToken: string }> {
  const matches = ({ poolId, host }: Claim) => (filter.poolId === '' || poolId === filter.poolId) && (filter.host === '' || host === filter.host)
  if (filter.owner !== '') {
    const { claims } = await repo.held(filter.owner, call)
    return { claims: claims.filter(matches).toSorted((a, b) => (refOf(a) < refOf(b) ? -1 : 1)), nextPageToken: '' }
  }
  const part = { after: filter.pageToken === '' ? '' : claimKey(filter.pageToken), limit: pageSize }
  const claims = (await repo.list(filter.poolId === '' ? claimPrefix : claimsBelow(filter.poolId), call, part)).map(decodeClaim)
  const last = claims.at(-1)
  return { claims: legible(repo, claims.filter(matches)), nextPageToken: last !== undefined && claims.length === pageSize ? refOf(last) : '' }
}

/** A claim of what is no address is none. */
function legible(repo: IpamRepo, claims: readonly Claim[]): Claim[] {
  return claims.filter((claim) => repo.readable(refOf(claim), () => parseIp(claim.address)) !== undefined)
}

function refOf({ poolId, address }: Claim): string {
  return claimRef(poolId, address)
}
