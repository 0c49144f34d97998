/** PFs whose number of VFs is about to change: nobody claims of them meanwhile. */
import type { Call } from '@heddle/core'
import { keys } from './keys.ts'
import { epochOfHold, type HoldRecord } from './records.ts'
import { pfInUse, pfUnknown } from './refusals.ts'
import type { VfRepo } from './repo.ts'

/**
 * First the hold, then the look at the claims: a claim is made only while there is no hold, so none can come after the look.
 * Fails with pf-unknown and pf-in-use; the hold does not stay then.
 */
export async function holdPf(repo: VfRepo, host: string, pf: string, epoch: string, call: Call): Promise<void> {
  await repo.refresh(host, call)
  const before = repo.inventory(host)
  if (before?.pfs.get(pf) === undefined) throw pfUnknown(host, pf, before)
  const key = keys.hold(host, pf)
  const hold: HoldRecord = { epoch, heldAt: call.clock.timestamp() }
  await repo.decide(
    {
      keys: () => [key],
      decide: (known) => {
        const there = known.get(key)
        return { write: there !== undefined && epochOfHold(there) === epoch ? [] : [{ put: key, value: JSON.stringify(hold) }], result: undefined }
      },
    },
    call,
  )
  await repo.refresh(host, call)
  const view = repo.view(host)
  // A claim of a VF that is gone or was made anew holds nothing that could be taken away.
  const claims = [...(view?.claims ?? [])].filter((claim) => {
    const vf = view?.inventory.vfs.get(claim.pci)
    return vf?.pf === pf && (claim.owner === '' || claim.generation === vf.generation)
  })
  if (claims.length === 0) return
  await unholdPf(repo, host, pf, call)
  throw pfInUse(host, pf, claims)
}

export async function unholdPf(repo: VfRepo, host: string, pf: string, call: Call): Promise<void> {
  const key = keys.hold(host, pf)
  await repo.decide({ keys: () => [key], decide: (known) => ({ write: known.has(key) ? [{ delete: key }] : [], result: undefined }) }, call)
}
