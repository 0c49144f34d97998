/**
 * Endpoints of this host: prepared, attached, detached. The attach path reads nothing: it writes one kernel program and
 * looks at the kernel only when that is refused.
 */
import type { AttachResponse, Endpoint, Network, PortMapping, Route } from '@heddle/contract'
import { type Call, KeyedQueue, undoCall, withCall, withSpan } from '@heddle/core'
import type { LinkInfo, Namespace, NeighbourInfo, Step } from '@heddle/kernel'
import { configureSteps, type EndpointShape, endpointShape, type PortUse, portFlags, portSteps, vethStep } from './domain/endpoint-steps.ts'
import { hostEndName, parseEndpointAlias } from './domain/names.ts'
import { linkDrift, portDrifted } from './domain/network-steps.ts'
import { interfaceExists, kernelFailure, netnsGone, refusalOf } from './errors.ts'
import type { Fabric } from './fabric.ts'
import { background, type HostContext } from './host-context.ts'
import type { HostNetworks, PresentNetwork } from './networks.ts'
import { filtersBridged } from './proc.adapter.ts'
import type { Publisher } from './publisher.ts'

/** How long an attach waits for its network's first snapshot before it goes on without. */
const snapshotWaitMs = 250

interface Held {
  readonly networkId: string
  readonly ns: Namespace
  readonly hostEnd: string
  /** Undefined: found at start, not yet compared with its record. */
  readonly shape: EndpointShape | undefined
}

export class Endpoints {
  readonly #context: HostContext
  readonly #networks: HostNetworks
  readonly #fabric: Fabric
  readonly #publisher: Publisher
  readonly #held = new Map<string, Held>()
  readonly #byHostEnd = new Map<string, string>()
  readonly #queue = new KeyedQueue()

  constructor(context: HostContext, networks: HostNetworks, fabric: Fabric, publisher: Publisher) {
    this.#context = context
    this.#networks = networks
    this.#fabric = fabric
    this.#publisher = publisher
  }

  get count(): number {
    return this.#held.size
  }

  /**
   * Whether the endpoint's interface was there already; one of another shape (MAC, sandbox) is left untouched, since it may
   * be in use: only the record tells. Throws netns-gone, interface-exists, kernel-refused.
   */
  prepare(network: Network, endpoint: Endpoint, call: Call): Promise<boolean> {
    return this.#queue.run(endpoint.id, async () => {
      this.#checkSandbox(endpoint)
      const present = await this.#networks.acquire(network, endpoint.id, call)
      const shape = endpointShape(endpoint, present.shape, present.ns, this.#context.hostNs)
      return this.#isMade(shape) || this.#make(present, shape, [], 'keep another', call)
    })
  }

  /** Replaces what an endpoint of this id has in another shape. Throws netns-gone, interface-exists, kernel-refused. */
  attach(network: Network, endpoint: Endpoint, routes: readonly Route[], call: Call): Promise<AttachResponse> {
    return this.#queue.run(endpoint.id, async () => {
      this.#checkSandbox(endpoint)
      const present = await this.#networks.acquire(network, endpoint.id, call)
      const shape = endpointShape(endpoint, present.shape, present.ns, this.#context.hostNs)
      const configure = configureSteps(shape, endpoint.addresses, routes)
      if (!(this.#isMade(shape) && (await this.#configure(shape, configure, call)))) await this.#make(present, shape, configure, 'replace another', call)
      await this.#waitForPeers(present, call)
      return {
        interfaceName: shape.peerName,
        mac: shape.mac,
        mtu: shape.mtu,
        hostInterface: shape.hostEnd,
        bridge: shape.bridge,
        hostMac: shape.hostMac,
        bridgeMac: present.shape.bridgeMac,
        pci: '',
        deviceNodes: [],
      }
    })
  }

  /**
   * True when an interface was there. Succeeds whatever is gone already. `networkId` (may be empty) counts when nothing is
   * known of the endpoint. When it fails it may be called again.
   */
  detach(endpointId: string, networkId: string, call: Call): Promise<boolean> {
    return this.#queue.run(endpointId, async () => {
      const held = this.#held.get(endpointId)
      const hostEnd = hostEndName(endpointId)
      // Our own removal is no event to look after.
      this.#byHostEnd.delete(hostEnd)
      let existed = false
      try {
        for (const ns of held === undefined ? [this.#fabric.ns, this.#context.hostNs] : [held.ns]) {
          if (ns !== this.#fabric.ns || this.#fabric.exists) existed = (await this.#context.kernel.removeLink(ns, hostEnd, call)) || existed
        }
        await this.#publisher.unpublish(endpointId, call)
      } catch (error) {
        if (held !== undefined) this.#byHostEnd.set(hostEnd, endpointId)
        throw error
      }
      this.#forget(endpointId, held?.networkId ?? networkId)
      return existed
    })
  }

  has(endpointId: string): boolean {
    return this.#held.has(endpointId)
  }

  /** Publishes ports of an endpoint; its port is let send frames back to where they came from. */
  publish(network: Network, endpointId: string, addresses: readonly string[], ports: readonly PortMapping[], call: Call): Promise<PortMapping[]> {
    return this.#queue.run(endpointId, async () => {
      const given = await this.#publisher.publish(endpointId, addresses, ports, call)
      const { kernel, hostNs } = this.#context
      const isolated = network.bridge?.isolated === true
      const flags = isolated ? await this.#useOf({ id: endpointId, isolated }, call) : { hairpin: true }
      // Published before it is attached: the link gets the flags when it is made.
      await kernel.run([{ op: 'bridge.port', ns: hostNs, name: hostEndName(endpointId), ...flags, tolerate: ['ENODEV'] }], call)
      return given
    })
  }

  /** Takes over what a dump of `ns` shows of an earlier life of this process. Writes nothing. */
  adopt(ns: Namespace, links: readonly LinkInfo[]): void {
    for (const link of links) {
      const found = parseEndpointAlias(link.alias)
      if (found === undefined || link.name !== hostEndName(found.endpointId) || this.#held.has(found.endpointId)) continue
      this.#hold(found.endpointId, { networkId: found.networkId, ns, hostEnd: link.name, shape: undefined })
      this.#networks.use(found.networkId, found.endpointId)
    }
  }

  /** A host end has gone without our doing: its sandbox ended. */
  onLinkGone(hostEnd: string): void {
    const endpointId = this.#byHostEnd.get(hostEnd)
    if (endpointId === undefined) return
    this.#context.jobs.once(`look after ${hostEnd}`, (signal) =>
      background(this.#context, 10_000, signal, (call) =>
        this.#queue.run(endpointId, async () => {
          const held = this.#held.get(endpointId)
          if (held === undefined || (await this.#context.kernel.link(held.ns, hostEnd, call)) !== undefined) return
          this.#forget(endpointId, held.networkId)
          // A published port would lead to whoever is given the address next.
          await this.#publisher.unpublish(endpointId, call)
        }),
      ),
    )
  }

  /**
   * Puts a network's ports back as they should be: on its bridge, up, with their flags and their own MAC. What this process
   * has attached counts before `records`, which may be old.
   */
  async verifyPorts(present: PresentNetwork, records: readonly Endpoint[], call: Call): Promise<void> {
    const { kernel, hostNs } = this.#context
    const links = new Map((await kernel.links(present.ns, call)).map((link) => [link.name, link]))
    const bridge = links.get(present.shape.bridge)
    const shapes = new Map<string, EndpointShape>()
    for (const record of records) if (record.networkId === present.record.id) shapes.set(record.id, endpointShape(record, present.shape, present.ns, hostNs))
    for (const [id, { networkId, shape }] of this.#held) {
      if (shape !== undefined && networkId === present.record.id) shapes.set(id, { ...shape, bridge: present.shape.bridge, mtu: present.shape.mtu })
    }
    const mine = [...shapes.values()].filter(({ hostEnd }) => links.has(hostEnd))
    if (bridge === undefined || mine.length === 0) return
    const entries = await kernel.neighbours(present.ns, undefined, call)
    for (const shape of mine) {
      await this.#queue.run(shape.id, async () => {
        const link = links.get(shape.hostEnd)
        const steps = link === undefined ? [] : portRepair(shape, link, bridge, entries, await this.#useOf(shape, call))
        if (steps.length === 0) return
        await kernel.run(steps, call).catch((error: unknown) => {
          this.#context.logger.warn({ err: kernelFailure(error, steps, kernel), endpoint: shape.id }, 'the port of an endpoint could not be repaired')
        })
      })
    }
  }

  async #useOf({ id, isolated }: Pick<EndpointShape, 'id' | 'isolated'>, call: Call): Promise<PortUse> {
    const hairpin = this.#publisher.has(id)
    return { hairpin, isolated: isolated && !(hairpin && (await filtersBridged(this.#context.hostNs, call))) }
  }

  #checkSandbox(endpoint: Endpoint): void {
    if (endpoint.sandbox !== '' && this.#context.kernel.namespaceInode(endpoint.sandbox) === undefined) throw netnsGone(endpoint.sandbox)
  }

  #isMade(shape: EndpointShape): boolean {
    const made = this.#held.get(shape.id)?.shape
    return (
      made !== undefined &&
      made.alias === shape.alias &&
      made.mac === shape.mac &&
      made.peerName === shape.peerName &&
      samePlace(made.peerNs, shape.peerNs) &&
      samePlace(made.ns, shape.ns)
    )
  }

  /** False when the prepared link is gone, so that it has to be made anew. */
  async #configure(shape: EndpointShape, steps: readonly Step[], call: Call): Promise<boolean> {
    const { kernel } = this.#context
    try {
      // Docker's end is dockerd's once it is handed over; whether our end still stands costs one look.
      const [link] = await Promise.all([shape.handover ? kernel.link(shape.ns, shape.hostEnd, call) : true, kernel.run(steps, call)])
      return link !== undefined
    } catch (error) {
      if (refusalOf(error)?.errno === 'ENODEV') return false
      throw kernelFailure(error, steps, kernel, sandboxOf(shape))
    }
  }

  /** The pair, its port and `configure` in one program. Whether the pair was there already. */
  async #make(
    present: PresentNetwork,
    shape: EndpointShape,
    configure: readonly Step[],
    mode: 'keep another' | 'replace another',
    call: Call,
  ): Promise<boolean> {
    const { kernel } = this.#context
    const after = [...portSteps(shape, await this.#useOf(shape, call)), ...configure]
    let steps: readonly Step[] = [vethStep(shape), ...after]
    for (let attempt = 0; ; attempt++) {
      try {
        await kernel.run(steps, call)
        break
      } catch (error) {
        const refusal = refusalOf(error)
        const first = refusal?.index === 0 && steps[0]?.op === 'veth.add' && attempt < 2
        if (first && refusal.errno === 'EEXIST') {
          const isSame = await this.#existsAlike(present, shape, call)
          if (!isSame && mode === 'keep another') return true
          if (!isSame) await kernel.removeLink(shape.ns, shape.hostEnd, call)
          else steps = [{ op: 'link.set', ns: shape.ns, name: shape.hostEnd, master: shape.bridge, alias: shape.alias, mtu: shape.mtu, up: true }, ...after]
          continue
        }
        // The bridge or the fabric is not what the cache says.
        if (
          first &&
          (refusal.errno === 'ENODEV' || refusal.errno === 'ENOENT') &&
          kernel.namespaceInode(sandboxOf(shape) ?? '/proc/self/ns/net') !== undefined
        ) {
          await this.#networks.ensure(present.record, call)
          continue
        }
        if (refusal !== undefined && refusal.index > 0 && steps[0]?.op === 'veth.add') await this.#takeBack(shape, call)
        if (!this.#held.has(shape.id)) this.#networks.release(present.record.id, shape.id)
        throw kernelFailure(error, steps, kernel, sandboxOf(shape))
      }
    }
    this.#hold(shape.id, { networkId: present.record.id, ns: shape.ns, hostEnd: shape.hostEnd, shape })
    return steps[0]?.op !== 'veth.add'
  }

  /**
   * What stands in the way of a pair: the same pair from before (true), another one of this endpoint (false), or somebody
   * else's interface (interface-exists).
   */
  async #existsAlike(present: PresentNetwork, shape: EndpointShape, call: Call): Promise<boolean> {
    const { kernel } = this.#context
    const [host, peer] = await Promise.all([kernel.link(shape.ns, shape.hostEnd, call), kernel.link(shape.peerNs, shape.peerName, call)])
    // Docker has taken its end away into the container.
    if (host !== undefined && peer === undefined && shape.handover) return true
    if (host !== undefined && peer !== undefined && host.peerIndex === peer.index && peer.mac === shape.mac) return true
    if (peer !== undefined && (host === undefined || host.peerIndex !== peer.index)) {
      if (!this.#held.has(shape.id)) this.#networks.release(present.record.id, shape.id)
      throw interfaceExists(shape.peerName, sandboxOf(shape) ?? 'the host namespace')
    }
    return false
  }

  async #takeBack(shape: EndpointShape, call: Call): Promise<void> {
    await withCall(undoCall(call, 5000), (undo) => this.#context.kernel.removeLink(shape.ns, shape.hostEnd, undo)).catch((error: unknown) => {
      this.#context.logger.warn({ err: error, endpoint: shape.id }, 'a link that could not be completed is left; the reconciler removes it')
    })
  }

  async #waitForPeers(present: PresentNetwork, call: Call): Promise<void> {
    const { peers } = present
    if (peers === undefined || peers.isReady) return
    const inTime = await withSpan(call, 'wiring.first-snapshot', {}, () => {
      return new Promise<boolean>((resolve) => {
        const cancel = call.clock.after(snapshotWaitMs, () => resolve(false))
        void peers.ready.then(() => {
          cancel()
          resolve(true)
        })
      })
    })
    if (!inTime)
      this.#context.logger.warn(
        { network: present.record.name },
        `no peer table within ${snapshotWaitMs} ms; the endpoint's peers follow as soon as the overlay service answers`,
      )
  }

  #hold(endpointId: string, held: Held): void {
    this.#held.set(endpointId, held)
    this.#byHostEnd.set(held.hostEnd, endpointId)
  }

  #forget(endpointId: string, networkId: string): void {
    this.#held.delete(endpointId)
    this.#byHostEnd.delete(hostEndName(endpointId))
    if (this.#networks.users(networkId).has(endpointId)) this.#networks.release(networkId, endpointId)
  }
}

function portRepair(shape: EndpointShape, link: LinkInfo, bridge: LinkInfo, entries: readonly NeighbourInfo[], use: PortUse): Step[] {
  const enslaved = link.masterIndex === bridge.index
  const known = entries.some(({ table, linkIndex, mac, permanent }) => table === 'bridge' && linkIndex === link.index && mac === shape.mac && permanent)
  return [
    ...linkDrift(shape.hostEnd, shape.ns, link, { mtu: shape.mtu, alias: shape.alias, ...(enslaved ? {} : { master: shape.bridge }) }),
    ...(enslaved && known && !portDrifted(link, portFlags(shape, use)) ? [] : portSteps(shape, use)),
  ]
}

function sandboxOf(shape: EndpointShape): string | undefined {
  return shape.handover || shape.peerNs === 'own' ? undefined : shape.peerNs.path
}

function samePlace(a: Namespace, b: Namespace): boolean {
  return a === b || (a !== 'own' && b !== 'own' && a.path === b.path)
}
