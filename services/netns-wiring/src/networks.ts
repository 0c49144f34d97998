/**
 * The networks present on this host: made with their first endpoint, removed a while after their last. What is cached here
 * only saves looking: every decision that removes something looks at the kernel again.
 */
import type { Network } from '@heddle/contract'
import { type Call, KeyedQueue, withSpan } from '@heddle/core'
import type { LinkInfo, Namespace, NftElement } from '@heddle/kernel'
import { bridgeName, parseEndpointAlias, vxlanName } from './domain/names.ts'
import { type NetworkShape, shapeOf } from './domain/network-shape.ts'
import { planNetwork } from './domain/network-steps.ts'
import { kernelFailure, networkInUse } from './errors.ts'
import type { Fabric } from './fabric.ts'
import type { ForwardPolicy } from './forward-policy.adapter.ts'
import { background, type HostContext } from './host-context.ts'
import type { NftTable } from './nft-table.ts'
import { PeerSync, type VxlanNetwork } from './peers.ts'

export interface PresentNetwork {
  readonly record: Network
  readonly shape: NetworkShape
  readonly ns: Namespace
  /** Overlay only. */
  readonly peers: PeerSync | undefined
}

export interface NetworksParts {
  readonly context: HostContext
  readonly fabric: Fabric
  readonly vxlanTable: NftTable
  readonly bridgeTable: NftTable
  readonly forwardPolicy: ForwardPolicy
  readonly lingerMs: number
  /** Something of a network is not as it should be; called outside any queue. */
  readonly onDrift: (networkId: string) => void
}

export class HostNetworks {
  readonly #parts: NetworksParts
  readonly #present = new Map<string, PresentNetwork>()
  readonly #users = new Map<string, Set<string>>()
  readonly #lingering = new Map<string, () => void>()
  /** By network id: making, repairing, removing and peer programming never overlap. */
  readonly #queue = new KeyedQueue()

  constructor(parts: NetworksParts) {
    this.#parts = parts
  }

  get present(): ReadonlyMap<string, PresentNetwork> {
    return this.#present
  }

  users(networkId: string): ReadonlySet<string> {
    return this.#users.get(networkId) ?? new Set()
  }

  /** The network with its devices in place, kept as long as `endpointId` uses it. */
  async acquire(network: Network, endpointId: string, call: Call): Promise<PresentNetwork> {
    const isNew = this.use(network.id, endpointId)
    const present = this.#present.get(network.id)
    if (present !== undefined && sameRecord(present.record, network)) return present
    try {
      return await withSpan(call, 'wiring.network', { 'heddle.network': network.name }, (inner) => this.ensure(network, inner, 'unless present'))
    } catch (error) {
      if (isNew) this.release(network.id, endpointId)
      throw error
    }
  }

  /** False when it was known to use the network. */
  use(networkId: string, endpointId: string): boolean {
    this.#lingering.get(networkId)?.()
    this.#lingering.delete(networkId)
    const users = this.#users.get(networkId)
    if (users?.has(endpointId)) return false
    if (users === undefined) this.#users.set(networkId, new Set([endpointId]))
    else users.add(endpointId)
    return true
  }

  /** The last endpoint out starts the linger. */
  release(networkId: string, endpointId: string): void {
    const users = this.#users.get(networkId)
    users?.delete(endpointId)
    if (users !== undefined && users.size > 0) return
    this.#users.delete(networkId)
    this.linger(networkId)
  }

  linger(networkId: string): void {
    const { context, lingerMs } = this.#parts
    if (this.#lingering.has(networkId)) return
    const cancel = context.clock.after(lingerMs, () => {
      this.#lingering.delete(networkId)
      context.jobs.once(`remove unused network ${networkId}`, (signal) => background(context, 30_000, signal, (call) => this.#removeUnused(networkId, call)))
    })
    this.#lingering.set(networkId, cancel)
  }

  /** Makes or repairs the devices, and starts what keeps them current. Nothing to do: no write. */
  ensure(network: Network, call: Call, when: 'always' | 'unless present' = 'always'): Promise<PresentNetwork> {
    return this.#queue.run(network.id, async () => {
      const before = this.#present.get(network.id)
      if (when === 'unless present' && before !== undefined && sameRecord(before.record, network)) return before
      const { context, fabric } = this.#parts
      const shape = shapeOf(network, context)
      if (shape.kind === 'overlay') await fabric.ensure(call)
      const ns = shape.kind === 'overlay' ? fabric.ns : context.hostNs
      const fresh = await this.#program(shape, ns, call)
      await (shape.kind === 'overlay' ? this.#admit(shape, call) : this.#route(shape, call))
      const peers = shape.vxlan === undefined ? undefined : this.#follow(shape as VxlanNetwork, ns, before?.peers, fresh)
      const present = { record: network, shape, ns, peers }
      this.#present.set(network.id, present)
      return present
    })
  }

  /** As `ensure`, for a network that is present; false when it is not. */
  async verify(networkId: string, call: Call): Promise<boolean> {
    const present = this.#present.get(networkId)
    if (present === undefined) return false
    await this.ensure(present.record, call)
    return true
  }

  /** Removes what the host holds for a network, at once. */
  async remove(networkId: string, call: Call): Promise<void> {
    await this.#queue.run(networkId, async () => {
      const ports = await this.#ports(networkId, call)
      const users = ports.length + (this.#users.get(networkId)?.size ?? 0)
      if (users > 0) throw networkInUse(networkId, this.#parts.context.host)
      await this.#removeDevices(networkId, call)
    })
  }

  close(): void {
    for (const cancel of this.#lingering.values()) cancel()
    for (const { peers } of this.#present.values()) peers?.close(false)
  }

  async #removeUnused(networkId: string, call: Call): Promise<void> {
    await this.#queue.run(networkId, async () => {
      if (this.users(networkId).size > 0) return
      const ports = await this.#ports(networkId, call)
      // An endpoint of an earlier life of this process that nobody has told us about yet.
      for (const port of ports) this.use(networkId, parseEndpointAlias(port.alias)?.endpointId ?? port.name)
      // Looked at again: an attach that found the network present does not wait for this queue.
      if (this.users(networkId).size === 0) await this.#removeDevices(networkId, call)
    })
  }

  async #program(shape: NetworkShape, ns: Namespace, call: Call): Promise<boolean> {
    const { kernel, hostNs } = this.#parts.context
    const [bridge, vxlan] = await Promise.all([
      kernel.link(ns, shape.bridge, call),
      shape.vxlan === undefined ? undefined : kernel.link(ns, shape.vxlan.name, call),
    ])
    const has = bridge !== undefined && shape.gateways.length > 0 ? await kernel.addressesOf(ns, bridge.index, call) : []
    const addresses = has.map(({ address }) => address)
    const plan = planNetwork(shape, ns, hostNs, { bridge, vxlan, addresses })
    for (const name of plan.remove) await kernel.removeLink(ns, name, call)
    if (plan.steps.length === 0) return false
    try {
      await kernel.run(plan.steps, call)
    } catch (error) {
      throw kernelFailure(error, plan.steps, kernel)
    }
    // A new bridge has lost the ports that were on the old one.
    if (bridge === undefined && this.users(shape.id).size > 1) this.#parts.onDrift(shape.id)
    return plan.fresh
  }

  async #admit(shape: NetworkShape, call: Call): Promise<void> {
    if (shape.vxlan === undefined) return
    this.#parts.vxlanTable.put('vnis', vniElement(shape.vxlan.vni))
    await this.#parts.vxlanTable.flush(call)
  }

  async #route(shape: NetworkShape, call: Call): Promise<void> {
    const { context, bridgeTable, forwardPolicy } = this.#parts
    for (const [set, element] of bridgeElements(shape)) bridgeTable.put(set, element)
    await bridgeTable.flush(call)
    // It spawns iptables, which waits for its lock: no attach waits for that.
    context.jobs.once('forward policy', (signal) => background(context, 30_000, signal, (inner) => forwardPolicy.ensure(inner)))
  }

  #follow(shape: VxlanNetwork, ns: Namespace, before: PeerSync | undefined, fresh: boolean): PeerSync {
    const same = before !== undefined && before.shape.vxlan.vni === shape.vxlan.vni && before.shape.vxlan.local === shape.vxlan.local
    if (same) {
      before.recheck(fresh)
      return before
    }
    before?.close(true)
    const { context, vxlanTable, onDrift } = this.#parts
    const peers = new PeerSync(context, shape, ns, vxlanTable, this.#queue, fresh, async () => onDrift(shape.id))
    peers.start()
    return peers
  }

  /** Links of the network's endpoints, by alias or by being a port of its bridge. */
  async #ports(networkId: string, call: Call): Promise<LinkInfo[]> {
    const { context, fabric } = this.#parts
    const { kernel, hostNs } = context
    const dumps = await Promise.all([fabric.exists ? kernel.links(fabric.ns, call) : [], kernel.links(hostNs, call)])
    return dumps.flatMap((links) => {
      const bridge = links.find(({ name }) => name === bridgeName(networkId))
      return links.filter(({ alias, masterIndex, name }) => {
        if (name === vxlanName(networkId)) return false
        return parseEndpointAlias(alias)?.networkId === networkId || (bridge !== undefined && masterIndex === bridge.index)
      })
    })
  }

  async #removeDevices(networkId: string, call: Call): Promise<void> {
    const { context, fabric, vxlanTable, bridgeTable } = this.#parts
    this.#lingering.get(networkId)?.()
    this.#lingering.delete(networkId)
    const present = this.#present.get(networkId)
    this.#present.delete(networkId)
    present?.peers?.close(true)
    if (present?.shape.vxlan !== undefined) vxlanTable.drop('vnis', vniElement(present.shape.vxlan.vni))
    if (present?.shape.kind === 'bridge') for (const [set, element] of bridgeElements(present.shape)) bridgeTable.drop(set, element)
    if (fabric.exists) {
      await context.kernel.removeLink(fabric.ns, vxlanName(networkId), call)
      await context.kernel.removeLink(fabric.ns, bridgeName(networkId), call)
    }
    await context.kernel.removeLink(context.hostNs, bridgeName(networkId), call)
    if (present !== undefined) await (present.shape.kind === 'overlay' ? vxlanTable : bridgeTable).flush(call)
    await this.#removeFabricIfEmpty(call)
  }

  async #removeFabricIfEmpty(call: Call): Promise<void> {
    const { context, fabric } = this.#parts
    if (!fabric.exists || [...this.#present.values()].some(({ shape }) => shape.kind === 'overlay')) return
    // A network being made has announced its user before it asked for the fabric.
    const links = await context.kernel.links(fabric.ns, call)
    if (links.every(({ name }) => name === 'lo') && this.#users.size === 0) await fabric.remove(call)
  }
}

/** What the devices depend on; records of one network come with and without their revision. */
function sameRecord(a: Network, b: Network): boolean {
  const facts = ({ kind, vni, mtu, internal, pools, bridge }: Network) => JSON.stringify([kind, vni, mtu, internal, pools, bridge ?? {}])
  return a === b || facts(a) === facts(b)
}

function vniElement(vni: number): NftElement {
  return { key: [{ type: 'u24', value: vni }] }
}

function bridgeElements({ bridge, internal, isolated, routed }: NetworkShape): [string, NftElement][] {
  const name = { type: 'ifname' as const, value: bridge }
  return [
    ['bridges', { key: [name] }],
    ['own', { key: [name, name] }],
    ...(isolated ? [['apart', { key: [name, name] }] as [string, NftElement]] : []),
    ...(routed && !internal ? [] : [[internal ? 'internal' : 'outward', { key: [name] }] as [string, NftElement]]),
  ]
}
