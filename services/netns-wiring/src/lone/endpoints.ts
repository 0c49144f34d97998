/**
 * Endpoints of whose link nothing stays on the host: macvlan, ipvlan and vlan, and devices of the host given away. One operation at a
 * time for an endpoint, and for what its link is made from.
 */
import type { Attachment, AttachResponse, DetachRequest, Endpoint, Network, Route } from '@heddle/contract'
import { type Call, HeddleError, KeyedQueue, raceCall, sleep, undoCall, withCall } from '@heddle/core'
import type { LinkInfo, Step } from '@heddle/kernel'
import { checkSandbox } from '../check.ts'
import { addressSteps, withoutLength } from '../domain/endpoint-steps.ts'
import { handoverName } from '../domain/names.ts'
import { interfaceExists, kernelFailure, netnsGone, refusalOf } from '../errors.ts'
import { background, type HostContext } from '../host-context.ts'
import type { Place, Places } from './places.ts'
import type { Held, Plan, Source, Target } from './source.ts'

const adoptionMs = 30_000
const undoMs = 5000
/** How long a device may take to come back from a namespace that has ended. */
const returnMs = 3000
const returnPollMs = 50
/** The kernel takes links away behind the end of their namespace. */
const passing: ReadonlySet<string> = new Set(['device-in-use', 'device-unknown', 'mac-taken'])
const endedWaitsMs = [20, 40, 80, 160, 320, 500]

export interface LoneParts {
  readonly context: HostContext
  readonly places: Places
  readonly lower: Source
  readonly devices: Source
  /** By what a link is made from. */
  readonly queue: KeyedQueue
}

export class LoneEndpoints {
  readonly #parts: LoneParts
  readonly #held = new Map<string, Held>()
  readonly #queue = new KeyedQueue()
  #adoption: Promise<void> | undefined

  constructor(parts: LoneParts) {
    this.#parts = parts
  }

  /** By endpoint: what this process has attached or found. */
  get held(): ReadonlyMap<string, Held> {
    return this.#held
  }

  /** Resolves when what earlier processes attached is known; looked for once, in the background. */
  adopted(call: Call): Promise<void> {
    const { context, places } = this.#parts
    this.#adoption ??= new Promise<void>((resolve, reject) => {
      context.jobs.once('find links in sandboxes', (signal) =>
        background(context, adoptionMs, signal, async (inner) => {
          for (const place of await places.all(inner)) this.#adopt(place)
        }).then(resolve, (error: unknown) => {
          this.#adoption = undefined
          reject(error)
        }),
      )
    })
    return raceCall(this.#adoption, call)
  }

  /** Whether the endpoint's link was there already; one of another shape is left as it is. Throws as `attach`. */
  prepare(network: Network, endpoint: Endpoint, call: Call): Promise<boolean> {
    return this.#locked(network, endpoint, async (target) => {
      if ((await this.#there(target, call)) !== undefined) return true
      await this.#make(network, endpoint, target, () => [], call)
      return false
    })
  }

  /** Throws netns-gone, interface-exists, device-unknown, device-in-use, unsupported, kernel-refused. */
  attach(network: Network, endpoint: Endpoint, routes: readonly Route[], call: Call): Promise<AttachResponse> {
    return this.#locked(network, endpoint, async (target) => {
      const source = this.#of(network)
      const steps = (mac: string): Step[] => [
        ...(target.sandbox === '' ? [] : addressSteps(target.ns, target.name, endpoint.addresses, routes)),
        ...(endpoint.addresses.length === 0 ? [] : source.announce(network, target, mac, endpoint.addresses.map(withoutLength))),
      ]
      const link = (await this.#configure(network, endpoint, target, steps, call)) ?? (await this.#make(network, endpoint, target, steps, call))
      const nothing = { hostInterface: '', bridge: '', hostMac: '', bridgeMac: '', pci: '', deviceNodes: [] }
      return { ...nothing, interfaceName: target.name, mac: link.mac, mtu: link.mtu }
    })
  }

  /** True when something was there. Succeeds whatever is gone already; may be repeated. */
  detach({ endpointId, sandbox }: DetachRequest, call: Call): Promise<boolean> {
    return this.#queue.run(endpointId, async () => {
      await this.adopted(call)
      const held = this.#held.get(endpointId)
      // What is not held by now is at most where the caller says.
      const hints = [...(sandbox === '' ? [] : [{ path: sandbox }]), ...(held === undefined ? [] : [held.ns, this.#parts.context.hostNs])]
      const place = (await this.#parts.places.find(endpointId, hints, mayBeElsewhere(held), call)) ?? (await this.#returned(endpointId, held, call))
      const existed = place !== undefined && (await this.#takeAway(place, call))
      this.#held.delete(endpointId)
      return existed
    })
  }

  /** A device that came back to the host by itself goes back to what it was. */
  giveBack(place: Place, call: Call): Promise<void> {
    return this.#queue.run(place.mark.endpointId, async () => {
      const { context } = this.#parts
      const now = await this.#parts.places.at(place.ns, place.link.name, call)
      if (now === undefined || !isStray(now, context)) return
      context.logger.info({ link: now.link.name, was: now.mark.device?.name, endpoint: now.mark.endpointId }, 'a device came back from a sandbox that ended')
      await this.#takeAway(now, call)
      this.#held.delete(now.mark.endpointId)
    })
  }

  /** Devices on the host that bear a mark and wait for nobody. */
  async strays(call: Call): Promise<Place[]> {
    const { context, places } = this.#parts
    return (await places.in(context.hostNs, call)).filter((place) => isStray(place, context))
  }

  /** Endpoints whose link is there, read from the kernel. */
  async attachments(call: Call): Promise<Attachment[]> {
    const { context, places } = this.#parts
    await this.adopted(call)
    const found: Place[] = []
    const missing = new Set<string>()
    for (const [id, held] of this.#held) {
      const place = await places.at(held.ns, held.link.name, call)
      if (place?.mark.endpointId === id) found.push(place)
      else if (mayBeElsewhere(held)) missing.add(id)
    }
    // dockerd has moved it: from then on it is looked for where it was found.
    for (const place of missing.size === 0 ? [] : await places.all(call)) {
      if (!missing.has(place.mark.endpointId)) continue
      found.push(place)
      this.#adopt(place)
    }
    return found.flatMap(({ ns, link, mark: { endpointId, networkId, device } }) => {
      const waits = ns === context.hostNs
      if (waits && device !== undefined && link.name !== handoverName(endpointId)) return []
      return [{ endpointId, networkId, hostInterface: waits ? link.name : '', inSandbox: !waits }]
    })
  }

  /** Every difference between a record and the kernel, in words. Changes nothing. */
  async check(network: Network, endpoint: Endpoint, routes: readonly Route[], call: Call): Promise<string[]> {
    const { context, places } = this.#parts
    const target = this.#target(endpoint)
    if (target.sandbox !== '' && context.kernel.namespaceInode(target.sandbox) === undefined) return [`the sandbox ${target.sandbox} is gone`]
    const place = await places.find(endpoint.id, [target.ns], target.sandbox === '', call)
    if (place === undefined || (target.sandbox !== '' && place.link.name !== target.name)) return [`${target.name} is gone`]
    const differences = await this.#of(network).differences(network, endpoint, place, call)
    if (target.sandbox === '') return differences
    const { mac, mtu } = place.link
    const wanted = { peerNs: target.ns, peerName: target.name, mac, mtu }
    return [...differences, ...(await checkSandbox(this.#parts, wanted, target.sandbox, endpoint.addresses, routes, call))]
  }

  #of(network: Network): Source {
    return network.kind === 'host-device' ? this.#parts.devices : this.#parts.lower
  }

  #target({ id, networkId, sandbox, interfaceName }: Endpoint): Target {
    const ns = sandbox === '' ? this.#parts.context.hostNs : { path: sandbox }
    return { endpointId: id, networkId, ns, name: sandbox === '' ? handoverName(id) : interfaceName, sandbox }
  }

  #locked<T>(network: Network, endpoint: Endpoint, body: (target: Target) => Promise<T>): Promise<T> {
    const key = this.#of(network).key(network)
    const target = { ...this.#target(endpoint), networkId: network.id }
    return this.#queue.run(endpoint.id, async () => {
      if (target.sandbox !== '' && this.#parts.context.kernel.namespaceInode(target.sandbox) === undefined) throw netnsGone(target.sandbox)
      return this.#parts.queue.run(key, () => body(target))
    })
  }

  /** The endpoint's link, wherever it is; throws interface-exists when somebody else's is where it belongs. */
  async #there(target: Target, call: Call): Promise<Place | undefined> {
    const { context, places } = this.#parts
    const { ns, name, endpointId, sandbox } = target
    if (sandbox === '') await this.adopted(call)
    const link = await context.kernel.link(ns, name, call)
    const place = link === undefined ? undefined : places.of(ns, link)
    if (place?.mark.endpointId === endpointId) return place
    if (link !== undefined) throw interfaceExists(name, sandbox || 'the host namespace')
    const held = this.#held.get(endpointId)
    return held === undefined ? undefined : places.find(endpointId, [held.ns, context.hostNs], mayBeElsewhere(held), call)
  }

  /** The link when it was there as it should be, with its addresses and routes now; undefined: it has to be made. */
  async #configure(network: Network, endpoint: Endpoint, target: Target, steps: (mac: string) => Step[], call: Call): Promise<LinkInfo | undefined> {
    const { context } = this.#parts
    const place = await this.#there(target, call)
    if (place === undefined) return undefined
    const isHere = target.sandbox === '' || (place.link.name === target.name && samePath(place, target))
    // A link that is down is set up, and needs not be made anew.
    const differences = isHere ? await this.#of(network).differences(network, endpoint, place, call) : ['it is in another sandbox']
    if (differences.length > 0) {
      await this.#takeAway(place, call)
      return undefined
    }
    const up: Step[] = target.sandbox === '' || place.link.up ? [] : [{ op: 'link.set', ns: target.ns, name: target.name, up: true }]
    const all = [...up, ...steps(place.link.mac)]
    await context.kernel.run(all, call).catch((error: unknown) => {
      throw kernelFailure(error, all, context.kernel, target.sandbox)
    })
    this.#adopt(place)
    return place.link
  }

  /** Tried again while the kernel may still be taking away what an ended sandbox had. */
  async #make(network: Network, endpoint: Endpoint, target: Target, steps: (mac: string) => Step[], call: Call): Promise<LinkInfo> {
    const { kernel } = this.#parts.context
    for (let tries = 0; ; tries++) {
      try {
        return await this.#makeOnce(network, endpoint, target, steps, call)
      } catch (error) {
        const waitMs = endedWaitsMs[tries]
        const mayPass = HeddleError.is(error) && passing.has(error.code)
        const hasEnded = [...this.#held.values()].some(({ ns }) => ns !== 'own' && kernel.namespaceInode(ns.path) === undefined)
        if (!mayPass || !hasEnded || waitMs === undefined) throw error
        for (const stray of await this.strays(call)) if (stray.mark.endpointId !== target.endpointId) await this.giveBack(stray, call)
        await sleep(call.clock, waitMs, call.signal)
      }
    }
  }

  /** Link, addresses, routes and announcement in one program; nothing is left of one that is refused. */
  async #makeOnce(network: Network, endpoint: Endpoint, target: Target, steps: (mac: string) => Step[], call: Call): Promise<LinkInfo> {
    const { kernel } = this.#parts.context
    const source = this.#of(network)
    const plan: Plan = await source.plan(network, endpoint, target, call)
    const all = [...plan.steps, ...steps(plan.mac)]
    try {
      const [seen] = await kernel.look([{ ns: target.ns, name: target.name }], call, all)
      const link = seen?.links[0]
      if (link === undefined) throw netnsGone(target.sandbox)
      const held = { networkId: target.networkId, sandbox: target.sandbox, ns: target.ns, link, isDevice: network.kind === 'host-device' }
      this.#held.set(target.endpointId, held)
      return link
    } catch (error) {
      await this.#undo(plan, target, call)
      const index = refusalOf(error)?.index ?? -1
      if (index >= plan.steps.length) throw kernelFailure(error, all, kernel, target.sandbox)
      throw await source.failure(error, plan, network, target, call)
    }
  }

  async #undo(plan: Plan, target: Target, call: Call): Promise<void> {
    const { logger } = this.#parts.context
    await withCall(undoCall(call, undoMs), async (undo) => {
      const made = await this.#parts.places.at(target.ns, target.name, undo)
      if (made?.mark.endpointId === target.endpointId) await this.#takeAway(made, undo)
      await plan.undo(undo)
    }).catch((error: unknown) => logger.warn({ err: error, endpoint: target.endpointId }, 'a link that could not be completed is left; it is removed later'))
  }

  #takeAway(place: Place, call: Call): Promise<boolean> {
    const { lower, devices } = this.#parts
    return (place.mark.device === undefined ? lower : devices).takeAway(place, call)
  }

  /** The kernel gives a device back behind the end of its namespace. */
  async #returned(endpointId: string, held: Held | undefined, call: Call): Promise<Place | undefined> {
    if (held?.isDevice !== true) return undefined
    const endMs = call.clock.monotonicMs() + returnMs
    while (call.clock.monotonicMs() < endMs) {
      await sleep(call.clock, returnPollMs, call.signal)
      const place = await this.#parts.places.find(endpointId, [this.#parts.context.hostNs], false, call)
      if (place !== undefined) return place
    }
    return undefined
  }

  #adopt({ ns, link, mark }: Place): void {
    const sandbox = this.#held.get(mark.endpointId)?.sandbox ?? ''
    this.#held.set(mark.endpointId, { networkId: mark.networkId, sandbox, ns, link, isDevice: mark.device !== undefined })
  }
}

/** Docker moves its links itself, and so does the kernel with devices; of what an earlier process attached it is not known who did. */
function mayBeElsewhere(held: Held | undefined): boolean {
  return held !== undefined && (held.sandbox === '' || held.isDevice)
}

function samePath({ ns }: Place, target: Target): boolean {
  return ns === target.ns || (ns !== 'own' && ns.path === target.sandbox)
}

/** On the host, and not as one that waits for dockerd. */
function isStray({ ns, link, mark }: Place, { hostNs }: HostContext): boolean {
  return ns === hostNs && mark.device !== undefined && link.name !== handoverName(mark.endpointId)
}
