/** Brains and hands in memory, served on a MemoryBus; every call is noted, and any can be made to fail or to hang. */
import { type Handlers, MemoryBus } from '@heddle/bus'
import {
  busServices,
  type Endpoint,
  Network,
  type NetworksDefinition,
  type OverlayDefinition,
  type PortMapping,
  type Route,
  type VfAttachment,
  type WiringDefinition,
} from '@heddle/contract'
import { type Call, HeddleError } from '@heddle/core'
import { FakeIpam } from './fake-ipam.ts'
import { FakeVfs } from './fake-vfs.ts'

export const testHost = 'h1'

export class FakeCluster {
  readonly bus = new MemoryBus()
  readonly ipam = new FakeIpam()
  readonly vfs = new FakeVfs(testHost)
  readonly networks = new Map<string, Network>()
  /** Alias to network id. */
  readonly aliases = new Map<string, string>()
  readonly endpoints = new Map<string, Endpoint>()
  /** By endpoint id: what it was recorded against. */
  readonly claimRevisions = new Map<string, bigint>()
  /** Network id to VNI. */
  readonly vnis = new Map<string, number>()
  /** Interfaces of this host by endpoint id. */
  readonly interfaces = new Map<string, { readonly sandbox: string; readonly name: string }>()
  /** By endpoint id: as it was attached. */
  readonly routes = new Map<string, readonly Route[]>()
  readonly published = new Map<string, readonly PortMapping[]>()
  /** `ipam.allocate`, in order of arrival. */
  readonly calls: string[] = []
  /** What a call is to fail with; 'hang' never answers, and one with a promise waits for it first. */
  readonly faults = new Map<string, HeddleError | 'hang' | Promise<void>>()
  /** Names of interfaces in sandboxes that are somebody else's. */
  readonly foreign = new Set<string>()
  hostAlive = true
  readonly #closing = Promise.withResolvers<never>()

  async start(): Promise<this> {
    this.#closing.promise.catch(() => {})
    await this.bus.serve(busServices.ipam, this.#faulty('ipam', this.ipam.handlers))
    await this.bus.serve(busServices.networks, this.#faulty('networks', this.#networks))
    await this.bus.serve(busServices.overlay, this.#faulty('overlay', this.#overlay))
    await this.bus.serve(busServices.vfAllocator, this.#faulty('vfAllocator', this.vfs.handlers))
    await this.bus.serve(busServices.wiring, this.#faulty('wiring', this.#wiring), { host: testHost })
    return this
  }

  /** Ends what hangs first: the bus would wait for it. */
  async close(): Promise<void> {
    this.#closing.reject(new HeddleError('cancelled', 'the test is over'))
    await this.bus.close()
  }

  /** Puts a network there as if it had always been. */
  addNetwork(partial: Parameters<typeof Network.fromPartial>[0]): Network {
    const network = Network.fromPartial({ id: `${partial.name}`.padEnd(32, '0'), kind: 'overlay', ...partial })
    this.networks.set(network.id, network)
    for (const { poolId, prefix, gateway } of network.pools) {
      this.ipam.pools.set(poolId, {
        id: poolId,
        space: network.name,
        prefix,
        gateway,
        ranges: [],
        excluded: [],
        auxiliary: {},
        createdAt: '',
        provisionalHost: '',
      })
    }
    return network
  }

  readonly #networks: Handlers<typeof NetworksDefinition> = {
    createNetwork: async ({ network }) => {
      if (network === undefined) throw new HeddleError('invalid-argument', 'no network')
      const there = [...this.networks.values()].find((one) => one.name === network.name)
      if (there !== undefined) return { network: there, created: false }
      this.networks.set(network.id, network)
      return { network, created: true }
    },
    getNetwork: async ({ id, name, alias }) => {
      const network = this.networks.get(id) ?? this.networks.get(this.aliases.get(alias) ?? '') ?? [...this.networks.values()].find((one) => one.name === name)
      if (network === undefined) throw new HeddleError('network-unknown', `there is no network ${id}${name}${alias}`)
      return { network }
    },
    listNetworks: async () => ({ networks: [...this.networks.values()] }),
    deleteNetwork: async ({ id }) => {
      const used = [...this.endpoints.values()].some((one) => one.networkId === id) || [...this.aliases.values()].includes(id)
      if (used) throw new HeddleError('network-in-use', 'network is in use')
      const network = this.networks.get(id)
      this.networks.delete(id)
      return { network }
    },
    bindAlias: async ({ alias, networkId }) => {
      this.aliases.set(alias, networkId)
      return {}
    },
    unbindAlias: async ({ alias }) => {
      const network = this.networks.get(this.aliases.get(alias) ?? '')
      this.aliases.delete(alias)
      return { network, aliasesLeft: [...this.aliases.values()].filter((id) => id === network?.id).length }
    },
    putEndpoint: async ({ endpoint, claimRevision }) => {
      if (endpoint === undefined || !this.networks.has(endpoint.networkId)) throw new HeddleError('network-unknown', 'there is no such network')
      this.endpoints.set(endpoint.id, endpoint)
      this.claimRevisions.set(endpoint.id, claimRevision)
      return { endpoint }
    },
    listEndpoints: async ({ id, networkId, host }) => ({
      endpoints: [...this.endpoints.values()].filter(
        (one) => (id === '' || one.id === id) && (networkId === '' || one.networkId === networkId) && (host === '' || one.host === host),
      ),
    }),
    deleteEndpoint: async ({ id }) => {
      const endpoint = this.endpoints.get(id)
      this.endpoints.delete(id)
      return { endpoint }
    },
    fence: async () => ({ fencedOwners: [] }),
  }

  readonly #overlay: Handlers<typeof OverlayDefinition> = {
    claimVni: async ({ networkId, vni }) => {
      const wanted = vni || 4096 + this.vnis.size
      if ([...this.vnis].some(([id, taken]) => taken === wanted && id !== networkId)) throw new HeddleError('vni-taken', `VNI ${wanted} is taken`)
      this.vnis.set(networkId, wanted)
      return { vni: wanted }
    },
    releaseVni: async ({ networkId }) => {
      this.vnis.delete(networkId)
      return {}
    },
    listHosts: async () => ({ hosts: [{ name: testHost, alive: this.hostAlive }] }),
    registerHost: async () => ({}),
    heartbeat: async () => ({}),
    removeHost: async () => ({}),
    snapshot: async () => ({}),
  }

  readonly #wiring: Handlers<typeof WiringDefinition> = {
    prepare: async ({ endpoint }) => {
      if (endpoint?.vf !== undefined) this.vfs.use(endpoint.vf)
      return { existed: this.#plug(endpoint) }
    },
    attach: async ({ endpoint, routes }) => {
      this.#plug(endpoint)
      this.routes.set(endpoint?.id ?? '', routes)
      if (endpoint?.vf !== undefined) return this.#attachVf(endpoint, endpoint.vf)
      if (endpoint?.networkKind === 'null') return {}
      return {
        interfaceName: endpoint?.sandbox ? endpoint.interfaceName : 'hp0123456789a',
        mac: endpoint?.networkKind === 'host-device' ? '02:00:00:00:00:0d' : (endpoint?.mac ?? ''),
        mtu: 1450,
        hostInterface: 'hd0123456789a',
        bridge: 'hb0123456789a',
        hostMac: '02:00:00:00:00:01',
        bridgeMac: '02:00:00:00:00:02',
      }
    },
    detach: async ({ endpointId }) => {
      this.vfs.putBack(endpointId)
      return { existed: this.interfaces.delete(endpointId) }
    },
    check: async ({ endpoint, routes }) => {
      if (!this.interfaces.has(endpoint?.id ?? '')) return { differences: ['the interface is missing'] }
      return { differences: JSON.stringify(routes) === JSON.stringify(this.routes.get(endpoint?.id ?? '')) ? [] : ['the routes are others'] }
    },
    publishPorts: async ({ endpointId, ports }) => {
      const given = ports.map((port) => ({ ...port, hostPort: port.hostPort || 32_768 }))
      this.published.set(endpointId, given)
      return { ports: given }
    },
    listAttachments: async ({ sandboxes }) => ({ attachments: [...this.interfaces.keys()].map((endpointId) => ({ endpointId })), sandboxes }),
    removeNetwork: async () => ({}),
    inspect: async () => ({ findings: [{ level: 'ok', subject: 'kernel vxlan', message: 'there' }], inventory: { links: this.interfaces.size } }),
    setVfs: async ({ pf, count }) => ({ pf: this.vfs.addPf(pf, count), vfs: [...this.vfs.vfs.values()] }),
    readVf: async ({ pci }) => ({ vf: this.vfs.vfs.get(pci), found: true, interfaceName: this.vfs.vfs.get(pci)?.name ?? '' }),
    repairVfs: async () => ({}),
    bindVf: async (request) => this.vfs.bind(request),
  }

  #attachVf(endpoint: Endpoint, attachment: VfAttachment) {
    const vf = this.vfs.use(attachment)
    if (attachment.driver !== '') return { mac: endpoint.mac, pci: vf.pci, deviceNodes: this.vfs.bind(attachment).deviceNodes }
    return { interfaceName: endpoint.sandbox ? endpoint.interfaceName : vf.name, mac: endpoint.mac, mtu: 1500, pci: vf.pci }
  }

  #plug(endpoint: Endpoint | undefined): boolean {
    if (endpoint === undefined) return false
    if (this.foreign.has(endpoint.interfaceName))
      throw new HeddleError('interface-exists', `interface ${endpoint.interfaceName} exists already`, { remedy: 'choose another name' })
    const existed = this.interfaces.has(endpoint.id)
    this.interfaces.set(endpoint.id, { sandbox: endpoint.sandbox, name: endpoint.interfaceName })
    return existed
  }

  #faulty<H extends object>(service: string, handlers: H): H {
    const wrapped = Object.entries(handlers as Record<string, (request: unknown, call: Call) => Promise<unknown>>).map(([method, handle]) => [
      method,
      (request: unknown, call: Call) => {
        const name = `${service}.${method}`
        this.calls.push(name)
        const fault = this.faults.get(name) ?? this.faults.get(service)
        if (fault === 'hang') return this.#closing.promise
        if (fault instanceof Promise) return fault.then(() => handle(request, call))
        return fault === undefined ? handle(request, call) : Promise.reject(fault)
      },
    ])
    return Object.fromEntries(wrapped) as H
  }
}
