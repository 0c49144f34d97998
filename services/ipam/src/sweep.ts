/**
 * Frees what nobody will use any more: claims whose owner never became an endpoint or no longer is one, provisional claims
 * and pools that Docker never confirmed. Compares, never replays. Memory says what is old; every deletion holds only if
 * the record is unchanged, and a claim only goes after networks has barred its owner from recording it (Fence).
 */
import type { Client } from '@heddle/bus'
import type { NetworksDefinition } from '@heddle/contract'
import type { Call } from '@heddle/core'
import { releaseOwner, releaseProvisional } from './claims.ts'
import { type KnownClaim, newestOf } from './domain/pool-state.ts'
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

/** Owners in one Fence request. */
const fenceChunk = 256

export async function sweep(
  repo: IpamRepo,
  networks: Pick<Client<typeof NetworksDefinition>, 'listEndpoints' | 'fence'>,
  limits: SweepLimits,
  call: Call,
): Promise<Swept> {
  const now = repo.clock.monotonicMs()
  const provisional: KnownClaim[] = []
  const byHost = new Map<string, { readonly owner: string; readonly claimRevision: bigint }[]>()
  for (const [owner, claims] of repo.owners) {
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
  swept.pools = await sweepPools(repo, now - limits.provisionalGraceMs, call)
  for (const [host, owners] of byHost) {
    const { endpoints } = await networks.listEndpoints({ host }, call)
    const recorded = new Set(endpoints.map(({ id }) => id))
    const suspects = owners.filter(({ owner }) => !recorded.has(owner))
    for (let from = 0; from < suspects.length; from += fenceChunk) {
      const chunk = suspects.slice(from, from + fenceChunk)
      const { fencedOwners } = await networks.fence({ owners: chunk }, call)
      const fenced = new Set(fencedOwners)
      const safe = chunk.filter(({ owner }) => fenced.has(owner))
      swept.claims += sum(await Promise.all(safe.map(({ owner, claimRevision }) => releaseOwner(repo, owner, claimRevision, call))))
    }
  }
  return swept
}

/** Provisional pools without a claim, as old as that. */
async function sweepPools(repo: IpamRepo, seenBeforeMs: number, call: Call): Promise<number> {
  let deleted = 0
  for (const { definition, claims } of [...repo.pools()]) {
    if (definition === undefined || definition.plan.pool.provisionalHost === '' || definition.seenMs > seenBeforeMs || claims.size > 0) continue
    if (await deleteUnchanged(repo, definition.plan.pool.id, definition.record.modRevision, call)) deleted++
  }
  return deleted
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0)
}
