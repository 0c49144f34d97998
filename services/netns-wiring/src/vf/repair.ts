/**
 * Finds VFs that are not as they should be and puts them back: at start, on a timer, and when asked. Never one that is claimed or in
 * somebody else's use. When vf-allocator does not answer, everything stays.
 */
import { busServices, type VfClaim, type VfRepair } from '@heddle/contract'
import { type Call, HeddleError } from '@heddle/core'
import { parseEndpointAlias } from '../domain/names.ts'
import { Suspects } from '../domain/suspects.ts'
import type { VfEndpoints, VfParts } from './endpoints.ts'
import { type Seen, stateOf } from './inventory.ts'
import { baselineDifferences, overrideLeft } from './verify.ts'

interface Result {
  readonly outcome: 'clean' | 'repaired' | 'quarantined' | 'held'
  readonly differences: string[]
}

export class VfRepairs {
  readonly #parts: VfParts
  readonly #endpoints: VfEndpoints
  /** Claims may be on their way when a netdev with a mark is found in a namespace: it is looked at twice. */
  readonly #strays: Suspects

  constructor(parts: VfParts, endpoints: VfEndpoints, graceMs: number) {
    this.#parts = parts
    this.#endpoints = endpoints
    this.#strays = new Suspects(graceMs)
  }

  /** What the timer does. */
  async round(call: Call): Promise<void> {
    const { reporter } = this.#parts
    // Nothing is known of claims without a fresh answer.
    if (!(await reporter.tell(call)) || !reporter.hasDevices) return
    // Read a moment ago: only what there is to do something about is read again. Side by side: one may wait for a name that another has.
    const found = reporter.seen.filter((seen) => this.#asSeen(seen) === undefined)
    const results = await Promise.all(found.map((seen) => this.#lookAfter(seen, call)))
    const strays = await this.#putBackStrays(call)
    if (strays || results.some(({ outcome, differences }) => outcome === 'repaired' || (outcome === 'quarantined' && differences.length > 0)))
      await reporter.tell(call)
  }

  /** One that cannot be looked after does not keep the others from it. */
  async #lookAfter(seen: Seen, call: Call): Promise<Result> {
    const { context } = this.#parts
    const { pci: vf } = seen.view.vf
    const result = await this.#one(seen, false, call).catch((error: unknown): Result => {
      if (call.signal.aborted) throw error
      context.logger.warn({ err: error, vf }, 'a VF could not be looked after; trying again')
      return { outcome: 'held', differences: [] }
    })
    if (result.outcome === 'repaired') context.logger.info({ vf, differences: result.differences }, 'a VF was put back to its baseline')
    return result
  }

  /** Every VF, or one; those in quarantine too, whenever they were tried last. Throws vf-unknown, unavailable. */
  async all(pci: string, call: Call): Promise<VfRepair[]> {
    const { reporter, cards } = this.#parts
    if (pci !== '') await cards.get(pci, call)
    await reporter.now(call)
    const meant = reporter.seen.filter(({ view }) => pci === '' || view.vf.pci === pci)
    const repairs = await Promise.all(
      meant.map(async (seen): Promise<VfRepair> => ({ pci: seen.view.vf.pci, ...(this.#asSeen(seen) ?? (await this.#one(seen, true, call))) })),
    )
    await reporter.tell(call)
    return repairs
  }

  /** What there is to say of a VF that nothing is to be done about; undefined for others. */
  #asSeen(seen: Seen): Result | undefined {
    const { reporter, held, quarantine } = this.#parts
    const { vf } = seen.view
    const recorded = reporter.recorded(seen)
    const claim = reporter.claim(vf.pci)
    const { state, reason } = stateOf(seen, recorded, quarantine.reason(vf))
    if (recorded.baseline === undefined || seen.view.info === undefined) return { outcome: 'held', differences: reason === '' ? [] : [reason] }
    if (claim?.releasing) return undefined
    if (claim !== undefined || held.of(vf.pci) !== undefined) return { outcome: 'held', differences: [] }
    if (state === 'foreign') return { outcome: 'held', differences: baselineDifferences(seen.view, recorded.baseline) }
    return state === 'ready' ? { outcome: 'clean', differences: [] } : undefined
  }

  /** In the VF's queue, and with what is true then: an attach may have come between. */
  #one(seen: Seen, forced: boolean, call: Call): Promise<Result> {
    const { reporter, held, vfQueue, cards, quarantine, putBack } = this.#parts
    const { pci } = seen.view.vf
    return vfQueue.run(pci, async () => {
      const claim = reporter.claim(pci)
      const { baseline } = reporter.recorded(seen)
      const view = await cards.read(pci, call)
      if (view === undefined || baseline === undefined) return { outcome: 'clean', differences: [] }
      const differences = baselineDifferences(view, baseline)
      if (view.info === undefined) return { outcome: 'held', differences }
      const holder = held.of(pci)
      // It may be another's since the claims were told.
      if (claim?.releasing && (holder === undefined || holder.id === claim.owner)) {
        if (!forced && !quarantine.due(view.vf)) return { outcome: 'quarantined', differences: [] }
        return this.#release(seen, claim, differences, call)
      }
      if (claim !== undefined || holder !== undefined) return { outcome: 'held', differences: [] }
      const { state } = stateOf({ ...seen, view }, { baseline, claimed: false }, quarantine.reason(view.vf))
      if (state === 'foreign') return { outcome: 'held', differences }
      if (differences.length === 0 && overrideLeft(seen.view.vf) === '') {
        quarantine.clear(view.vf)
        return { outcome: 'clean', differences }
      }
      if (!forced && !quarantine.due(view.vf)) return { outcome: 'quarantined', differences: [] }
      const { left } = await putBack.run(pci, baseline, {}, call)
      if (left.length > 0) {
        quarantine.add(view.vf, left)
        return { outcome: 'quarantined', differences }
      }
      quarantine.clear(view.vf)
      return { outcome: 'repaired', differences }
    })
  }

  /** A claim whose owner is gone: put back, verified, then freed. A VF in quarantine is freed too: it is not offered. */
  async #release(seen: Seen, { owner, revision }: VfClaim, differences: string[], call: Call): Promise<Result> {
    const { reporter, context, quarantine } = this.#parts
    const { vf } = seen.view
    try {
      await this.#endpoints.putBack({ pci: vf.pci, baseline: reporter.baseline(vf.pci) }, owner, '', call)
    } catch (error) {
      if (call.signal.aborted) throw error
      quarantine.add(vf, [HeddleError.from(error).message])
      return { outcome: 'quarantined', differences: [...differences, HeddleError.from(error).message] }
    }
    const request = owner === '' ? { host: context.host, pci: vf.pci } : { owner }
    await context.bus.client(busServices.vfAllocator).release({ ...request, revision }, call)
    return { outcome: quarantine.reason(vf) === undefined ? 'repaired' : 'quarantined', differences }
  }

  /** A netdev in some namespace that bears our mark and that no claim names: its record was lost. */
  async #putBackStrays(call: Call): Promise<boolean> {
    const { reporter, held, whereabouts, putBack, vfQueue, context } = this.#parts
    const strays = new Map<string, { readonly namespace: string; readonly endpointId: string }>()
    const away = reporter.seen.flatMap(({ view: { vf, link } }) => {
      const isFree = reporter.claim(vf.pci) === undefined && held.of(vf.pci) === undefined
      return link === undefined && vf.driver !== '' && reporter.baseline(vf.pci)?.driver === vf.driver && isFree ? [vf.pci] : []
    })
    for (const [pci, { namespace, link }] of await whereabouts.all(new Set(away), call)) {
      const mark = parseEndpointAlias(link.alias)
      if (mark !== undefined) strays.set(pci, { namespace, endpointId: mark.endpointId })
    }
    let changed = false
    for (const pci of this.#strays.round(strays.keys(), context.clock.monotonicMs())) {
      const stray = strays.get(pci)
      const baseline = reporter.baseline(pci)
      if (stray === undefined || baseline === undefined) continue
      context.logger.warn({ vf: pci, ...stray }, 'putting back a VF that no claim names')
      await vfQueue.run(pci, async () => {
        if (held.of(pci) === undefined) await putBack.run(pci, baseline, { sandbox: stray.namespace, endpointId: stray.endpointId }, call)
      })
      changed = true
    }
    return changed
  }
}
