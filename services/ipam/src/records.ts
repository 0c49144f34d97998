/** What stands in etcd, and what it means. Values are proto JSON; revisions are etcd's own and never stored. */
import { Claim, Pool } from '@heddle/contract'
import type { StoredRecord } from '@heddle/store'
import { refOfKey } from './keys.ts'

export function encodePool(pool: Pool): string {
  return JSON.stringify(Pool.toJSON(pool))
}

export function decodePool(record: StoredRecord): Pool {
  return Pool.fromJSON(JSON.parse(record.value))
}

export function encodeClaim(claim: Claim): string {
  return JSON.stringify(Claim.toJSON({ ...claim, revision: 0n }))
}

/** Never fails: a claim that cannot be read, because somebody wrote it by hand, is nobody's. The key says what is claimed. */
export function decodeClaim({ key, value, modRevision }: StoredRecord): Claim {
  const { poolId, address } = refOfKey(key)
  return { ...claimIn(value), poolId, address, revision: modRevision }
}

function claimIn(value: string): Claim {
  try {
    return Claim.fromJSON(JSON.parse(value))
  } catch {
    return Claim.fromPartial({})
  }
}

/** An owner's claims, in no order that matters: sorted, so that one set has one text. */
export function encodeOwner(refs: readonly string[]): string {
  return JSON.stringify({ claims: [...refs].sort() })
}

export function decodeOwner(record: StoredRecord | undefined): readonly string[] {
  return record === undefined ? [] : (JSON.parse(record.value) as { claims: string[] }).claims
}

export function encodeSpace(poolIds: readonly string[]): string {
  return JSON.stringify({ pools: [...poolIds].sort() })
}

export function decodeSpace(record: StoredRecord | undefined): readonly string[] {
  return record === undefined ? [] : (JSON.parse(record.value) as { pools: string[] }).pools
}
