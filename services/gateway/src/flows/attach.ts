/**
 * Attaches an endpoint in one go, as CNI ADD does: claim and links side by side, then record and wiring side by side.
 * Two waits stand between the call and its result, and no lookup when the network is known.
 */
import type { Allocation, AttachResponse, Claim, Endpoint, Network, Route, Vf } from '@heddle/contract'
import { type Call, HeddleError, undoCall, withCall } from '@heddle/core'
import type { FlowParts } from './parts.ts'
import { boundPorts, claimRevisionOf, completeRoute, defaultRoutes, familyOf, isClaimable, macFor, macToRecord, poolIdsOf, wantsOf } from './plan.ts'
import { together, type Undo, undoing } from './undo.ts'
import { type ClaimedVf, claimVf, planVf, releaseVf, sameVf, type VfWish } from './vf.ts'

export interface AttachWish {
  /** What is recorded, but for network, host, state and addresses; an empty `mac` is the VF's own, or derived from the id. */
  readonly endpoint: Pick<Endpoint, 'id' | 'containerId' | 'containerName' | 'interfaceName' | 'sandbox' | 'mac' | 'ports' | 'runtime'> & {
    readonly aliases?: string[]
  }
  /** Finds the network, from the directory if it is known; also checks whether it suits the wish. */
  readonly network: (call: Call) => Promise<Network>
  /** Static addresses, bare. Families without one get a dynamic address. */
  readonly addresses: readonly string[]
  /** Prefixes of the pools that may give them; none: any. */
  readonly within?: readonly string[]
  /** Instead of addresses of Heddle's choice: another plugin's, asked when the interface is there (a DHCP client needs it). */
  readonly given?: { readonly plugin: string; readonly ask: (call: Call) => Promise<Given> } | undefined
  /** Beside the default routes, or instead of the one of the same destination. */
  readonly routes: readonly Route[]
  /** No default routes but those among `routes`. */
  readonly onlyRoutes?: boolean
  /** Networks of kind sriov. */
  readonly vf?: VfWish | undefined
  /** Told which VF it is once the endpoint is attached; what it throws undoes that. */
  readonly onVf?: ((vf: Vf) => void) | undefined
}

/** What another IPAM plugin gave. */
export interface Given {
  /** `address/length`, canonical. */
  readonly addresses: readonly string[]
  /** By address; empty where there is none. */
  readonly gatewayOf: ReadonlyMap<string, string>
  /** Complete: no gateway of the network makes one. */
  readonly routes: readonly Route[]
}

export interface Attached {
  readonly network: Network
  readonly given?: Given | undefined
  readonly endpoint: Endpoint
  readonly routes: readonly Route[]
  readonly wiring: AttachResponse
}

/** Putting a VF back may take several tries of a driver that is slow. */
export const vfUndoTimeoutMs = 10_000

/** Codes that may mean no more than that the directory's entry is out of date, or that a sweep was faster: once more from the start. */
const stale: ReadonlySet<string> = new Set(['network-unknown', 'pool-unknown', 'conflict', 'claim-fenced'])

/**
 * Fails with interface-exists when the endpoint is attached already, unless it is the very same wish and its interface
 * is intact: then the result is the recorded one (a runtime that repeats a call whose answer it lost).
 */
export function attach(parts: FlowParts, wish: AttachWish, call: Call): Promise<Attached> {
  return parts.endpoints.runAttach(wish.endpoint.id, call, () => onceMore(parts, wish.network, call, (network) => attachTo(parts, network, wish, call)))
}

/** A second time where the first failed for what may have been known wrongly of the network. */
export async function onceMore<T>(parts: FlowParts, find: AttachWish['network'], call: Call, body: (network: Network) => Promise<T>): Promise<T> {
  const network = await find(call)
  try {
    return await body(network)
  } catch (error) {
    if (!stale.has(HeddleError.from(error).code)) throw error
    parts.directory.forget(network)
    return body(await find(call))
  }
}

async function attachTo(parts: FlowParts, network: Network, wish: AttachWish, call: Call): Promise<Attached> {
  const { host, ipam, networks, wiring } = parts.cluster
  const { id, sandbox, interfaceName } = wish.endpoint
  const wants = wish.given === undefined ? wantsOf(network, wish.addresses, wish.within) : []
  const vfPlan = network.kind === 'sriov' ? planVf(network, wish.vf) : undefined
  const ports = boundPorts(network, wish.endpoint.ports)
  const common = { aliases: [], ...wish.endpoint, ports, networkId: network.id, networkName: network.name, networkKind: network.kind, host }
  // It may be another's: until the record says that it is not, no port may take its frames.
  const asksForMac = vfPlan === undefined && wish.endpoint.mac !== ''
  const macWithoutVf = vfPlan === undefined ? macFor(network, wish.endpoint.mac, id) : ''

  await parts.endpoints.freed(call)
  return undoing(parts, call, async (undo) => {
    let claimed: ClaimedVf | undefined
    const prepare = async () => {
      if (vfPlan !== undefined) claimed = await claimVf(parts, network, vfPlan, wish.endpoint, call)
      const draft = { ...common, mac: claimed?.mac ?? macWithoutVf, vf: claimed?.attachment }
      const recorded = asksForMac ? await findEndpoint(parts, id, call) : undefined
      if (asksForMac && recorded?.mac !== draft.mac) return { draft, existed: recorded !== undefined }
      const { existed } = await wiring.prepare({ network, endpoint: draft }, call)
      return { draft, existed }
    }
    undo.add('release the addresses', (late) => ipam.release({ owner: id }, late))
    undo.add(
      'remove the interface',
      async (late) => {
        await wiring.detach({ endpointId: id, networkId: network.id, sandbox, interfaceName, vf: claimed?.attachment }, late)
        // Only a VF that was put back may be offered again; the sweep has the host's hands do it when this did not.
        if (vfPlan !== undefined) await releaseVf(parts, id, late)
      },
      vfPlan === undefined ? undefined : vfUndoTimeoutMs,
    )
    const [{ allocations }, { draft, existed }] = await unlessRecorded(parts, wish, undo, call, () =>
      together([wants.length === 0 ? { allocations: [] } : ipam.allocate({ owner: id, host, wants }, call), prepare()]),
    )
    if (existed) {
      const recorded = await findEndpoint(parts, id, call).catch((error: unknown) => {
        // It may be in use, as below.
        undo.disarm()
        throw error
      })
      if (recorded !== undefined) {
        undo.disarm()
        // What the other plugin said of routes is not recorded, and it would not say it twice.
        if (wish.given !== undefined) throw exists(recorded)
        return repeat(parts, network, wish, recorded, claimed, call)
      }
    }

    const given = await wish.given?.ask(call)
    const claims = claimsIn(given === undefined ? allocations : await claimGiven(parts, network, id, given, call))
    const addresses = given?.addresses ?? claims.map((claim) => `${claim.address}/${claim.prefixLength}`)
    const claimRevision = claimRevisionOf(claims, claimed?.revision)
    const routes = given === undefined ? routesOf(network, addresses, wish) : [...given.routes, ...wish.routes]
    const endpoint = { ...draft, addresses: [...addresses], state: 'wired', ipam: wish.given?.plugin }
    undo.add('forget the endpoint', (late) => networks.deleteEndpoint({ id }, late))
    const put = (mac = endpoint.mac) => networks.putEndpoint({ endpoint: { ...endpoint, mac }, claimRevision }, call)
    const recorded = asksForMac ? await put() : undefined
    const [first, wired] = await together([
      recorded ?? put(),
      wiring.attach({ network, endpoint, routes }, call),
      ports.length === 0 ? undefined : wiring.publishPorts({ endpointId: id, network, addresses: addresses.map(bare), ports }, call),
    ])
    const mac = macToRecord(network, endpoint.mac, wired.mac)
    const record = mac === undefined ? first : await put(mac)
    if (claimed !== undefined) wish.onVf?.(claimed.vf)
    return { network, given, endpoint: record.endpoint ?? { ...endpoint, createdAt: '', updatedAt: '', revision: 0n }, routes, wiring: wired }
  })
}

/** Of another plugin's addresses those in the network's pools are claimed: nobody else may be given them. */
async function claimGiven(parts: FlowParts, network: Network, owner: string, { addresses }: Given, call: Call): Promise<readonly Allocation[]> {
  const { host, ipam } = parts.cluster
  const inPools = addresses.map(bare).filter((one) => isClaimable(network, one))
  if (inPools.length === 0) return []
  const wants = inPools.map((address) => ({ poolIds: poolIdsOf(network, familyOf(address)), address }))
  return (await ipam.allocate({ owner, host, wants }, call)).allocations
}

function claimsIn(allocations: readonly Allocation[]): Claim[] {
  return allocations.flatMap(({ claim }) => (claim === undefined ? [] : [claim]))
}

/** The record of an endpoint, or undefined. */
export async function findEndpoint(parts: FlowParts, id: string, call: Call): Promise<Endpoint | undefined> {
  const { endpoints } = await parts.cluster.networks.listEndpoints({ id }, call)
  return endpoints[0]
}

/** The routes asked for, and the default routes they do not replace. A route without gateway goes to the network's own, unless its scope is the link. */
export function routesOf(network: Network, addresses: readonly string[], { routes, onlyRoutes = false }: Pick<AttachWish, 'routes' | 'onlyRoutes'>): Route[] {
  const defaults = defaultRoutes(network, addresses)
  const gateways = new Map(defaults.map(({ destination, gateway }) => [familyOf(destination), gateway]))
  const completed = routes.map((route) => completeRoute(route, gateways))
  if (onlyRoutes) return completed
  return [...defaults.filter((one) => !routes.some((route) => route.destination === one.destination)), ...completed]
}

/**
 * When claim or links fail, the endpoint may be one that is attached already and in use: then undoing would take its
 * addresses away. Only a record tells; when nobody can say, the sweeps decide later with the record in hand.
 */
async function unlessRecorded<T>(parts: FlowParts, wish: AttachWish, undo: Undo, call: Call, body: () => Promise<T>): Promise<T> {
  try {
    return await body()
  } catch (error) {
    const recorded = await withCall(undoCall(call, parts.releaseTimeoutMs), (late) => findEndpoint(parts, wish.endpoint.id, late)).catch(
      () => 'unsure' as const,
    )
    if (recorded !== undefined) undo.disarm()
    if (recorded !== undefined && recorded !== 'unsure') throw exists(recorded)
    throw error
  }
}

async function repeat(parts: FlowParts, network: Network, wish: AttachWish, recorded: Endpoint, claimed: ClaimedVf | undefined, call: Call): Promise<Attached> {
  const { wiring } = parts.cluster
  if (recorded.state !== 'wired' || recorded.networkId !== network.id || !isSameWish(network, wish, recorded)) throw exists(recorded)
  if (claimed !== undefined && !sameVf(claimed.attachment, recorded.vf)) throw exists(recorded)
  const routes = routesOf(network, recorded.addresses, wish)
  const { differences } = await wiring.check({ network, endpoint: recorded, routes }, call)
  if (differences.length > 0) throw exists(recorded)
  const wired = await wiring.attach({ network, endpoint: recorded, routes }, call)
  if (claimed !== undefined) wish.onVf?.(claimed.vf)
  return { network, endpoint: recorded, routes, wiring: wired }
}

function isSameWish(network: Network, wish: AttachWish, recorded: Endpoint): boolean {
  const { endpoint } = wish
  const has = new Set(recorded.addresses.map(bare))
  return (
    endpoint.sandbox === recorded.sandbox &&
    endpoint.interfaceName === recorded.interfaceName &&
    (endpoint.mac === '' || endpoint.mac === recorded.mac) &&
    wish.addresses.every((address) => has.has(address)) &&
    JSON.stringify(boundPorts(network, endpoint.ports)) === JSON.stringify(recorded.ports)
  )
}

function exists(recorded: Endpoint): HeddleError {
  return new HeddleError(
    'interface-exists',
    `container ${recorded.containerId} is attached to network ${recorded.networkName} already as ${recorded.interfaceName}`,
    {
      remedy: 'call DEL for this container and interface first, or choose another interface name',
      details: { endpoint: recorded.id },
    },
  )
}

function bare(address: string): string {
  return address.split('/', 1)[0] ?? ''
}
