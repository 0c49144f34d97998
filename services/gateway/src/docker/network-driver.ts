/** NetworkDriver: reserve in CreateEndpoint (Docker holds a lock meanwhile), wire in Join, and undo both in DeleteEndpoint. */
import type { Endpoint, Network } from '@heddle/contract'
import { type Call, HeddleError, macOf, undoCall, withCall } from '@heddle/core'
import { hostIpField, macField } from '../fields.ts'
import { findEndpoint } from '../flows/attach.ts'
import { detach } from '../flows/detach.ts'
import { later } from '../flows/later.ts'
import type { FlowParts } from '../flows/parts.ts'
import { familyOf, gatewayFor, highestRevision, poolIdsOf, wantsOf } from '../flows/plan.ts'
import { together, undoing } from '../flows/undo.ts'
import type { Body } from './bodies.ts'
import type { KnownEndpoint, KnownEndpoints } from './known-endpoints.ts'
import type { DockerNetworks } from './networks.ts'
import { parseIfname } from './options.ts'

const prepareTimeoutMs = 5000

export class NetworkDriver {
  readonly #parts: FlowParts
  readonly #networks: DockerNetworks
  readonly #known: KnownEndpoints

  constructor(parts: FlowParts, networks: DockerNetworks, known: KnownEndpoints) {
    this.#parts = parts
    this.#networks = networks
    this.#known = known
  }

  /** Repeatable by endpoint id. A field is answered only if the request left it empty. */
  createEndpoint(body: Body<'createEndpoint'>, call: Call): Promise<object> {
    const { EndpointID: id, Interface: asked } = body
    const mac = asked.MacAddress === '' ? macOf(id) : macField(asked.MacAddress, 'MacAddress')
    const addresses = [asked.Address, asked.AddressIPv6].filter((one) => one !== '').map((one) => hostIpField(one, 'Address'))
    return this.#parts.endpoints.runAttach(id, call, async () => {
      const network = await this.#networks.find(body.NetworkID, call)
      return undoing(this.#parts, call, async (undo) => {
        const draft = this.#draft(network, id, mac, parseIfname(body.Options))
        this.#prepare(network, draft, call)
        undo.add('forget and detach', (late) => this.#takeBack(id, late))
        const claims = addresses.length > 0 ? await this.#adopt(network, id, addresses, call) : await this.#allocate(network, id, call)
        const endpoint = { ...draft, addresses: claims.map((claim) => `${claim.address}/${claim.prefixLength}`) }
        const known = { endpoint, claimRevision: highestRevision(claims) }
        await this.#put(network, known, call)
        return { Interface: { ...(asked.MacAddress === '' ? { MacAddress: mac } : {}), ...(addresses.length === 0 ? addressFields(endpoint) : {}) } }
      })
    })
  }

  join(body: Body<'join'>, call: Call): Promise<object> {
    return this.#parts.endpoints.runAttach(body.EndpointID, call, async () => {
      const [network, found] = await together([this.#networks.find(body.NetworkID, call), this.#known.find(this.#parts, body.EndpointID, call)])
      if (found === undefined) {
        throw new HeddleError('endpoint-unknown', `endpoint ${body.EndpointID.slice(0, 12)} is not recorded`, {
          field: 'EndpointID',
          remedy: 'start the container again',
        })
      }
      const wired = { claimRevision: found.claimRevision, endpoint: { ...found.endpoint, state: 'wired' } }
      const [attached] = await together([
        this.#parts.cluster.wiring.attach({ network, endpoint: wired.endpoint, routes: [] }, call),
        this.#put(network, wired, call),
      ])
      const ifname = found.endpoint.interfaceName || parseIfname(body.Options)
      return {
        InterfaceName: { SrcName: attached.interfaceName, DstPrefix: 'eth', ...(ifname === '' ? {} : { DstName: ifname }) },
        ...gatewayFields(network, wired.endpoint),
        StaticRoutes: [],
        // Without this Docker gives a container that has no gateway a second way out, docker_gwbridge.
        DisableGatewayService: network.internal || network.options['gateway'] === 'none',
      }
    })
  }

  /**
   * Takes the interface out of the container at once. Docker would move it back to the host, which costs the kernel some
   * 20 ms, only for DeleteEndpoint to delete it; one that is gone it passes over. The record stays until DeleteEndpoint: a
   * Join that follows makes the interface anew. Never fails.
   */
  async leave(body: Body<'endpoint'>, call: Call): Promise<object> {
    const id = body.EndpointID
    const { cluster, endpoints, logger, releaseTimeoutMs } = this.#parts
    try {
      await withCall({ ...undoCall(call, releaseTimeoutMs), signal: call.signal }, (inner) =>
        endpoints.run(id, inner, () => cluster.wiring.detach({ endpointId: id, networkId: this.#known.peek(id)?.endpoint.networkId ?? '' }, inner)),
      )
      this.#known.leave(id)
    } catch (error) {
      logger.info({ endpoint: id, failure: HeddleError.from(error).message }, 'leave not finished; DeleteEndpoint follows')
    }
    return {}
  }

  /** Docker forgets the endpoint whatever is answered, so what cannot be done now is done later. */
  async deleteEndpoint(body: Body<'endpoint'>, call: Call): Promise<object> {
    const known = this.#known.peek(body.EndpointID)
    const wish = {
      endpointId: body.EndpointID,
      networkId: known?.endpoint.networkId ?? '',
      sandbox: '',
      interfaceName: '',
      interfaceGone: known?.left === true,
    }
    this.#known.forget(wish.endpointId)
    try {
      const { told } = await detach(this.#parts, wish, call)
      if (told) for (const address of known?.endpoint.addresses ?? []) this.#known.release(address.split('/', 1)[0] ?? '')
    } catch (error) {
      this.#parts.logger.warn({ endpoint: wish.endpointId, failure: HeddleError.from(error).message }, 'endpoint not detached; it is tried again')
      later(this.#parts, `detach endpoint ${wish.endpointId.slice(0, 12)}`, async (inner) => {
        await detach(this.#parts, wish, inner)
      })
    }
    return {}
  }

  /** Called for every endpoint of a container at each of its changes: local and at once. */
  async endpointInfo(body: Body<'endpoint'>): Promise<object> {
    const known = this.#known.peek(body.EndpointID)
    return { Value: known === undefined ? {} : { 'heddle.network': known.endpoint.networkName, 'heddle.state': known.endpoint.state } }
  }

  #draft(network: Network, id: string, mac: string, interfaceName: string): Endpoint {
    return {
      id,
      networkId: network.id,
      networkName: network.name,
      host: this.#parts.cluster.host,
      state: 'reserved',
      mac,
      addresses: [],
      sandbox: '',
      interfaceName,
      containerId: '',
      containerName: '',
      runtime: 'docker',
      ports: [],
      createdAt: '',
      updatedAt: '',
      revision: 0n,
    }
  }

  /** Links are made while Docker goes from CreateEndpoint to Join. A hint: Join makes what is missing. */
  #prepare(network: Network, endpoint: Endpoint, call: Call): void {
    this.#parts.jobs.once(`prepare ${endpoint.id.slice(0, 12)}`, () =>
      withCall(undoCall(call, prepareTimeoutMs), async (inner) => {
        await this.#parts.cluster.wiring.prepare({ network, endpoint }, inner)
      }),
    )
  }

  async #adopt(network: Network, owner: string, addresses: readonly string[], call: Call) {
    const { host, ipam } = this.#parts.cluster
    const wants = addresses.map((address) => ({ poolIds: poolIdsOf(network, familyOf(address)), address }))
    const { allocations } = await ipam.adopt({ owner, host, addresses: wants }, call)
    return allocations.flatMap(({ claim }) => claim ?? [])
  }

  /** With Docker's null IPAM the driver chooses. */
  async #allocate(network: Network, owner: string, call: Call) {
    const { host, ipam } = this.#parts.cluster
    const { allocations } = await ipam.allocate({ owner, host, wants: wantsOf(network, []) }, call)
    return allocations.flatMap(({ claim }) => claim ?? [])
  }

  async #put(network: Network, known: KnownEndpoint, call: Call): Promise<void> {
    try {
      await this.#parts.cluster.networks.putEndpoint({ endpoint: known.endpoint, claimRevision: known.claimRevision }, call)
    } catch (error) {
      if (HeddleError.from(error).code === 'network-unknown') this.#networks.forget(network)
      throw error
    }
    this.#known.learn(known)
  }

  /** A repeated call for an endpoint that is in use must not take it away. */
  async #takeBack(id: string, call: Call): Promise<void> {
    const { ipam, networks, wiring } = this.#parts.cluster
    if ((await findEndpoint(this.#parts, id, call))?.state === 'wired') return
    this.#known.forget(id)
    await wiring.detach({ endpointId: id }, call)
    await together([networks.deleteEndpoint({ id }, call), ipam.release({ owner: id }, call)])
  }
}

function addressFields(endpoint: Endpoint): object {
  const of = (family: 4 | 6) => endpoint.addresses.find((address) => familyOf(address) === family)
  return { ...(of(4) === undefined ? {} : { Address: of(4) }), ...(of(6) === undefined ? {} : { AddressIPv6: of(6) }) }
}

/** Bare addresses, unlike everywhere else in the protocol. */
function gatewayFields(network: Network, endpoint: Endpoint): object {
  const of = (family: 4 | 6) => endpoint.addresses.filter((address) => familyOf(address) === family).map((address) => gatewayFor(network, address))[0] ?? ''
  return { Gateway: of(4), GatewayIPv6: of(6) }
}
