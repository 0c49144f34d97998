/** A VF set aside for the kubelet, which has promised the device to a container; its endpoint claims it by naming it. */
import type { VfClaim } from '@heddle/contract'
import type { Call } from '@heddle/core'
import type { Known } from '@heddle/store'
import { type HostView, isMeant, obstacleTo, type Wanted } from './domain/choose.ts'
import { keys } from './keys.ts'
import { decodeClaim, decodePool, encodeClaim, inventoryIn, reservation } from './records.ts'
import { hostWithout, notThisOne, poolUnknown } from './refusals.ts'
import type { VfRepo } from './repo.ts'
import type { Asked } from './validate.ts'

/** The VF it names; what is reserved by the same already stays so, whoever has claimed it on the strength of that. */
export async function reserveVf(repo: VfRepo, asked: Asked, reservedBy: string, call: Call): Promise<VfClaim> {
  const { host, pci } = asked
  const now = call.clock.timestamp()
  const at = { host: keys.host(host), claim: keys.claim(host, pci), pool: asked.pool === '' ? undefined : keys.pool(asked.pool) }
  const holdKey = (known: Known) => keys.hold(host, inventoryIn(known, at.host)?.vfs.get(pci)?.pf ?? '')
  const { result, revision } = await repo.decide<VfClaim>(
    {
      keys: (known) => [at.host, at.claim, holdKey(known), at.pool].filter((key) => key !== undefined),
      decide: (known) => {
        const inventory = inventoryIn(known, at.host)
        if (inventory === undefined) throw hostWithout(host)
        const pool = at.pool === undefined ? undefined : known.get(at.pool)
        if (at.pool !== undefined && pool === undefined) throw poolUnknown(asked.pool)
        const record = known.get(at.claim)
        const there = record && decodeClaim(record)
        if (there?.reservedBy === reservedBy) return { write: [], result: there }
        const view: HostView = { inventory, claims: [], claimOf: () => there, isHeld: () => known.has(holdKey(known)) }
        const wanted: Wanted = { ...asked, pool: pool && decodePool(pool) }
        const vf = inventory.vfs.get(pci)
        if (vf === undefined || !isMeant(vf, view, wanted) || obstacleTo(vf, view, wanted) !== undefined) throw notThisOne(host, pci, view, wanted)
        const claim = reservation(host, pci, reservedBy, now)
        return { write: [{ put: at.claim, value: encodeClaim(claim) }], result: claim }
      },
    },
    call,
  )
  return result.revision === 0n ? { ...result, revision } : result
}
