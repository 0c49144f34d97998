/**
 * Takes a VF from its baseline to what an endpoint wants: settings of the PF, driver, then one move into the sandbox. Whatever fails, the
 * VF is put back: a half-set one is never left.
 */
import { type Call, HeddleError, sleep, undoCall, withCall } from '@heddle/core'
import { isUserSpaceDriver, type LinkInfo, type Namespace } from '@heddle/kernel'
import { parseEndpointAlias } from '../domain/names.ts'
import { interfaceExists, kernelFailure, refusalOf } from '../errors.ts'
import { unreachable, unsupported } from './admin.ts'
import type { VfView } from './cards.ts'
import { moveIn, moveOut, trunkSteps, trunkText } from './plan.ts'
import type { PutBack, PutBackParts } from './put-back.ts'
import type { Quarantine } from './quarantine.ts'
import { mostSubinterfaces, type VfShape, vlansOf } from './shape.ts'
import { baselineDifferences, ownMac } from './verify.ts'

export interface PutInParts extends PutBackParts {
  readonly putBack: PutBack
  readonly quarantine: Quarantine
}

const undoMs = 15_000
/** How long a netdev may take to have the MAC it was given (iavf asks its PF). */
const macWaitsMs = [5, 10, 20, 40, 80, 100, 150, 200, 300, 400, 500]
/** A driver that is busy; a netdev that udev renames just now. */
const passing: ReadonlySet<string> = new Set(['EBUSY', 'EAGAIN', 'ENODEV'])
const busyWaitsMs = [10, 20, 50, 100, 200, 400]

export class PutIn {
  readonly #parts: PutInParts

  constructor(parts: PutInParts) {
    this.#parts = parts
  }

  /** The netdev in the sandbox, or where it stays; undefined with a user-space driver. Throws vf-in-use, vf-quarantined, unsupported, interface-exists, netns-gone, kernel-refused. */
  async run(found: VfView, shape: VfShape, call: Call): Promise<LinkInfo | undefined> {
    const { admin, drivers, cards } = this.#parts
    let view = await this.#atBaseline(found, shape, call)
    checkTrunk(view, shape)
    try {
      // Bound first: a VF that is not with its own driver is one that was not put back, whatever its PF sets.
      if (shape.driver !== '' && view.vf.driver !== shape.driver) await drivers.bindUserSpace(view, shape.driver, call)
      else if (shape.driver === '' && view.link === undefined) view = await this.#withNetdev(view, call)
      const set = await admin.set(view, shape.settings, ownMac(shape), call)
      view = set.view
      if (shape.trunk.length > 0 && view.vf.trunkFile !== '') await cards.sysfs.writeTrunk(view.vf.trunkFile, trunkText(shape), call)
      if (shape.driver !== '') return undefined
      if (view.link?.mac !== shape.mac && drivers.needsRebind(view.vf.driver, set.macChanged)) view = await this.#rebound(view, call)
      return await this.#settle(view, shape, call)
    } catch (error) {
      await withCall(undoCall(call, undoMs), (undo) => this.#undo(shape, undo))
      throw error
    }
  }

  /** As the baseline says, or what stands in the way. */
  async #atBaseline(view: VfView, shape: VfShape, call: Call): Promise<VfView> {
    const { pci, baseline, driver } = shape
    // Nothing can be put back either: the VF is not to blame.
    if (view.info === undefined) throw unreachable(view)
    // Bound already for this container (BindVf): there is no netdev to look at.
    const bound = driver !== '' && view.vf.driver === driver
    const differences = bound ? [] : baselineDifferences(view, baseline)
    if (differences.length === 0) {
      this.#parts.quarantine.clear(view.vf)
      return view
    }
    if (!bound && view.link === undefined && view.vf.driver === baseline.driver && baseline.name !== '') throw await this.#inUse(view, call)
    if (isUserSpaceDriver(view.vf.driver) && view.vf.driver !== baseline.driver) throw inUse(pci, `is bound to ${view.vf.driver}`)
    const { left } = await this.#parts.putBack.run(pci, baseline, { endpointId: shape.id }, call)
    if (left.length > 0) {
      this.#parts.quarantine.add(view.vf, left)
      throw new HeddleError('vf-quarantined', `VF ${pci} is not at its baseline and will not go back: ${left.join(', ')}`, {
        field: 'endpoint.vf.pci',
        remedy: `see what uses it, then run "heddle vf repair ${pci}"`,
        details: { pci, pf: view.vf.pf },
      })
    }
    this.#parts.quarantine.clear(view.vf)
    return this.#parts.cards.get(pci, call)
  }

  /** Somewhere else; by whom, if that can be found. */
  async #inUse({ vf }: VfView, call: Call): Promise<HeddleError> {
    const place = await this.#parts.whereabouts.anywhere(vf.pci, call)
    if (place === undefined) return inUse(vf.pci, "is in use: its netdev is in another network namespace, which this host's hands cannot see")
    const owner = parseEndpointAlias(place.link.alias)
    return inUse(
      vf.pci,
      `is in use: its netdev is ${place.link.name} in ${place.namespace}${owner === undefined ? '' : `, attached for endpoint ${owner.endpointId}`}`,
      place.namespace,
    )
  }

  /** At its baseline it has no driver, or a user-space one. */
  async #withNetdev({ vf }: VfView, call: Call): Promise<VfView> {
    const { cards, drivers } = this.#parts
    await cards.sysfs.bind(vf.pci, '', call)
    const isBound = (await cards.function(vf.pci, call))?.driver !== ''
    if (!isBound || (await drivers.netdev(vf.pci, call)) === undefined) {
      throw new HeddleError('unsupported', `no kernel driver of this host makes a netdev for VF ${vf.pci} (${vf.vendor}:${vf.device})`, {
        field: 'endpoint.vf.pci',
        remedy: `load its driver and see that sriov_drivers_autoprobe of PF ${vf.pf} is 1, or give the network the driver vfio-pci`,
        details: { pci: vf.pci, pf: vf.pf, setting: 'driver' },
      })
    }
    return cards.get(vf.pci, call)
  }

  async #rebound(view: VfView, call: Call): Promise<VfView> {
    const link = await this.#parts.drivers.rebind(view.vf.pci, call)
    if (link === undefined) throw new HeddleError('kernel-refused', `driver ${view.vf.driver} made no netdev for VF ${view.vf.pci} when it was bound anew`)
    return this.#parts.cards.get(view.vf.pci, call)
  }

  /** Into the sandbox, or marked where it stays. A driver whose netdev does not take the MAC in time is bound anew, once, on the host. */
  async #settle(found: VfView, shape: VfShape, call: Call): Promise<LinkInfo> {
    const { context, whereabouts, cards } = this.#parts
    const to: Namespace = shape.sandbox === '' ? context.hostNs : { path: shape.sandbox }
    let view = found
    for (let attempt = 0; ; attempt++) {
      const settled = await this.#settled(view, shape, to, attempt, call)
      const name = (settled?.view ?? view).link?.name ?? ''
      const link = settled === undefined || settled.link?.mac === shape.mac ? settled?.link : await this.#withMac(to, shape.interfaceName, shape.mac, call)
      if (link !== undefined) {
        if (shape.trunk.length > 0 && view.vf.trunkFile === '') await context.kernel.run(trunkSteps(shape), call)
        return link
      }
      if (attempt > 0) throw unsupported(view, 'mac', shape.mac, 'the netdev keeps another')
      const place = await whereabouts.inside(shape.sandbox, shape.pci, call, shape.id)
      if (place !== undefined) await context.kernel.run([moveOut(to, place.link.name, context.hostNs, name)], call)
      view = await this.#rebound(await cards.get(shape.pci, call), call)
    }
  }

  /** The VF as it was before the step, and its netdev after it; undefined when binding its driver anew may help. A move is whole or not at all. */
  async #settled(
    found: VfView,
    shape: VfShape,
    to: Namespace,
    attempt: number,
    call: Call,
  ): Promise<{ readonly view: VfView; readonly link: LinkInfo | undefined } | undefined> {
    const { context, cards } = this.#parts
    let view = found
    for (let tries = 0; ; tries++) {
      if (view.link === undefined) throw inUse(shape.pci, 'has lost its netdev while it was being attached')
      const { mac, mtu } = view.link
      const steps = moveIn(shape, context.hostNs, view.link)
      try {
        const [seen] = await context.kernel.look([{ ns: to, name: shape.interfaceName }], call, steps)
        return { view, link: seen?.links[0] }
      } catch (error) {
        const errno = refusalOf(error)?.errno ?? ''
        const failure =
          errno === 'EEXIST'
            ? interfaceExists(shape.interfaceName, shape.sandbox || "the host's namespace")
            : kernelFailure(error, steps, context.kernel, shape.sandbox)
        if (failure.code !== 'kernel-refused') throw failure
        const waitMs = busyWaitsMs[tries]
        if (passing.has(errno) && waitMs !== undefined) {
          await sleep(call.clock, waitMs, call.signal)
          view = await cards.get(shape.pci, call)
          continue
        }
        if (shape.mtu !== 0 && mtu !== shape.mtu && (errno === 'EINVAL' || errno === 'ERANGE')) throw unsupported(view, 'mtu', String(shape.mtu), errno, error)
        if (errno === 'ENETDOWN') throw pfIsDown(view, error)
        if (mac === shape.mac || attempt > 0) throw failure
        return undefined
      }
    }
  }

  /** The link once it has the MAC; undefined when it does not get it in time. */
  async #withMac(ns: Namespace, name: string, mac: string, call: Call): Promise<LinkInfo | undefined> {
    for (const waitMs of macWaitsMs) {
      await sleep(call.clock, waitMs, call.signal)
      const link = await this.#parts.context.kernel.link(ns, name, call)
      if (link?.mac === mac) return link
    }
    return undefined
  }

  async #undo(shape: VfShape, call: Call): Promise<void> {
    const { putBack, quarantine, context } = this.#parts
    try {
      const { left, vf, reachable } = await putBack.run(shape.pci, shape.baseline, { sandbox: shape.sandbox, endpointId: shape.id }, call)
      if (vf !== undefined && left.length > 0 && reachable) quarantine.add(vf, left)
    } catch (error) {
      context.logger.warn({ err: error, vf: shape.pci, endpoint: shape.id }, 'a VF that could not be attached is not at its baseline yet; it will be put back')
    }
  }
}

export function inUse(pci: string, how: string, place = ''): HeddleError {
  return new HeddleError('vf-in-use', `VF ${pci} ${how}`, {
    field: 'endpoint.vf.pci',
    remedy: 'end what uses it, or take another VF: see "heddle vf ls"',
    details: { pci, ...(place === '' ? {} : { namespace: place }) },
  })
}

/** ixgbevf and others: "perhaps the PF driver isn't up yet". */
function pfIsDown({ vf, pfName }: VfView, cause: unknown): HeddleError {
  return new HeddleError('kernel-refused', `VF ${vf.pci} cannot be set up by its driver ${vf.driver}: ENETDOWN`, {
    field: 'endpoint.vf.pf',
    remedy: `set its PF up: ip link set ${pfName} up`,
    details: { pci: vf.pci, pf: vf.pf, device: pfName, errno: 'ENETDOWN' },
    cause,
  })
}

function checkTrunk(view: VfView, shape: VfShape): void {
  if (shape.trunk.length === 0 || view.vf.trunkFile !== '') return
  const details = { pci: shape.pci, pf: view.vf.pf, device: view.pfName, setting: 'trunk' }
  const refuse = (message: string, remedy: string) => new HeddleError('unsupported', message, { field: 'endpoint.vf.settings.trunk', remedy, details })
  const without = `PF ${view.pfName} has no trunk file for VF ${shape.pci}`
  if (shape.driver !== '' || shape.sandbox === '') {
    throw refuse(
      `${without}, and ${shape.driver === '' ? 'Docker' : `driver ${shape.driver}`} leaves no netdev to make VLAN subinterfaces on`,
      'leave the trunk out, or use a driver with one (the out-of-tree ice or i40e)',
    )
  }
  const vlans = vlansOf(shape.trunk)
  if (vlans.length > mostSubinterfaces) {
    throw refuse(
      `${without}, so each of its ${vlans.length} VLANs would need a subinterface; ${mostSubinterfaces} are the most`,
      `name at most ${mostSubinterfaces} VLANs`,
    )
  }
  const longest = `${shape.interfaceName}.${vlans.at(-1)}`
  if (longest.length > 15)
    throw refuse(`${without}, and ${longest} is too long a name for a subinterface`, 'choose a shorter interface name: 15 bytes are the most')
}
