/** What a network of kind macvlan, ipvlan or vlan makes of its parent: pure. */
import { type Endpoint, type Network, ParentLink } from '@heddle/contract'
import { checkParent, HeddleError, hasGivenMac } from '@heddle/core'
import type { AddIpvlan, AddMacvlan, AddVlan, LinkInfo, Namespace, UpperMode } from '@heddle/kernel'
import type { Target } from '../lone/source.ts'

export type LowerShape =
  | { readonly kind: 'macvlan'; readonly parent: string; readonly mode: UpperMode<'macvlan'> }
  | { readonly kind: 'ipvlan'; readonly parent: string; readonly mode: UpperMode<'ipvlan'> }
  | { readonly kind: 'vlan'; readonly parent: string; readonly vlan: number }

/** Throws invalid-argument. */
export function lowerShape(network: Network): LowerShape {
  const { kind } = network
  const { name: parent, mode, vlan } = checkParent(kind, network.parent, 'network.parent') ?? ParentLink.create()
  if (kind === 'macvlan') return { kind, parent, mode: mode as UpperMode<'macvlan'> }
  if (kind === 'ipvlan') return { kind, parent, mode: mode as UpperMode<'ipvlan'> }
  return { kind: 'vlan', parent, vlan }
}

/** `eth0.100` is VLAN 100 on eth0. */
export function subinterface(name: string): { readonly base: string; readonly vlan: number } | undefined {
  const [, base = '', vlan = ''] = /^(.+)\.(\d{1,4})$/.exec(name) ?? []
  const id = Number(vlan)
  return id >= 1 && id <= 4094 ? { base, vlan: id } : undefined
}

export function addStep(
  shape: LowerShape,
  network: Network,
  { mac }: Pick<Endpoint, 'mac'>,
  { ns, name, sandbox }: Target,
  linkNs: Namespace,
  alias: string,
): AddMacvlan | AddIpvlan | AddVlan {
  // dockerd sets it up itself.
  const common = { ns, name, link: shape.parent, linkNs, alias, ...(network.mtu === 0 ? {} : { mtu: network.mtu }), ...(sandbox === '' ? {} : { up: true }) }
  const own = hasGivenMac(network) ? common : { ...common, mac }
  if (shape.kind === 'macvlan') return { op: 'macvlan.add', ...own, mode: shape.mode }
  if (shape.kind === 'ipvlan') return { op: 'ipvlan.add', ...own, mode: shape.mode }
  return { op: 'vlan.add', ...own, vlan: shape.vlan }
}

/** Throws unsupported. */
export function checkMtu({ name, mtu }: Pick<Network, 'name' | 'mtu'>, parent: Pick<LinkInfo, 'name' | 'mtu'>): void {
  if (mtu <= parent.mtu) return
  throw new HeddleError('unsupported', `network ${name} has MTU ${mtu}, but its parent ${parent.name} has ${parent.mtu}`, {
    field: 'network.mtu',
    remedy: `raise the MTU of ${parent.name}, or make the network with MTU ${parent.mtu} or less`,
    details: { device: parent.name },
  })
}

/** What of a link is not as its network wants it, in words. */
export function shapeDifferences(shape: LowerShape, network: Network, { mac }: Pick<Endpoint, 'mac'>, link: LinkInfo, parent: LinkInfo | undefined): string[] {
  if (parent === undefined) return [`its parent ${shape.parent} is gone`]
  const is = link.upper
  const wantedMac = hasGivenMac(network) ? parent.mac : mac
  const wantedMtu = network.mtu || parent.mtu
  return [
    ...(parent.up ? [] : [`its parent ${shape.parent} is down`]),
    ...(link.kind === shape.kind ? [] : [`${link.name} is of kind ${link.kind || 'device'}, it should be ${shape.kind}`]),
    ...(link.peerIndex === parent.index ? [] : [`${link.name} does not stand on ${shape.parent}`]),
    ...(shape.kind === 'vlan' || is?.mode === shape.mode ? [] : [`${link.name} has mode ${is?.mode ?? 'none'}, it should be ${shape.mode}`]),
    ...(shape.kind !== 'vlan' || is?.vlan === shape.vlan ? [] : [`${link.name} has VLAN ${is?.vlan ?? 'none'}, it should be ${shape.vlan}`]),
    ...(link.mac === wantedMac ? [] : [`${link.name} has MAC ${link.mac}, it should be ${wantedMac}`]),
    ...(link.mtu === wantedMtu ? [] : [`${link.name} has MTU ${link.mtu}, it should be ${wantedMtu}`]),
  ]
}
