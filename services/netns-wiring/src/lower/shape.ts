/** What a network of kind macvlan, ipvlan or vlan makes of its parent: pure. */
import type { Endpoint, Network } from '@heddle/contract'
import { checkInterfaceName, HeddleError, invalid } from '@heddle/core'
import type { AddIpvlan, AddMacvlan, AddVlan, LinkInfo, Namespace, UpperMode } from '@heddle/kernel'
import type { Target } from '../lone/source.ts'

export type LowerShape =
  | { readonly kind: 'macvlan'; readonly parent: string; readonly mode: UpperMode<'macvlan'> }
  | { readonly kind: 'ipvlan'; readonly parent: string; readonly mode: UpperMode<'ipvlan'> }
  | { readonly kind: 'vlan'; readonly parent: string; readonly vlan: number }

const modes = { macvlan: ['bridge', 'private', 'vepa', 'passthru'], ipvlan: ['l2', 'l3', 'l3s'] } as const

/** Throws invalid-argument. */
export function lowerShape({ kind, name, parent }: Network): LowerShape {
  if (parent === undefined || parent.name === '')
    throw invalid('network.parent.name', `network ${name} of kind ${kind} names no parent`, 'name the link of the host that its endpoints are made from')
  const common = { parent: checkInterfaceName(parent.name, 'network.parent.name') }
  if (kind === 'vlan') {
    if (!isVlan(parent.vlan)) throw invalid('network.parent.vlan', `${parent.vlan} is not a VLAN`, 'use 1 to 4094')
    return { ...common, kind, vlan: parent.vlan }
  }
  if (kind === 'macvlan') return { ...common, kind, mode: modeOf(modes.macvlan, parent.mode, kind) }
  if (kind === 'ipvlan') return { ...common, kind, mode: modeOf(modes.ipvlan, parent.mode, kind) }
  throw invalid('network.kind', `a link of kind ${JSON.stringify(kind)} stands on no parent`, 'use "macvlan", "ipvlan" or "vlan"')
}

function modeOf<Mode extends string>(known: readonly [Mode, ...Mode[]], mode: string, kind: string): Mode {
  const found = mode === '' ? known[0] : known.find((one) => one === mode)
  if (found === undefined) throw invalid('network.parent.mode', `${JSON.stringify(mode)} is no mode of ${kind}`, `use one of ${known.join(', ')}`)
  return found
}

const isVlan = (vlan: number) => Number.isInteger(vlan) && vlan >= 1 && vlan <= 4094

/** `eth0.100` is VLAN 100 on eth0. */
export function subinterface(name: string): { readonly base: string; readonly vlan: number } | undefined {
  const [, base = '', vlan = ''] = /^(.+)\.(\d{1,4})$/.exec(name) ?? []
  return isVlan(Number(vlan)) ? { base, vlan: Number(vlan) } : undefined
}

/** These have the MAC of their parent, whatever is recorded. */
export function sharesMac(shape: LowerShape): boolean {
  return shape.kind === 'ipvlan' || (shape.kind === 'macvlan' && shape.mode === 'passthru')
}

/** What is sent by it has no frames of its own that a neighbour could learn from. */
export function isRouted(shape: LowerShape): boolean {
  return shape.kind === 'ipvlan' && shape.mode !== 'l2'
}

export function addStep(
  shape: LowerShape,
  { mtu }: Pick<Network, 'mtu'>,
  { mac }: Pick<Endpoint, 'mac'>,
  { ns, name, sandbox }: Target,
  linkNs: Namespace,
  alias: string,
): AddMacvlan | AddIpvlan | AddVlan {
  // dockerd sets it up itself.
  const common = { ns, name, link: shape.parent, linkNs, alias, ...(mtu === 0 ? {} : { mtu }), ...(sandbox === '' ? {} : { up: true }) }
  const own = sharesMac(shape) ? common : { ...common, mac }
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
export function shapeDifferences(
  shape: LowerShape,
  { mtu }: Pick<Network, 'mtu'>,
  { mac }: Pick<Endpoint, 'mac'>,
  link: LinkInfo,
  parent: LinkInfo | undefined,
): string[] {
  if (parent === undefined) return [`its parent ${shape.parent} is gone`]
  const is = link.upper
  const wantedMac = sharesMac(shape) ? parent.mac : mac
  const wantedMtu = mtu || parent.mtu
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
