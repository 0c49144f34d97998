/**
 * NetworkDriver: reserve in CreateEndpoint (Docker holds a lock meanwhile), wire in Join, and undo both in DeleteEndpoint.
 * Leave does nothing: Docker then moves the interface out of the container. To take it away earlier would save 15 ms, but
 * Docker (moby's osl.Namespace.RemoveInterface) keeps an interface it could not move in its list: `docker stats` of the
 * container is empty from then on (seen with 20.10), the next interface is eth2 where eth1 is free, and engines 28.1 to
 * 29.7 panic when such an endpoint is left again (moby/moby#53237).
 */
import type { Endpoint, Network, VfAttachment } from '@heddle/contract'
import { type Call, HeddleError, hasGivenMac, isOnWire, undoCall, withCall } from '@heddle/core'
import { hostIpField, inOwnWords, macField } from '../fields.ts'
import { findEndpoint, vfUndoTimeoutMs } from '../flows/attach.ts'
import { briefly } from '../flows/briefly.ts'
import { detach, detachAhead } from '../flows/detach.ts'
import { later } from '../flows/later.ts'
import type { FlowParts } from '../flows/parts.ts'
import { anywhere, claimRevisionOf, familyOf, gatewayFor, macFor, macToRecord, poolIdsOf, routesByLink, wantsOf } from '../flows/plan.ts'
import { together, undoing } from '../flows/undo.ts'
import { releaseVf } from '../flows/vf.ts'
import type { Body } from './bodies.ts'
import { claimKey, endpointUnknown, type KnownEndpoint, type KnownEndpoints } from './known-endpoints.ts'
import type { DockerNetworks } from './networks.ts'
import { parseIfname } from './options.ts'
import type { DockerScope } from './scope.ts'
import { optionOf } from './sriov-options.ts'
import { keysOf, SwarmAddresses } from './swarm-addresses.ts'
import { claimForDocker } from './vf-endpoint.ts'

const prepareTimeoutMs = 5000
const detachTimeoutMs = 5000
const recallTimeoutMs = 1000

export class NetworkDriver {
  readonly #parts: FlowParts
  readonly #networks: DockerNetworks
  readonly #known: KnownEndpoints
  /** Absent: local scope. */
  readonly #swarm: SwarmAddresses | undefined

  constructor(parts: FlowParts, networks: DockerNetworks, known: KnownEndpoints, scope: DockerScope) {
    this.#parts = parts
    this.#networks = networks
    this.#known = known
    this.#swarm = scope === 'global' ? new SwarmAddresses(parts) : undefined
  }

  /** Repeatable by endpoint id. A field is answered only if the request left it empty. */
  createEndpoint(body: Body<'createEndpoint'>, call: Call): Promise<object> {
    const { EndpointID: id, Interface: asked } = body
    const mac = asked.MacAddress === '' ? '' : macField(asked.MacAddress, 'MacAddress')
    const addresses = [asked.Address, asked.AddressIPv6].filter((one) => one !== '').map((one) => hostIpField(one, 'Address'))
    const interfaceName = parseIfname(body.Options)
    return this.#parts.endpoints.runAttach(id, call, async () => {
      const recorded = this.#known.peek(id)?.endpoint
      const network = await this.#networks.find(body.NetworkID, call)
      const answer = ({ mac: given, addresses: chosen }: Endpoint) => ({
        // Docker would set what it is told.
        Interface: {
          ...(asked.MacAddress === '' && !hasGivenMac(network) ? { MacAddress: given } : {}),
          ...(addresses.length === 0 ? addressFields(chosen) : {}),
        },
      })
      if (recorded?.state === 'wired') return answer(recorded)
      return undoing(this.#parts, call, async (undo) => {
        let preparing: Promise<unknown> | undefined
        const takeBack = async (late: Call) => {
          // A VF that is set after it was given up would be set for whoever has it next.
          await preparing
          await this.#takeBack(network, id, late)
        }
        undo.add('forget and detach', takeBack, network.kind === 'sriov' ? vfUndoTimeoutMs : undefined)
        const claimed =
          network.kind === 'sriov'
            ? await claimForDocker(this.#parts, network, id, mac, call)
            : { attachment: undefined, mac: macFor(network, mac, id), revision: 0n }
        const draft = this.#draft(network, id, claimed, interfaceName)
        // A MAC that was asked for may be another's: until the record says that it is not, no port may take its frames.
        if (mac === '' || network.kind === 'sriov') preparing = this.#prepare(network, draft, call)
        const claims = addresses.length > 0 ? await this.#adopt(network, id, addresses, call) : await this.#allocate(network, id, call)
        const endpoint = { ...draft, addresses: claims.map((claim) => `${claim.address}/${claim.prefixLength}`) }
        const known = { endpoint, claimRevision: claimRevisionOf(claims, claimed.revision), asked: addresses.length > 0 ? claims.map(claimKey) : [] }
        undo.add('expect the releases', async () => this.#known.settle(known.asked))
        await this.#put(network, known, call)
        return answer(endpoint)
      })
    })
  }

  join(body: Body<'join'>, call: Call): Promise<object> {
    return this.#parts.endpoints.runAttach(body.EndpointID, call, async () => {
      const [network, found] = await together([this.#networks.find(body.NetworkID, call), this.#known.find(this.#parts, body.EndpointID, call)])
      if (found === undefined) throw endpointUnknown(body.EndpointID)
      const ifname = found.endpoint.interfaceName || parseIfname(body.Options)
      const wired = { ...found, endpoint: { ...found.endpoint, state: 'wired' } }
      const [attached] = await together([
        inOwnWords(this.#parts.cluster.wiring.attach({ network, endpoint: wired.endpoint, routes: [] }, call), optionOf),
        this.#put(network, wired, call),
      ])
      if (attached.interfaceName === '' && network.kind !== 'null') throw nothingToMove(wired.endpoint)
      const mac = macToRecord(network, wired.endpoint.mac, attached.mac)
      if (mac !== undefined) await this.#put(network, { ...wired, endpoint: { ...wired.endpoint, mac } }, call)
      const names = { SrcName: attached.interfaceName, DstPrefix: network.options['prefix'] || 'eth', ...(ifname === '' ? {} : { DstName: ifname }) }
      return {
        InterfaceName: network.kind === 'null' ? null : names,
        ...gatewayFields(network, wired.endpoint),
        StaticRoutes: routesByLink(network) ? staticRoutes(wired.endpoint) : [],
        // Without this Docker gives a container that has no gateway a second way out, docker_gwbridge.
        DisableGatewayService: network.internal || !hasDockersGateway(network),
      }
    })
  }

  /** Docker forgets the endpoint whatever is answered, so what cannot be done now is done later. */
  async deleteEndpoint(body: Body<'endpoint'>, call: Call): Promise<object> {
    const known = this.#known.peek(body.EndpointID) ?? (await this.#recall(body, call))
    const wish = {
      endpointId: body.EndpointID,
      networkId: known?.endpoint.networkId ?? '',
      sandbox: '',
      interfaceName: '',
      networkKind: known?.endpoint.networkKind,
      vf: known?.endpoint.vf,
    }
    this.#known.forget(wish.endpointId)
    this.#known.settle(known?.asked ?? [])
    try {
      await briefly(call, detachTimeoutMs, (inner) => detachAhead(this.#parts, wish, inner))
    } catch (error) {
      this.#parts.logger.warn({ endpoint: wish.endpointId, failure: HeddleError.from(error).message }, 'endpoint not detached; it is tried again')
      later(this.#parts, `detach endpoint ${wish.endpointId.slice(0, 12)}`, (inner) => detach(this.#parts, wish, inner))
    }
    return {}
  }

  /** Called for every endpoint of a container at each of its changes: local and at once. */
  async endpointInfo(body: Body<'endpoint'>): Promise<object> {
    const known = this.#known.peek(body.EndpointID)
    if (known === undefined) return { Value: {} }
    const { networkName, state, vf } = known.endpoint
    return { Value: { 'heddle.network': networkName, 'heddle.state': state, ...(vf === undefined ? {} : vfFields(vf)) } }
  }

  /**
   * After a restart, in a swarm: Docker's release of the node is not to be taken for that of the manager, which comes later
   * and holds the address until then.
   */
  async #recall({ NetworkID, EndpointID }: Body<'endpoint'>, call: Call): Promise<KnownEndpoint | undefined> {
    if (this.#swarm === undefined) return undefined
    try {
      const [network, found] = await briefly(call, recallTimeoutMs, (inner) =>
        together([this.#networks.find(NetworkID, inner), this.#known.find(this.#parts, EndpointID, inner)]),
      )
      return found === undefined ? undefined : { ...found, asked: keysOf(network, found.endpoint.addresses) }
    } catch (error) {
      this.#parts.logger.info({ endpoint: EndpointID, failure: HeddleError.from(error).message }, 'endpoint not recalled')
      return undefined
    }
  }

  #draft(
    network: Network,
    id: string,
    { mac, attachment: vf }: { readonly mac: string; readonly attachment: VfAttachment | undefined },
    interfaceName: string,
  ): Endpoint {
    return {
      id,
      networkId: network.id,
      networkName: network.name,
      networkKind: network.kind,
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
      aliases: [],
      createdAt: '',
      updatedAt: '',
      revision: 0n,
      vf,
    }
  }

  /** Links are made while Docker goes from CreateEndpoint to Join. A hint: Join makes what is missing. Resolves when nothing of it is under way any more. */
  #prepare(network: Network, endpoint: Endpoint, call: Call): Promise<unknown> {
    const preparing = withCall(undoCall(call, prepareTimeoutMs), (inner) => this.#parts.cluster.wiring.prepare({ network, endpoint }, inner))
    this.#parts.jobs.once(`prepare ${endpoint.id.slice(0, 12)}`, async () => {
      await preparing
    })
    return Promise.allSettled([preparing])
  }

  async #adopt(network: Network, owner: string, addresses: readonly string[], call: Call) {
    const { host, ipam } = this.#parts.cluster
    const wants = addresses.map((address) => ({ poolIds: poolIdsOf(network, familyOf(address)), address }))
    try {
      const { allocations } = await ipam.adopt({ owner, host, addresses: wants }, call)
      return allocations.flatMap(({ claim }) => claim ?? [])
    } catch (error) {
      if (HeddleError.from(error).code !== 'address-taken') throw error
      const held = await this.#swarm?.findAll(network, addresses, call)
      if (held === undefined) throw error
      return held
    }
  }

  /** With Docker's null IPAM the driver chooses; a network without pools is of frames alone. */
  async #allocate(network: Network, owner: string, call: Call) {
    const { host, ipam } = this.#parts.cluster
    const wants = wantsOf(network, [])
    if (wants.length === 0) return []
    const { allocations } = await ipam.allocate({ owner, host, wants }, call)
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
  async #takeBack(network: Network, id: string, call: Call): Promise<void> {
    const { ipam, networks, wiring } = this.#parts.cluster
    if ((await findEndpoint(this.#parts, id, call))?.state === 'wired') return
    this.#known.forget(id)
    await wiring.detach({ endpointId: id }, call)
    await together([
      networks.deleteEndpoint({ id }, call),
      ipam.release({ owner: id }, call),
      network.kind === 'sriov' ? releaseVf(this.#parts, id, call) : undefined,
    ])
  }
}

function hasDockersGateway({ kind, options }: Network): boolean {
  if (kind === 'null') return false
  return isOnWire(kind) ? options['gateway'] === 'docker' : options['gateway'] !== 'none'
}

/** Docker moves nothing when it is told no name: a container without its interface, which nobody notices. */
function nothingToMove({ id, vf }: Endpoint): HeddleError {
  const what = vf === undefined ? `endpoint ${id.slice(0, 12)}` : `VF ${vf.pci}`
  return new HeddleError('unsupported', `${what} has no network interface to give to the container`, {
    field: 'SrcName',
    remedy: vf === undefined ? 'start the container again' : `see \`heddle vf inspect ${vf.pci}\` for the driver it is bound to`,
  })
}

function vfFields({ pci, pf, settings }: VfAttachment): object {
  return { 'heddle.vf': pci, 'heddle.pf': pf, 'heddle.vlan': settings?.vlan ?? 0 }
}

function addressFields(addresses: readonly string[]): object {
  const of = (family: 4 | 6) => addresses.find((address) => familyOf(address) === family)
  return { ...(of(4) === undefined ? {} : { Address: of(4) }), ...(of(6) === undefined ? {} : { AddressIPv6: of(6) }) }
}

/** Bare addresses, unlike everywhere else in the protocol. */
function gatewayFields(network: Network, endpoint: Endpoint): object {
  const of = (family: 4 | 6) => endpoint.addresses.filter((address) => familyOf(address) === family).map((address) => gatewayFor(network, address))[0] ?? ''
  return { Gateway: of(4), GatewayIPv6: of(6) }
}

/** Default routes by the interface itself: libnetwork's types.CONNECTED is 1. */
function staticRoutes({ addresses }: Endpoint): object[] {
  return [...new Set(addresses.map(familyOf))].map((family) => ({ Destination: anywhere[family], RouteType: 1, NextHop: '' }))
}
