/** The kinds of network there are, and what is said of networks made from a link of the host or of a bridge: checked and in canonical form. */
import type { BridgeNetwork, ParentLink } from '@heddle/contract'
import { AddressError, canonicalIp, canonicalMac, isInterfaceMac, parseMac } from '@heddle/net'
import { invalid } from './errors.ts'
import { checkInterfaceName } from './ids.ts'
import { parsed } from './parsed.ts'
import { checkPci } from './vf-checks.ts'

export const networkKinds = ['overlay', 'bridge', 'macvlan', 'ipvlan', 'vlan', 'host-device', 'sriov', 'null'] as const
export type NetworkKind = (typeof networkKinds)[number]

/** Of links made from a parent; the first is the one that is meant when none is given (linux/if_link.h, MACVLAN_MODE_*, IPVLAN_MODE_*). */
export const parentModes: Readonly<Record<string, readonly string[]>> = {
  macvlan: ['bridge', 'private', 'vepa', 'passthru'],
  ipvlan: ['l2', 'l3', 'l3s'],
}
const parentKinds: ReadonlySet<string> = new Set(['macvlan', 'ipvlan', 'vlan', 'host-device'])
/** 4095 is reserved (IEEE 802.1Q table 9-2). */
const maxVlan = 4094
/** `0.0.0.0` and `::` are every address, as nothing is. */
const anywhere: ReadonlySet<string> = new Set(['0.0.0.0', '::'])

/** Not by the contract's own functions: with them comes its gRPC client, which who uses nothing but this package needs not load. */
const noParent: ParentLink = { name: '', mode: '', vlan: 0, mac: '', pci: '' }
const noBridge: BridgeNetwork = { isolated: false, routed: false, hostBinding: '' }

type Made = { readonly kind: string; readonly parent?: ParentLink | undefined }

/** Whether endpoints are made from a link that the network names. */
export function hasParent(kind: string): boolean {
  return parentKinds.has(kind)
}

/** Whether endpoints stand on a wire of the host itself: its router, if any, has the gateway's address. */
export function isOnWire(kind: string): boolean {
  return hasParent(kind) || kind === 'sriov'
}

/** Whether a network of the kind may be one of frames alone. */
export function needsSubnet(kind: string): boolean {
  return kind === 'overlay' || kind === 'bridge'
}

/** Whether the host routes by the link itself, so that a default route names no gateway (ipvlan, Documentation/networking/ipvlan.rst). */
export function isRoutedByLink({ kind, parent }: Made): boolean {
  return kind === 'ipvlan' && (parent?.mode === 'l3' || parent?.mode === 'l3s')
}

/** Whether the link has a MAC that nobody can choose for it: that of its parent, or of the device it is. */
export function hasGivenMac({ kind, parent }: Made): boolean {
  return kind === 'ipvlan' || kind === 'host-device' || kind === 'null' || (kind === 'macvlan' && parent?.mode === 'passthru')
}

export function checkNetworkKind(kind: string, field: string): NetworkKind {
  const found = networkKinds.find((one) => one === kind)
  if (found === undefined) throw invalid(field, `network kind ${quote(kind)} is not known`, `use ${networkKinds.join(', ')}`)
  return found
}

/** What is said of the parent of a network of this kind, its mode filled in. Throws invalid-argument. */
export function checkParent(kind: string, parent: ParentLink | undefined, field: string): ParentLink | undefined {
  if (!hasParent(kind)) {
    if (parent !== undefined)
      throw invalid(field, `a network of kind ${kind} is made from no link of the host`, `leave the parent out, or use ${[...parentKinds].join(', ')}`)
    return undefined
  }
  const { name, mode, vlan, mac, pci } = parent ?? noParent
  checkMode(kind, mode, `${field}.mode`)
  if (kind === 'vlan' && (vlan < 1 || vlan > maxVlan)) throw invalid(`${field}.vlan`, `a network of kind vlan cannot have VLAN ${vlan}`, `use 1 to ${maxVlan}`)
  if (kind !== 'vlan' && vlan !== 0)
    throw invalid(`${field}.vlan`, `a network of kind ${kind} has no VLAN of its own`, 'use kind vlan, or a parent that is a VLAN already, as eth0.100')
  if (kind === 'host-device') return checkDevice({ name, mac, pci }, field)
  const [how] = [...(mac === '' ? [] : ['mac']), ...(pci === '' ? [] : ['pci'])]
  if (how !== undefined) throw invalid(`${field}.${how}`, `the parent of a network of kind ${kind} is found by its name`, 'give its name alone')
  if (name === '') throw invalid(`${field}.name`, `a network of kind ${kind} needs a parent`, 'name the link of the host it is made from, e.g. eth0')
  return { name: checkInterfaceName(name, `${field}.name`), mode: mode || (parentModes[kind]?.[0] ?? ''), vlan, mac, pci }
}

/** An ipvlan that the host routes cannot have one: no ARP or ND leaves the sandbox; and null has no way out. Throws invalid-argument. */
export function checkNoGateway(network: Made, gateway: string, field: string): void {
  if (gateway === '') return
  if (network.kind === 'null') throw invalid(field, 'a network of kind null has no interface, and so no gateway', 'leave the gateway out')
  if (!isRoutedByLink(network)) return
  const { mode = '' } = network.parent ?? {}
  throw invalid(field, `an ipvlan network of mode ${mode} has no gateway: the host routes for it`, 'leave the gateway out, or use mode l2')
}

/** Undefined where it is a bridge as any other. Throws invalid-argument. */
export function checkBridge(kind: string, bridge: BridgeNetwork | undefined, field: string): BridgeNetwork | undefined {
  if (bridge === undefined) return undefined
  if (kind !== 'bridge') throw invalid(field, `a network of kind ${kind} has no bridge of its own`, 'leave what is said of it out, or use kind bridge')
  const { isolated, routed } = bridge
  const hostBinding = bridge.hostBinding === '' ? '' : parsed(`${field}.hostBinding`, () => canonicalIp(bridge.hostBinding))
  const checked = { isolated, routed, hostBinding: anywhere.has(hostBinding) ? '' : hostBinding }
  return isolated || routed || checked.hostBinding !== '' ? checked : undefined
}

/** Each part of the two by its field, for comparing networks. */
export function linkFields({ parent, bridge }: { readonly parent?: ParentLink | undefined; readonly bridge?: BridgeNetwork | undefined }) {
  const from = parent ?? noParent
  const as = bridge ?? noBridge
  return {
    'parent.name': from.name,
    'parent.mode': from.mode,
    'parent.vlan': from.vlan,
    'parent.mac': from.mac,
    'parent.pci': from.pci,
    'bridge.isolated': as.isolated,
    'bridge.routed': as.routed,
    'bridge.hostBinding': as.hostBinding,
  }
}

function checkMode(kind: string, mode: string, field: string): void {
  const modes = parentModes[kind] ?? []
  if (mode === '' || modes.includes(mode)) return
  const owner = Object.entries(parentModes).find(([, others]) => others.includes(mode))?.[0]
  const what = owner === undefined ? `mode ${quote(mode)} is not known` : `mode ${mode} is of networks of kind ${owner}, not ${kind}`
  throw invalid(field, what, modes.length > 0 ? `use ${modes.join(', ')}` : 'leave it out')
}

function checkDevice({ name, mac, pci }: Pick<ParentLink, 'name' | 'mac' | 'pci'>, field: string): ParentLink {
  const given = [name, mac, pci].filter((one) => one !== '')
  if (given.length !== 1) {
    const what = given.length === 0 ? 'names no device' : `names its device in ${given.length} ways`
    throw invalid(field, `a network of kind host-device ${what}`, 'give exactly one of name, mac and pci')
  }
  return {
    ...noParent,
    name: name === '' ? '' : checkInterfaceName(name, `${field}.name`),
    mac: mac === '' ? '' : parsed(`${field}.mac`, () => unicast(mac)),
    pci: pci === '' ? '' : checkPci(pci, `${field}.pci`),
  }
}

function unicast(mac: string): string {
  if (!isInterfaceMac(parseMac(mac))) throw new AddressError(mac, 'is not the address of an interface')
  return canonicalMac(mac)
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 80))
}
