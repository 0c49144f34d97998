/** From a network's devices as they are to the kernel steps that make them as they should be. Nothing to do: no step. */
import type { LinkInfo, Namespace, SetBridgePort, SetLink, Step } from '@heddle/kernel'
import type { NetworkShape } from './network-shape.ts'

export interface NetworkActual {
  readonly bridge: LinkInfo | undefined
  readonly vxlan: LinkInfo | undefined
  /** Addresses on the bridge, `a/len`. */
  readonly addresses: readonly string[]
}

export interface NetworkPlan {
  /** Devices that cannot be changed into the right ones: removed before the steps run. */
  readonly remove: readonly string[]
  readonly steps: readonly Step[]
  /** The VXLAN device or the bridge is made anew: every peer entry is gone with it. */
  readonly fresh: boolean
}

/** Nothing is learned or flooded: all peers are known. The bridge answers ARP and ND for them (neigh_suppress, Linux 4.15). */
const vxlanPort = { learning: false, unicastFlood: false, multicastFlood: false, broadcastFlood: false, neighbourSuppress: true } as const

export function planNetwork(shape: NetworkShape, ns: Namespace, socketNs: Namespace, actual: NetworkActual): NetworkPlan {
  const remove: string[] = []
  const steps: Step[] = []
  const bridge = keep(actual.bridge, actual.bridge?.kind === 'bridge', remove)
  if (bridge === undefined) {
    steps.push({ op: 'bridge.add', ns, name: shape.bridge, mac: shape.bridgeMac, mtu: shape.mtu, alias: shape.alias, up: true }, ...routerSysctls(shape, ns))
  } else {
    steps.push(...linkDrift(shape.bridge, ns, bridge, { mac: shape.bridgeMac, mtu: shape.mtu, alias: shape.alias }))
  }
  for (const address of shape.gateways) {
    if (bridge === undefined || !actual.addresses.includes(address)) steps.push({ op: 'address.replace', ns, name: shape.bridge, address })
  }
  if (shape.vxlan === undefined) return { remove, steps, fresh: false }

  const { name, vni, local, port } = shape.vxlan
  const is = actual.vxlan?.vxlan
  const vxlan = keep(actual.vxlan, is !== undefined && is.vni === vni && is.local === local && is.port === port && !is.learning, remove)
  if (vxlan === undefined) {
    steps.push({ op: 'vxlan.add', ns, socketNs, name, vni, local, port, mtu: shape.mtu, alias: shape.alias, master: shape.bridge, up: true })
    steps.push({ op: 'bridge.port', ns, name, ...vxlanPort })
  } else {
    const enslaved = bridge !== undefined && vxlan.masterIndex === bridge.index
    steps.push(...linkDrift(name, ns, vxlan, { mtu: shape.mtu, alias: shape.alias, ...(enslaved ? {} : { master: shape.bridge }) }))
    if (!enslaved || portDrifted(vxlan, vxlanPort)) steps.push({ op: 'bridge.port', ns, name, ...vxlanPort })
  }
  return { remove, steps, fresh: bridge === undefined || vxlan === undefined }
}

/** Whether the port's flags differ from those wanted. A flag the kernel did not report counts as unset. */
export function portDrifted(link: LinkInfo, wanted: Omit<SetBridgePort, 'op' | 'ns' | 'name'>): boolean {
  const port: Readonly<Record<string, boolean | undefined>> = link.port ?? {}
  return Object.entries(wanted).some(([flag, value]) => (flag in port || link.port === undefined) && port[flag] !== value)
}

/** `master`, when given, is always set: only the caller knows the bridge's index. */
export function linkDrift(name: string, ns: Namespace, link: LinkInfo, wanted: Pick<SetLink, 'mac' | 'mtu' | 'alias' | 'master'>): Step[] {
  const changes = {
    ...(wanted.mac !== undefined && wanted.mac !== link.mac ? { mac: wanted.mac } : {}),
    ...(wanted.mtu !== undefined && wanted.mtu !== link.mtu ? { mtu: wanted.mtu } : {}),
    ...(wanted.alias !== undefined && wanted.alias !== link.alias ? { alias: wanted.alias } : {}),
    ...(wanted.master === undefined ? {} : { master: wanted.master }),
    ...(link.up ? {} : { up: true }),
  }
  return Object.keys(changes).length === 0 ? [] : [{ op: 'link.set', ns, name, ...changes }]
}

function keep(link: LinkInfo | undefined, right: boolean, remove: string[]): LinkInfo | undefined {
  if (link === undefined || right) return link
  remove.push(link.name)
  return undefined
}

/** A bridge network's host is its router. `route_localnet` lets a published port be reached through 127.0.0.1 (guarded in nft). */
function routerSysctls(shape: NetworkShape, ns: Namespace): Step[] {
  if (shape.kind !== 'bridge' || shape.gateways.length === 0) return []
  const set = (path: string): Step => ({ op: 'sysctl', ns, path, value: '1', tolerate: ['ENOENT'] })
  const steps = [set('net/ipv4/ip_forward'), set(`net/ipv4/conf/${shape.bridge}/route_localnet`)]
  if (shape.gateways.some((gateway) => gateway.includes(':'))) steps.push(set('net/ipv6/conf/all/forwarding'))
  return steps
}
