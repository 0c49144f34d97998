/** Pools as records: created once, confirmed, deleted when nothing is claimed. */
import type { Pool } from '@heddle/contract'
import type { Call } from '@heddle/core'
import type { StoredRecord, Write } from '@heddle/store'
import { releaseProvisional } from './claims.ts'
import { checkPool, differsIn, overlapping } from './domain/pool.ts'
import { claimRef, claimsBelow, poolKey, spaceKey } from './keys.ts'
import { decodePool, decodeSpace, encodePool, encodeSpace } from './records.ts'
import { poolInUse, poolOverlaps } from './refusals.ts'
import type { IpamRepo } from './repo.ts'

/**
 * The same definition again answers what is there, and confirms it when it no longer names a provisional host. It is written
 * again even when nothing changes: its age begins anew, so that no sweep deletes what somebody is just making a network of.
 */
export async function createPool(repo: IpamRepo, asked: Pool, call: Call): Promise<{ pool: Pool; created: boolean }> {
  const { pool, prefix } = checkPool(asked, repo.clock.timestamp())
  const [key, space] = [poolKey(pool.id), spaceKey(pool.space)]
  const decided = await repo.decide<{ pool: Pool; created: boolean }>(
    {
      keys: () => [key, space],
      decide: (known) => {
        const record = known.get(key)
        const there = record && decodePool(record)
        if (there !== undefined) {
          const field = differsIn(pool, there)
          if (field !== undefined) throw poolOverlaps(pool, there.id, `has other ${field} than`)
          const kept = pool.provisionalHost === '' ? { ...there, provisionalHost: '' } : there
          return { write: [{ put: key, value: encodePool(kept) }], result: { pool: kept, created: false } }
        }
        const ids = decodeSpace(known.get(space))
        const other = overlapping(pool.space, prefix, ids)
        if (other !== undefined) throw poolOverlaps(pool, other, 'overlaps')
        return {
          write: [
            { put: key, value: encodePool(pool) },
            { put: space, value: encodeSpace([...ids, pool.id]) },
          ],
          result: { pool, created: true },
        }
      },
    },
    call,
  )
  return decided.result
}

/** True when it was there. Fails with pool-in-use. */
export async function deletePool(repo: IpamRepo, poolId: string, purgeProvisional: boolean, call: Call): Promise<boolean> {
  for (;;) {
    call.signal.throwIfAborted()
    const stored = await readPool(repo, poolId, call)
    if (stored === undefined) return false
    if (await deleteUnclaimed(repo, stored, call)) return true
    const claims = await repo.listClaims(poolId, call)
    const [kept] = purgeProvisional ? claims.filter((claim) => !claim.provisional) : claims
    if (kept !== undefined) throw poolInUse(poolId, claims.length, kept)
    await Promise.all(claims.map((claim) => releaseProvisional(repo, claimRef(poolId, claim.address), () => true, call)))
  }
}

/** Deletes a pool that is still as it was at this revision, unless something of it is claimed. */
export async function deleteUnchanged(repo: IpamRepo, poolId: string, modRevision: bigint, call: Call): Promise<boolean> {
  const stored = await readPool(repo, poolId, call)
  return stored?.pool.modRevision === modRevision && deleteUnclaimed(repo, stored, call)
}

interface StoredPool {
  readonly pool: StoredRecord
  readonly space: StoredRecord
}

async function readPool(repo: IpamRepo, poolId: string, call: Call): Promise<StoredPool | undefined> {
  const key = poolKey(poolId)
  const spaceOf = (record: StoredRecord) => spaceKey(decodePool(record).space)
  const { result } = await repo.decide(
    {
      keys: (known) => [key, ...[known.get(key) ?? []].flat().map(spaceOf)],
      decide: (known) => {
        const pool = known.get(key)
        const space = pool && known.get(spaceOf(pool))
        return { write: [], result: pool && space && { pool, space } }
      },
    },
    call,
  )
  return result
}

/** False when somebody was faster, or something of it is claimed. */
async function deleteUnclaimed(repo: IpamRepo, { pool, space }: StoredPool, call: Call): Promise<boolean> {
  const { id } = decodePool(pool)
  const left = decodeSpace(space).filter((other) => other !== id)
  const unchanged = [pool, space].map(({ key, modRevision }) => ({ key, is: 'at' as const, modRevision }))
  const write: Write[] = [{ delete: pool.key }, left.length === 0 ? { delete: space.key } : { put: space.key, value: encodeSpace(left) }]
  return (await repo.commit({ when: [...unchanged, { key: claimsBelow(id), is: 'none-below' }], write }, call)).succeeded
}
