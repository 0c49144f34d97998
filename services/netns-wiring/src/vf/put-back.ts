/**
 * Puts a VF back to its baseline from whatever state it is in: out of its sandbox first (down, so that nothing of the container is sent
 * while settings are reset), then its PF's settings, its driver, MAC, MTU and mark, each verified. Level-triggered: it compares, so it
 * may be ended and begun again at any step.
 */
import type { VfBaseline } from '@heddle/contract'
import { type Call, HeddleError, remainingMs, sleep } from '@heddle/core'
import { isUserSpaceDriver, type LinkInfo, type VirtualFunction } from '@heddle/kernel'
import { parseEndpointAlias, refugeVfName } from '../domain/names.ts'
import { kernelFailure, refusalOf } from '../errors.ts'
import type { HostContext } from '../host-context.ts'
import type { Admin } from './admin.ts'
import type { Cards, VfView } from './cards.ts'
import type { Drivers } from './drivers.ts'
import { adminStep, moveOut, noTrunkText } from './plan.ts'
import { noMac } from './shape.ts'
import { baselineDifferences } from './verify.ts'
import { type Place, placeAmong, type Whereabouts } from './whereabouts.ts'

export interface PutBackParts {
  readonly context: HostContext
  readonly cards: Cards
  readonly admin: Admin
  readonly drivers: Drivers
  readonly whereabouts: Whereabouts
}

/** Where its netdev probably is: looked at before all namespaces are. */
export interface Hint {
  readonly sandbox?: string
  readonly endpointId?: string
}

export interface PutBackResult {
  /** Empty: it is at its baseline, or does not exist any more. */
  readonly left: readonly string[]
  /** Whether something had to be done. */
  readonly changed: boolean
  /** Its netdev, if it has one, is in the host's namespace. */
  readonly out: boolean
  /** Undefined: it does not exist any more. */
  readonly vf: VirtualFunction | undefined
  /** False: its PF cannot be asked or told. The VF is not to blame, and is not offered until then ("foreign"). */
  readonly reachable: boolean
}

/** Of one run. */
interface State {
  changed: boolean
  /** Its netdev was ours or was made anew, so its name is ours to give. */
  named: boolean
  readonly nameEndMs: number
  rebind: boolean
  isNew: boolean
}

const tries = 4
const pauseMs = 100
/** A VF that is bound anew has the first name that is free, another's perhaps, until it has been given its own; others may follow it. */
const nameWaitMs = 10_000
const namePollMs = 20
/** A namespace that is being destroyed gives its netdevs back from a kernel worker, a moment after its path is gone. */
const returnWaitMs = 2000

export class PutBack {
  readonly #parts: PutBackParts

  constructor(parts: PutBackParts) {
    this.#parts = parts
  }

  /** What it could not do is in its answer; throws when the kernel cannot even be asked, or the call ends. */
  async run(pci: string, baseline: VfBaseline, hint: Hint, call: Call): Promise<PutBackResult> {
    const { cards, context } = this.#parts
    const found = await this.#look(pci, hint, call)
    const isInPlace = found?.place !== undefined
    let view = isInPlace ? await this.#atOnce(found.view, found.place, baseline, call) : found?.view
    const nameEndMs = call.clock.monotonicMs() + Math.min(nameWaitMs, remainingMs(call) / 2)
    const named = isInPlace || hint.endpointId !== undefined
    const state: State = { changed: isInPlace, named, nameEndMs, rebind: false, isNew: !isInPlace && view?.link?.alias === '' }
    let left: string[] = []
    for (let attempt = 0; ; attempt++) {
      if (attempt > 0) view = await cards.read(pci, call)
      if (view === undefined) return { left: [], changed: state.changed, out: true, vf: undefined, reachable: true }
      const { vf } = view
      const misnamed = call.clock.monotonicMs() < nameEndMs ? await this.#misnamed(view.link, baseline, state.named, call) : []
      // Its mark stays until it has its name, so that a process that starts anew gives it that.
      const wrong = baselineDifferences(misnamed.length > 0 ? unmarked(view) : view, baseline)
      const differences = [...wrong, ...misnamed]
      const out = view.link !== undefined || !(hasNetdev(view, baseline) || isOnlyLent(view, baseline))
      if (differences.length === 0) {
        // Not where an endpoint that was whole is detached: to read the override waits for a lock.
        if (!isInPlace) await this.#parts.drivers.clearOverride(vf, call)
        return { left: [], changed: state.changed, out: true, vf, reachable: true }
      }
      const reachable = view.info !== undefined
      if ((attempt >= tries && wrong.length > 0) || (attempt > 0 && out && !reachable)) {
        return { left: left.length > 0 ? left : differences, changed: state.changed, out, vf, reachable }
      }
      // One that was made anew gets out of the way first: two may have one another's name.
      if (wrong.length === 0 && (attempt > 0 || !state.isNew)) await this.#untilFree(baseline.name, nameEndMs, call)
      else if (attempt > 0) await sleep(call.clock, pauseMs * attempt, call.signal)
      state.changed = true
      state.rebind = attempt > 1
      try {
        await this.#once(view, baseline, hint, state, call)
        left = []
      } catch (error) {
        if (call.signal.aborted) throw error
        left = [...differences, HeddleError.from(error).message]
        context.logger.debug({ err: error, vf: pci, attempt }, 'a VF could not be put back at once')
      }
    }
  }

  /** The VF, and its netdev where it probably is. */
  async #look(pci: string, { sandbox = '', endpointId }: Hint, call: Call): Promise<{ readonly view: VfView; readonly place: Place | undefined } | undefined> {
    const { cards, context } = this.#parts
    const isThere = () => sandbox !== '' && context.kernel.namespaceInode(sandbox) !== undefined
    const found = await cards.readWith(isThere() ? [{ ns: { path: sandbox } }] : [], pci, call).catch((error: unknown) => {
      if (isThere()) throw error
      return cards.readWith([], pci, call)
    })
    if (found === undefined) return undefined
    const links = found.view.link === undefined ? (found.others[0]?.links ?? []) : []
    return { view: found.view, place: placeAmong(links, sandbox, pci, endpointId) }
  }

  /**
   * Out and down, then reset, then the mark: in one program, which a refusal ends, and read back with it. The VF as it is then; for one of
   * which more has to be changed, as it was.
   */
  async #atOnce(view: VfView, { namespace, link, above }: Place, baseline: VfBaseline, call: Call): Promise<VfView | undefined> {
    const { cards, context } = this.#parts
    const { settings = { trunk: [] }, name, mac } = baseline
    const reset = view.info === undefined ? undefined : adminStep(cards.at(view), view.info, settings, mac)
    const isPlain = hasNetdev(view, baseline) && view.info !== undefined && view.vf.trunkFile === '' && above.length === 0
    if (!isPlain || reset?.mac !== undefined || (mac !== '' && link.mac !== mac)) return view
    const ns = context.hostNs
    const steps = [
      moveOut({ path: namespace }, link.name, ns, name),
      ...(reset === undefined ? [] : [reset]),
      { op: 'link.set', ns, name, alias: '', ...(settings.mtu === undefined ? {} : { mtu: settings.mtu }) } as const,
    ]
    const after = await cards.after(steps, name, view, call).catch((error: unknown) => {
      if (call.signal.aborted) throw error
      context.logger.debug({ err: error, vf: view.vf.pci }, 'a VF could not be put back in one program')
      return undefined
    })
    return after ?? cards.read(view.vf.pci, call)
  }

  async #once(before: VfView, baseline: VfBaseline, hint: Hint, state: State, call: Call): Promise<void> {
    const { context, cards, drivers } = this.#parts
    const { pci } = before.vf
    const ns = context.hostNs
    let view = before
    if (hasNetdev(view, baseline) && view.link === undefined) {
      view = { ...view, link: await this.#bringHome(view, baseline, hint, call) }
      state.named = true
    } else if (view.link !== undefined && parseEndpointAlias(view.link.alias) !== undefined) {
      state.named = true
      await context.kernel.run([{ op: 'link.set', ns, name: view.link.name, up: false }], call)
    }
    if (isOnlyLent(view, baseline)) {
      // Its netdev goes with the driver, from wherever it is.
      await cards.sysfs.unbind(pci, call)
      view = await cards.get(pci, call)
    }
    if (view.vf.trunkFile !== '') await cards.sysfs.writeTrunk(view.vf.trunkFile, noTrunkText, call)
    const { macChanged } = await this.#reset(view, baseline, call)
    let { link } = view
    if (view.vf.driver !== baseline.driver) {
      state.named = state.isNew = true
      link = await drivers.bindBack(pci, baseline.driver, baseline.name !== '' && !isUserSpaceDriver(baseline.driver), call)
    } else if (link !== undefined && link.mac !== baseline.mac && (state.rebind || drivers.needsRebind(view.vf.driver, macChanged))) {
      state.named = state.isNew = true
      link = await drivers.rebind(pci, call)
    } else if (link !== undefined && macChanged) link = await context.kernel.link(ns, link.name, call)
    if (link !== undefined) await this.#settle(pci, link, baseline, state, call)
  }

  async #reset(found: VfView, baseline: VfBaseline, call: Call): Promise<{ readonly macChanged: boolean }> {
    const settings = baseline.settings ?? { trunk: [] }
    const { mac } = settings
    let view = found
    if (view.vf.driver !== baseline.driver && mac !== undefined && view.info?.mac !== mac) {
      // For a user-space driver the VF's own MAC was set too, which does not count as a difference where the VF uses it by itself.
      const { kernel } = this.#parts.context
      await kernel.run([{ op: 'vf.set', ...this.#parts.cards.at(view), mac }], call).catch(() => {})
      view = await this.#parts.cards.get(view.vf.pci, call)
    }
    try {
      return await this.#parts.admin.set(view, settings, baseline.mac, call)
    } catch (error) {
      // Not every driver takes a MAC back; the VF's own set by the PF is the same to everybody else.
      const noTaking = HeddleError.is(error) && error.code === 'unsupported' && error.details['setting'] === 'mac'
      if (!noTaking || settings.mac !== noMac || baseline.mac === '') throw error
      return this.#parts.admin.set(await this.#parts.cards.get(view.vf.pci, call), { ...settings, mac: baseline.mac }, '', call)
    }
  }

  /** Name, MAC, MTU; the mark goes last: until then a process that starts anew sees that the VF was not put back. */
  async #settle(pci: string, link: LinkInfo, baseline: VfBaseline, { named, nameEndMs, isNew }: State, call: Call): Promise<void> {
    const { context } = this.#parts
    const ns = context.hostNs
    const wrongName = (await this.#misnamed(link, baseline, named, call)).length > 0
    // Another VF's may have been given it when that was bound anew, as this one that one's: then out of its way.
    const taken = wrongName && (await context.kernel.link(ns, baseline.name, call)) !== undefined
    const name = !wrongName || (taken && !isNew) ? link.name : taken ? refugeVfName(pci) : baseline.name
    const waits = taken && call.clock.monotonicMs() < nameEndMs
    const mtu = baseline.settings?.mtu
    const changes = {
      ...(link.mac === baseline.mac || baseline.mac === '' ? {} : { mac: baseline.mac }),
      ...(mtu === undefined || link.mtu === mtu ? {} : { mtu }),
      ...(link.alias === '' || waits ? {} : { alias: '' }),
    }
    await context.kernel.run(
      [
        // A link that is up is not renamed before Linux 6.2.
        ...(name !== link.name
          ? ([
              { op: 'link.set', ns, name: link.name, up: false },
              { op: 'link.set', ns, name: link.name, rename: name },
            ] as const)
          : []),
        ...(Object.keys(changes).length > 0 ? ([{ op: 'link.set', ns, name, ...changes }] as const) : []),
      ],
      call,
    )
  }

  /** Its name should be the baseline's where nobody but another VF has that; only for a netdev that was ours or made anew. */
  async #misnamed(link: LinkInfo | undefined, baseline: VfBaseline, named: boolean, call: Call): Promise<string[]> {
    if (!named || link === undefined || baseline.name === '' || link.name === baseline.name) return []
    const { context, cards } = this.#parts
    const holder = await context.kernel.link(context.hostNs, baseline.name, call)
    const isFree = holder === undefined || (holder.parentDevice !== '' && (await cards.function(holder.parentDevice, call)) !== undefined)
    return isFree ? [`its netdev is named ${link.name}, not ${baseline.name}`] : []
  }

  async #untilFree(name: string, endMs: number, call: Call): Promise<void> {
    const { kernel, hostNs } = this.#parts.context
    do await sleep(call.clock, namePollMs, call.signal)
    while (call.clock.monotonicMs() < endMs && (await kernel.link(hostNs, name, call)) !== undefined)
  }

  async #bringHome(view: VfView, baseline: VfBaseline, hint: Hint, call: Call): Promise<LinkInfo | undefined> {
    const { whereabouts, drivers } = this.#parts
    const { pci } = view.vf
    const place = (await whereabouts.inside(hint.sandbox ?? '', pci, call, hint.endpointId)) ?? (await whereabouts.anywhere(pci, call))
    if (place !== undefined) return this.#moveHome(place, baseline, pci, call)
    // Seen nowhere: it comes back by itself, or the driver makes another one (sriov-cni #349).
    return (await drivers.netdev(pci, call, returnWaitMs)) ?? drivers.rebind(pci, call)
  }

  async #moveHome({ namespace, link, above }: Place, baseline: VfBaseline, pci: string, call: Call): Promise<LinkInfo | undefined> {
    const { kernel, hostNs } = this.#parts.context
    const ns = { path: namespace }
    for (const { name } of above) await kernel.removeLink(ns, name, call)
    // Its own name where that is free, else the one it has, else one that nobody else gives.
    const names = [...new Set([baseline.name, link.name, refugeVfName(pci)])]
    for (const name of names) {
      const step = moveOut(ns, link.name, hostNs, name)
      try {
        await kernel.run([step], call)
        return { ...link, name, up: false }
      } catch (error) {
        if (refusalOf(error)?.errno === 'EEXIST' && name !== names.at(-1)) continue
        throw kernelFailure(error, [step], kernel, namespace)
      }
    }
    return undefined
  }
}

function unmarked(view: VfView): VfView {
  return view.link === undefined ? view : { ...view, link: { ...view.link, alias: '' } }
}

/** Whether a netdev is to be somewhere: the VF has its own kernel driver. */
function hasNetdev({ vf }: VfView, baseline: VfBaseline): boolean {
  return baseline.name !== '' && vf.driver === baseline.driver && !isUserSpaceDriver(vf.driver)
}

/** Whether it has a kernel driver now that it does not have at its baseline. */
function isOnlyLent({ vf }: VfView, baseline: VfBaseline): boolean {
  return vf.driver !== '' && vf.driver !== baseline.driver && !isUserSpaceDriver(vf.driver)
}
