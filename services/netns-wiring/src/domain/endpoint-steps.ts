/** An endpoint's links, addresses and routes as kernel steps. */
import type { Endpoint, Route } from '@heddle/contract'
import type { Namespace, SetBridgePort, Step } from '@heddle/kernel'
import { endpointAlias, handoverName, hostEndMac, hostEndName } from './names.ts'
import type { NetworkShape } from './network-shape.ts'

export interface EndpointShape {
  readonly id: string
  /** Namespace of the bridge and of the host's end. */
  readonly ns: Namespace
  readonly hostEnd: string
  readonly hostMac: string
  readonly alias: string
  readonly mac: string
  readonly mtu: number
  readonly bridge: string
  /** The network's endpoints do not reach each other. */
  readonly isolated: boolean
  /** Where the container's end is made: the sandbox, or the host's namespace when the engine moves it itself. */
  readonly peerNs: Namespace
  readonly peerName: string
  /** The engine moves the link and sets addresses and routes (Docker). */
  readonly handover: boolean
}

export function endpointShape(endpoint: Endpoint, network: NetworkShape, ns: Namespace, hostNs: Namespace): EndpointShape {
  const handover = endpoint.sandbox === ''
  return {
    id: endpoint.id,
    ns,
    hostEnd: hostEndName(endpoint.id),
    hostMac: hostEndMac(endpoint.id),
    alias: endpointAlias(endpoint.id, network.id),
    mac: endpoint.mac,
    mtu: network.mtu,
    bridge: network.bridge,
    isolated: network.isolated,
    peerNs: handover ? hostNs : { path: endpoint.sandbox },
    peerName: handover ? handoverName(endpoint.id) : endpoint.interfaceName,
    handover,
  }
}

/** The pair, both ends in their final namespaces. */
export function vethStep(shape: EndpointShape): Step {
  return {
    op: 'veth.add',
    ns: shape.ns,
    name: shape.hostEnd,
    mac: shape.hostMac,
    mtu: shape.mtu,
    alias: shape.alias,
    master: shape.bridge,
    up: true,
    peer: { ns: shape.peerNs, name: shape.peerName, mac: shape.mac, mtu: shape.mtu, ...(shape.handover ? {} : { up: true }) },
  }
}

/** `locked` with a static entry: only the endpoint's own MAC may send through its port (Linux 5.16). `guard` drops its BPDUs. */
const endpointPort = { learning: false, unicastFlood: false, locked: true, guard: true } as const

/**
 * `hairpin`: the endpoint publishes ports and may call itself through one. Where br_netfilter is on, the kernel rewrites the
 * destination while the frame is still bridged, and only a hairpin port may send it back where it came from.
 *
 * `isolated`: no frame to or from another isolated port (Linux 4.18), so that the endpoints of a network that is to keep them
 * apart do not even hear of each other. Through a published port of the host they may meet: such a frame is routed and
 * comes from the bridge itself, but where br_netfilter is on it is bridged, and the port that publishes must let it in. There
 * the rules of the host see every packet between two ports and drop what is not published.
 */
export interface PortUse {
  readonly hairpin: boolean
  readonly isolated: boolean
}

export function portFlags(shape: EndpointShape, { hairpin, isolated }: PortUse): Omit<SetBridgePort, 'op' | 'ns' | 'name'> {
  return { ...endpointPort, ...(shape.isolated ? { isolated } : {}), ...(hairpin ? { hairpin } : {}) }
}

export function portSteps(shape: EndpointShape, use: PortUse): Step[] {
  return [
    { op: 'bridge.port', ns: shape.ns, name: shape.hostEnd, ...portFlags(shape, use) },
    { op: 'fdb.bridge.replace', ns: shape.ns, name: shape.hostEnd, mac: shape.mac },
  ]
}

/** Addresses, routes and the announcement inside the sandbox. When the engine does that, only the announcement, from the bridge. */
export function configureSteps(shape: EndpointShape, addresses: readonly string[], routes: readonly Route[]): Step[] {
  const { peerNs: ns, peerName: name, mac } = shape
  if (shape.handover) return announceFromBridge(shape, addresses.map(withoutLength))
  const steps = addressSteps(ns, name, addresses, routes)
  if (addresses.length > 0) steps.push({ op: 'announce', ns, name, mac, addresses: addresses.map(withoutLength) })
  return steps
}

/** Addresses and routes of a link inside a sandbox. */
export function addressSteps(ns: Namespace, name: string, addresses: readonly string[], routes: readonly Route[]): Step[] {
  const at = { ns, name }
  const steps: Step[] = []
  // Some runtimes make sandboxes with IPv6 switched off.
  if (addresses.some((address) => address.includes(':'))) {
    steps.push({ op: 'sysctl', ns, path: `net/ipv6/conf/${name}/disable_ipv6`, value: '0', tolerate: ['ENOENT'] })
  }
  for (const address of addresses) steps.push({ op: 'address.replace', ...at, address })
  // A gateway must be on-link before a route may name it.
  const onLinkFirst = routes.toSorted((a, b) => Number(a.gateway !== '') - Number(b.gateway !== ''))
  for (const { destination, gateway, ...more } of onLinkFirst) {
    const route = { ...at, destination, ...(gateway === '' ? {} : { gateway }), ...more }
    // In a sandbox with several networks the first attached keeps the default route.
    steps.push(isDefault(destination) ? { op: 'route.add', ...route, tolerate: ['EEXIST'] } : { op: 'route.replace', ...route })
  }
  return steps
}

/**
 * dockerd (20.10) announces nothing, so whoever knew the address by an earlier endpoint's MAC would keep it. The host, which
 * routes for a bridge network, does not hear what leaves by its own bridge: its entry is dropped instead.
 */
function announceFromBridge({ ns, peerNs, bridge: name, mac }: EndpointShape, addresses: readonly string[]): Step[] {
  if (addresses.length === 0) return []
  const routed = ns === peerNs
  return [
    ...(routed ? addresses.map((address): Step => ({ op: 'neighbour.delete', ns, name, address, tolerate: ['ENOENT', 'ENODEV'] })) : []),
    { op: 'announce', ns, name, mac, addresses, tolerate: ['ENODEV', 'ENETDOWN'] },
  ]
}

export function isDefault(destination: string): boolean {
  return destination.endsWith('/0')
}

export function withoutLength(address: string): string {
  const slash = address.indexOf('/')
  return slash < 0 ? address : address.slice(0, slash)
}
