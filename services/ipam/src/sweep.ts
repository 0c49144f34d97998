/**
 * Frees what nobody will use any more: claims whose owner never became an endpoint or no longer is one, provisional claims
 * that Docker never confirmed, pools that no network has. Compares, never replays. Memory says what is old; every deletion
 * holds only if the record is unchanged, and a claim only goes after networks has barred its owner from recording it (Fence).
 */
import type { Client } from '@heddle/bus'
import type { NetworksDefinition, Pool } from '@heddle/contract'
import { allPages, type Call, HeddleError, isSwarmOwner } from '@heddle/core'
import { releaseOwner, releaseProvisional } from './claims.ts'
import { type Definition, type KnownClaim, newestOf } from './domain/pool-state.ts'
import { deleteUnchanged } from './pools.ts'
import type { IpamRepo } from './repo.ts'

export interface SweepLimits {
  readonly graceMs: number
  readonly provisionalGraceMs: number
}

export interface Swept {
  /** Addresses freed. */
  claims: number
  provisionalClaims: number
  pools: number
}

interface Suspect {
  readonly owner: string
  readonly claimRevision: bigint
}

/** Owners in one Fence request. */
const fenceChunk = 256

type Networks = Pick<Client<typeof NetworksDefinition>, 'listEndpoints' | 'fence' | 'listNetworks' | 'getNetwork'>

/** What fails for one host is thrown when all else is done. */
export async function sweep(repo: IpamRepo, networks: Networks, limits: SweepLimits, call: Call): Promise<Swept> {
  const now = repo.clock.monotonicMs()
  const provisional: KnownClaim[] = []
  const byHost = new Map<string, Suspect[]>()
  for (const [owner, claims] of repo.owners) {
    if (isSwarmOwner(owner)) continue
    const aged = (graceMs: number) => claims.every(({ seenMs }) => now - seenMs >= graceMs)
    if (claims.some((claim) => claim.provisional)) {
      provisional.push(...claims.filter((claim) => claim.provisional && now - claim.seenMs >= limits.provisionalGraceMs))
    } else if (aged(limits.graceMs)) {
      const host = claims[0]?.host ?? ''
      const owners = byHost.get(host) ?? []
      byHost.set(host, owners)
      owners.push({ owner, claimRevision: newestOf(claims) })
    }
  }
  const swept: Swept = { claims: 0, provisionalClaims: 0, pools: 0 }
  const freed = await Promise.all(provisional.map(({ ref, revision }) => releaseProvisional(repo, ref, (claim) => claim.revision === revision, call)))
  swept.provisionalClaims = sum(freed)
  const failures: unknown[] = []
  const attempt = (part: Promise<number>): Promise<number> =>
    part.catch((error: unknown) => {
      call.signal.throwIfAborted()
      failures.push(error)
      return 0
    })
  for (const [host, owners] of byHost) swept.claims += await attempt(sweepHost(repo, networks, host, owners, call))
  swept.pools = await attempt(sweepPools(repo, networks, now - limits.provisionalGraceMs, call))
  if (failures.length > 0) throw failures[0]
  return swept
}

async function sweepHost(repo: IpamRepo, networks: Networks, host: string, owners: readonly Suspect[], call: Call): Promise<number> {
  const endpoints = await allPages(
    (pageToken) => networks.listEndpoints({ host, pageToken }, call),
    (page) => page.endpoints,
  )
  const recorded = new Set(endpoints.map(({ id }) => id))
  const suspects = owners.filter(({ owner }) => !recorded.has(owner))
  let freed = 0
  for (let from = 0; from < suspects.length; from += fenceChunk) {
    const chunk = suspects.slice(from, from + fenceChunk)
    const fenced = new Set((await networks.fence({ owners: chunk }, call)).fencedOwners)
    const safe = chunk.filter(({ owner }) => fenced.has(owner))
    freed += sum(await Promise.all(safe.map(({ owner, claimRevision }) => releaseOwner(repo, owner, claimRevision, call))))
  }
  return freed
}

/**
 * Pools without a claim that no network has, unchanged for as long as that: of a create or a delete that was cut off, or asked
 * for by Docker and never used. Their age was judged before the networks were asked for, and a network is made of a pool
 * within that time (`createPool` begins it anew).
 */
async function sweepPools(repo: IpamRepo, networks: Networks, seenBeforeMs: number, call: Call): Promise<number> {
  const old: Definition[] = []
  for (const { definition, claims } of repo.pools()) {
    if (definition !== undefined && definition.seenMs <= seenBeforeMs && claims.size === 0) old.push(definition)
  }
  if (old.length === 0) return 0
  const all = await allPages(
    (pageToken) => networks.listNetworks({ pageToken }, call),
    (page) => page.networks,
  )
  const used = new Set(all.flatMap(({ pools }) => pools.map(({ poolId }) => poolId)))
  let deleted = 0
  for (const { plan, record } of old) {
    if (used.has(plan.pool.id) || (await isUsed(networks, plan.pool, call))) continue
    if (await deleteUnchanged(repo, plan.pool.id, record.modRevision, call)) deleted++
  }
  return deleted
}

/** The list came from a cache; this answer does not. Most pools are in the space of their network's name. */
async function isUsed(networks: Networks, pool: Pool, call: Call): Promise<boolean> {
  try {
    const { network } = await networks.getNetwork({ name: pool.space }, call)
    return network?.pools.some(({ poolId }) => poolId === pool.id) ?? true
  } catch (error) {
    if (HeddleError.is(error) && error.code === 'network-unknown') return false
    throw error
  }
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0)
}
