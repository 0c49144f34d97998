/** The networks and overlay services in memory on a MemoryBus: records, snapshots, deltas. Tests only. */
import { MemoryBus, type MemoryHub } from '@heddle/bus'
import { busServices, Endpoint, eventSubjects, Network, type Peer, PeerDelta } from '@heddle/contract'
import { HeddleError, PeerSet } from '@heddle/core'

export class FakeBrains {
  readonly bus: MemoryBus
  readonly networks = new Map<string, Network>()
  readonly endpoints = new Map<string, Endpoint>()
  readonly hosts = new Map<string, { name: string; vtep: string; epoch: string }>()
  readonly calls: string[] = []
  /** Deltas are lost on their way. */
  deaf = false
  /** Every call fails. */
  down = false
  #revision = 1n

  constructor(hub: MemoryHub) {
    this.bus = new MemoryBus({ hub })
  }

  async start(): Promise<this> {
    const answer = <A>(name: string, value: () => A) => {
      this.calls.push(name)
      if (this.down) throw new HeddleError('unavailable', 'the brains are down')
      return value()
    }
    const no = async (): Promise<never> => {
      throw new HeddleError('not-implemented', 'not part of the fake')
    }
    await this.bus.serve(busServices.networks, {
      createNetwork: no,
      getNetwork: no,
      deleteNetwork: no,
      bindAlias: no,
      unbindAlias: no,
      putEndpoint: no,
      deleteEndpoint: no,
      fence: no,
      listNetworks: async () => answer('listNetworks', () => ({ networks: [...this.networks.values()] })),
      listEndpoints: async ({ host }) =>
        answer('listEndpoints', () => ({ endpoints: [...this.endpoints.values()].filter((endpoint) => endpoint.host === host) })),
    })
    await this.bus.serve(busServices.overlay, {
      claimVni: no,
      releaseVni: no,
      listHosts: no,
      removeHost: no,
      registerHost: async ({ host }) =>
        answer('registerHost', () => {
          if (host !== undefined) this.hosts.set(host.name, host)
          this.#revision++
          for (const network of this.networks.values()) this.#publish(network.id, [], [])
          return { heartbeatMs: 500 }
        }),
      heartbeat: async ({ host, epoch }) =>
        answer('heartbeat', () => {
          if (this.hosts.get(host)?.epoch !== epoch) throw new HeddleError('host-unknown', `host ${host} is not registered`)
          return {}
        }),
      snapshot: async ({ networkId }) =>
        answer('snapshot', () => {
          const set = this.#table(networkId)
          return {
            networkId,
            epoch: 'fake',
            revision: this.#revision,
            page: 0,
            last: true,
            peers: [...set.peers.values()],
            hosts: [...set.hosts.values()],
            digest: set.digest,
          }
        }),
    })
    return this
  }

  network(network: Partial<Network> & { id: string }): Network {
    const record = Network.fromPartial({ name: network.id, createdBy: 'cli', revision: 1n, ...network })
    this.networks.set(record.id, record)
    return record
  }

  put(endpoint: Partial<Endpoint> & { id: string; networkId: string; host: string }): Endpoint {
    const record = Endpoint.fromPartial({ runtime: 'cni', state: 'reserved', ...endpoint })
    this.endpoints.set(record.id, record)
    this.#revision++
    this.#publish(record.networkId, [peerOf(record)], [])
    return record
  }

  delete(id: string): void {
    const record = this.endpoints.get(id)
    if (record === undefined) return
    this.endpoints.delete(id)
    this.#revision++
    this.#publish(record.networkId, [], [id])
  }

  #table(networkId: string): PeerSet {
    const set = new PeerSet()
    for (const endpoint of this.endpoints.values()) if (endpoint.networkId === networkId) set.putPeer(peerOf(endpoint))
    for (const { name, vtep } of this.hosts.values()) set.putHost({ name, vtep, revision: this.#revision })
    return set
  }

  #publish(networkId: string, put: Peer[], deletedEndpointIds: string[]): void {
    if (this.deaf) return
    const putHosts = [...this.hosts.values()].map(({ name, vtep }) => ({ name, vtep, revision: this.#revision }))
    this.bus.publish(eventSubjects.peerDelta(networkId), PeerDelta, {
      networkId,
      epoch: 'fake',
      previous: this.#revision - 1n,
      revision: this.#revision,
      put,
      deletedEndpointIds,
      putHosts,
    })
  }
}

function peerOf(endpoint: Endpoint): Peer {
  return { endpointId: endpoint.id, mac: endpoint.mac, addresses: endpoint.addresses.map((address) => address.split('/')[0] ?? ''), host: endpoint.host }
}
