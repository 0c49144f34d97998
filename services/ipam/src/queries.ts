/** What is there, read from etcd and not from memory: the caller may have written through another replica just before. */
import type { Claim, PoolUsage } from '@heddle/contract'
import type { Call } from '@heddle/core'
import { compareIp, type Ip, parseIp } from '@heddle/net'
import { planOf } from './domain/pool.ts'
import { claimRef, poolKey, poolPrefix } from './keys.ts'
import { decodePool } from './records.ts'
import type { IpamRepo } from './repo.ts'

const maxCount = 2n ** 63n - 1n

export async function listPools(repo: IpamRepo, filter: { readonly id: string; readonly space: string }, call: Call): Promise<PoolUsage[]> {
  const records = await repo.list(filter.id === '' ? poolPrefix : poolKey(filter.id), call)
  const pools = records
    .flatMap((record) => repo.readable(record.key, () => decodePool(record)) ?? [])
    .filter((pool) => (filter.id === '' || pool.id === filter.id) && (filter.space === '' || pool.space === filter.space))
  return Promise.all(
    pools.map(async (pool) => {
      const { dynamic } = planOf(pool)
      const claims = placed(repo, await repo.listClaims(pool.id, call))
      const free = dynamic.size - BigInt(claims.filter(({ ip }) => dynamic.has(ip.value)).length)
      return { pool, claimed: BigInt(claims.length), free: free < maxCount ? free : maxCount }
    }),
  )
}

/** In the order of pool and address. */
export async function listClaims(
  repo: IpamRepo,
  filter: { readonly poolId: string; readonly owner: string; readonly host: string },
  call: Call,
): Promise<Claim[]> {
  const claims = filter.owner === '' ? await repo.listClaims(filter.poolId || undefined, call) : (await repo.held(filter.owner, call)).claims
  const wanted = claims.filter((claim) => (filter.poolId === '' || claim.poolId === filter.poolId) && (filter.host === '' || claim.host === filter.host))
  return placed(repo, wanted)
    .sort((a, b) => (a.claim.poolId < b.claim.poolId ? -1 : a.claim.poolId > b.claim.poolId ? 1 : compareIp(a.ip, b.ip)))
    .map(({ claim }) => claim)
}

/** Claims with their addresses; one of an address that nobody can read is none. */
function placed(repo: IpamRepo, claims: readonly Claim[]): { readonly claim: Claim; readonly ip: Ip }[] {
  return claims.flatMap((claim) => repo.readable(claimRef(claim.poolId, claim.address), () => ({ claim, ip: parseIp(claim.address) })) ?? [])
}
