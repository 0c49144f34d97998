/** What the hands of a host found, taken in; and what they need to know of it. */
import type { Vf, VfClaim } from '@heddle/contract'
import { type Call, invalid } from '@heddle/core'
import type { Write } from '@heddle/store'
import { claimOn, type Inventory, isLate, isLost, merged, type Reported, sameInventory } from './domain/inventory.ts'
import { keys, prefixes } from './keys.ts'
import { encodeInventory, epochOfHold, inventoryIn } from './records.ts'
import type { VfRepo } from './repo.ts'

/** A request of etcd takes 1.5 MiB, a transaction of the store 1 MiB. */
const maxRecordLength = 1_000_000

export interface Recorded {
  readonly vfs: Vf[]
  readonly lost: VfClaim[]
}

/**
 * Written only when it differs from what is recorded. Holds of earlier hands end. A report of hands that others have taken
 * over from changes nothing. The claims are read after the report was made: a VF that is not among them is nobody's.
 */
export async function takeReport(repo: VfRepo, report: Reported, call: Call): Promise<Recorded> {
  const { host, epoch } = report
  const hostKey = keys.host(host)
  const claims = new Map((await repo.claimsNow(host, call)).map((claim) => [claim.pci, claim]))
  const { result: inventory } = await repo.decide<Inventory>(
    {
      keys: () => [hostKey, ...repo.heldPfs(host).map((pf) => keys.hold(host, pf))],
      decide: (known) => {
        const before = inventoryIn(known, hostKey)
        if (before !== undefined && isLate(before, epoch)) return { write: [], result: before }
        const after = merged(before, report, (pci) => claims.get(pci))
        const write: Write[] = [...known.values()]
          .filter((record) => record.key.startsWith(prefixes.holdsOf(host)) && epochOfHold(record) !== epoch)
          .map(({ key }) => ({ delete: key }))
        if (before === undefined || !sameInventory(before, after)) write.push({ put: hostKey, value: encoded(after, call.clock.timestamp()) })
        return { write, result: after }
      },
    },
    call,
  )
  return {
    vfs: report.vfs.map((seen) => answerFor({ ...seen, host }, inventory, claims.get(seen.pci))),
    lost: [...claims.values()].filter((claim) => isLost(claim, inventory)),
  }
}

/** A claimed or reserved VF is as its hands see it; of another one they learn what became of what they proposed. */
function answerFor(seen: Vf, inventory: Inventory, claim: VfClaim | undefined): Vf {
  const recorded = inventory.vfs.get(seen.pci)
  const same = recorded?.generation === seen.generation ? recorded : undefined
  const holder = claimOn(seen, claim)
  const { state, reason } = holder === undefined ? (same ?? seen) : seen
  return { ...seen, baseline: same?.baseline, claim: holder, state, reason }
}

function encoded(inventory: Inventory, now: string): string {
  const text = encodeInventory(inventory, now)
  if (text.length > maxRecordLength)
    throw invalid('vfs', `what is reported of host ${inventory.host} has ${text.length} bytes, more than a record holds`, 'create fewer VFs on this host')
  return text
}
