/** What an owner holds already, by its record; and which of its wants that answers. */
import type { Claim, Want } from '@heddle/contract'
import type { Known, StoredRecord } from '@heddle/store'
import { claimKey, ownerKey } from '../keys.ts'
import { decodeClaim, decodeOwner } from '../records.ts'

export interface Held {
  /** The owner's record; absent when it holds nothing. */
  readonly record: StoredRecord | undefined
  readonly refs: readonly string[]
  readonly claims: readonly Claim[]
}

export const nothingHeld: Held = { record: undefined, refs: [], claims: [] }

/** Keys that tell what an owner holds: its record, and the claims that the record names. */
export function keysOfOwner(owner: string, known: Known): string[] {
  const key = ownerKey(owner)
  return [key, ...decodeOwner(known.get(key)).map(claimKey)]
}

export function heldIn(known: Known, owner: string): Held {
  const record = known.get(ownerKey(owner))
  const refs = decodeOwner(record)
  const records = refs.flatMap((ref) => known.get(claimKey(ref)) ?? [])
  return { record, refs, claims: records.map(decodeClaim) }
}

/** For each want the claim that answers it, each claim once: of one of its pools, and its address if it names one. */
export function answered(wants: readonly Want[], held: Held): (Claim | undefined)[] {
  const left = new Set(held.claims)
  return wants.map((want) => {
    for (const claim of left) {
      if (!want.poolIds.includes(claim.poolId) || (want.address !== '' && want.address !== claim.address)) continue
      left.delete(claim)
      return claim
    }
    return undefined
  })
}

/** A claim the owner holds in a pool of an open want that asks for another address: a repeated request that is not the same. */
export function heldOtherwise(
  wants: readonly Want[],
  answers: readonly (Claim | undefined)[],
  held: Held,
): { readonly want: number; readonly claim: Claim } | undefined {
  const used = new Set(answers)
  for (const [index, want] of wants.entries()) {
    if (answers[index] !== undefined) continue
    const claim = held.claims.find((one) => !used.has(one) && want.poolIds.includes(one.poolId))
    if (claim !== undefined) return { want: index, claim }
  }
  return undefined
}
