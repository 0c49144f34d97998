/** The end of claims: by who has put the VF back, or by the sweep when the VF is gone. */
import type { VfClaim } from '@heddle/contract'
import type { Call } from '@heddle/core'
import type { Known, Write } from '@heddle/store'
import { keys } from './keys.ts'
import { decodeClaim, decodeOwner, encodeClaim, freed } from './records.ts'
import type { VfRepo } from './repo.ts'

/**
 * Frees the owner's claim; `onlyAt`: only if it is the one of that revision. Answers the claim there was. One that the owner's
 * record does not name, but memory knows, is freed with it: nobody else would ever find it.
 */
export async function releaseOwner(repo: VfRepo, owner: string, onlyAt: bigint | undefined, call: Call): Promise<VfClaim | undefined> {
  const now = call.clock.timestamp()
  const ownerKey = keys.owner(owner)
  const remembered = repo.ofOwner(owner)
  const claimKeys = (known: Known) => {
    const held = decodeOwner(known.get(ownerKey))
    return [held, remembered].flatMap((place) => (place === undefined ? [] : [keys.claim(place.host, place.pci)]))
  }
  const { result } = await repo.decide<VfClaim | undefined>(
    {
      keys: (known) => [...new Set([ownerKey, ...claimKeys(known)])],
      decide: (known) => {
        const claims = [...new Set(claimKeys(known))].flatMap((key) => known.get(key) ?? []).map(decodeClaim)
        const mine = claims.filter((claim) => claim.owner === owner)
        if (onlyAt !== undefined && !mine.some(({ revision }) => revision === onlyAt)) return { write: [], result: undefined }
        const write: Write[] = mine.map((claim) => freed(claim, now))
        if (known.has(ownerKey)) write.push({ delete: ownerKey })
        return { write, result: mine[0] }
      },
    },
    call,
  )
  return result
}

/** Ends a reservation; who has claimed the VF on the strength of it keeps it. */
export async function releaseReservation(repo: VfRepo, host: string, pci: string, onlyAt: bigint | undefined, call: Call): Promise<VfClaim | undefined> {
  const key = keys.claim(host, pci)
  const { result } = await repo.decide<VfClaim | undefined>(
    {
      keys: () => [key],
      decide: (known) => {
        const record = known.get(key)
        const claim = record && decodeClaim(record)
        if (claim === undefined || claim.reservedBy === '' || (onlyAt !== undefined && claim.revision !== onlyAt)) return { write: [], result: undefined }
        const write: Write = claim.owner === '' ? { delete: key } : { put: key, value: encodeClaim({ ...claim, reservedBy: '' }) }
        return { write: [write], result: claim }
      },
    },
    call,
  )
  return result
}
