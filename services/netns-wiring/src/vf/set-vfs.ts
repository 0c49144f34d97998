/** Makes or removes the VFs of a PF: through 0, as the kernel demands, so nobody may use one of them. */
import { busServices, type SetVfsResponse } from '@heddle/contract'
import { type Call, HeddleError, invalid, raceCall, remainingMs, sleep, undoCall, withCall } from '@heddle/core'
import type { PhysicalFunction } from '@heddle/kernel'
import type { VfParts } from './endpoints.ts'
import { stateOf } from './inventory.ts'

const unholdMs = 3000
const pollMs = 100
/** Drivers probe many VFs one after the other. */
const readyWaitMs = 60_000
/** Removing and making them, and all of the above and below. */
const changeMs = 180_000
/** A PF without a cable has none. */
const carrierWaitMs = 5000

/** Throws pf-unknown, pf-in-use, invalid-argument, kernel-refused, unavailable. */
export async function setVfs(parts: VfParts, wanted: { readonly pf: string; readonly count: number }, call: Call): Promise<SetVfsResponse> {
  const { context, reporter } = parts
  const { pci } = await findPf(parts, wanted.pf, call)
  // One at a time: the end of one would let go of the PF while the kernel is at the next.
  const done = parts.vfQueue.run(pci, () => {
    call.signal.throwIfAborted()
    // The kernel ends what it began, whether the caller still waits or not; so do we, or VFs stay half made and the PF held.
    return withCall(undoCall(call, changeMs), (own) => set(parts, pci, wanted.count, own))
  })
  done.catch((error: unknown) => {
    if (call.signal.aborted) context.logger.warn({ err: error, pf: pci }, 'the number of VFs was not changed as asked; nobody waits for it any more')
  })
  await raceCall(done, call)
  return { pf: reporter.pfs.find((pf) => pf.pci === pci), vfs: reporter.messages().filter((vf) => vf.pf === pci) }
}

async function set(parts: VfParts, pci: string, count: number, call: Call): Promise<void> {
  const { context, reporter } = parts
  const { host } = context
  const pf = await findPf(parts, pci, call)
  if (count > pf.totalVfs) throw invalid('count', `PF ${nameOf(pf)} has at most ${pf.totalVfs} VFs, not ${count}`, `choose 0 to ${pf.totalVfs}`)
  // The allocator must know of this process before it holds for it.
  await reporter.now(call)
  if (pf.numVfs === count) return
  const allocator = context.bus.client(busServices.vfAllocator)
  await allocator.holdPf({ host, pf: pci, epoch: reporter.epoch }, call)
  try {
    await change(parts, pf, count, call)
  } finally {
    await withCall(undoCall(call, unholdMs), (late) => allocator.unholdPf({ host, pf: pci }, late)).catch((error: unknown) =>
      context.logger.warn({ err: error, pf: pci }, 'a PF is held until these hands start anew: no VF of it is claimed'),
    )
  }
}

async function change(parts: VfParts, pf: PhysicalFunction, count: number, call: Call): Promise<void> {
  await parts.reporter.now(call)
  checkUnused(parts, pf)
  await parts.cards.sysfs.setNumVfs(pf.pci, count, {}, call)
  await untilReady(parts, pf.pci, count, call)
  await bindAnew(parts, pf, call)
}

async function findPf({ cards, context }: VfParts, wanted: string, call: Call): Promise<PhysicalFunction> {
  const functions = await raceCall(cards.sysfs.physicalFunctions(), call)
  const pf = functions.find(({ pci, netdevs }) => pci === wanted || netdevs.some(({ name }) => name === wanted))
  if (pf !== undefined) return pf
  const has = functions.length === 0 ? 'it has none' : `it has ${functions.map(nameOf).join(', ')}`
  throw new HeddleError('pf-unknown', `host ${context.host} has no device ${JSON.stringify(wanted)} that can have VFs: ${has}`, {
    field: 'pf',
    remedy: 'name a PCI address or netdev of "heddle pf ls"; SR-IOV may have to be switched on in the firmware',
    details: { pf: wanted, host: context.host },
  })
}

/** By the kernel's word: claims were looked at when the PF was held. A netdev that is not on the host counts, whatever else is known. */
function checkUnused({ reporter }: VfParts, pf: PhysicalFunction): void {
  for (const seen of reporter.seen) {
    const { vf } = seen.view
    if (vf.pf !== pf.pci) continue
    const { state, reason } = stateOf({ ...seen, settled: true }, reporter.recorded(seen), undefined)
    if (state !== 'used' && state !== 'foreign') continue
    throw new HeddleError('pf-in-use', `VF ${vf.pci} of PF ${nameOf(pf)} is in use${reason === '' ? '' : `: ${reason}`}`, {
      field: 'pf',
      remedy: 'end what uses it: every VF of a PF is removed when their number changes',
      details: { pf: pf.pci, pci: vf.pci },
    })
  }
}

/** Every VF with its driver and its baseline recorded. */
async function untilReady({ cards, reporter }: VfParts, pci: string, count: number, call: Call): Promise<void> {
  const endMs = call.clock.monotonicMs() + Math.min(readyWaitMs, remainingMs(call))
  for (;;) {
    await reporter.now(call)
    const pf = await raceCall(cards.sysfs.physicalFunction(pci), call)
    const mine = reporter.seen.filter(({ view }) => view.vf.pf === pci)
    if (pf?.numVfs === count && mine.length === count && mine.every((seen) => reporter.recorded(seen).baseline !== undefined)) return
    if (call.clock.monotonicMs() >= endMs) {
      throw new HeddleError('deadline-exceeded', `PF ${pci} has ${mine.length} of ${count} VFs, not all with driver and netdev yet`, {
        remedy: 'see "heddle vf ls" in a moment, and the kernel log for what the driver says',
      })
    }
    await sleep(call.clock, pollMs, call.signal)
  }
}

/** For drivers that cannot speak to a PF that resets, which it does when its VFs are made: once it has its link back. */
async function bindAnew({ cards, reporter, drivers, putBack, vfQueue }: VfParts, { pci, netdevs: [netdev] }: PhysicalFunction, call: Call): Promise<void> {
  const deaf = reporter.seen.filter(({ view: { vf } }) => vf.pf === pci && drivers.wantsReadyPf(vf.driver))
  if (deaf.length === 0 || netdev === undefined || netdev.operstate === 'down') return
  const endMs = call.clock.monotonicMs() + Math.min(carrierWaitMs, remainingMs(call))
  while ((await raceCall(cards.sysfs.physicalFunction(pci), call))?.netdevs[0]?.carrier !== true && call.clock.monotonicMs() < endMs) {
    await sleep(call.clock, pollMs, call.signal)
  }
  for (const seen of deaf) {
    const { baseline } = reporter.recorded(seen)
    const { pci: vf } = seen.view.vf
    await vfQueue.run(vf, async () => {
      await drivers.rebind(vf, call)
      // Another name or MAC than at first, perhaps.
      if (baseline !== undefined) await putBack.run(vf, baseline, {}, call)
    })
  }
  await reporter.now(call)
}

const nameOf = ({ netdevs, pci }: PhysicalFunction): string => (netdevs[0] === undefined ? pci : `${netdevs[0].name} (${pci})`)
