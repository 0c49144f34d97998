/** Flags of `network create` that say what link of the host a network is made from, and what its bridge does beside the usual. */
import { BridgeNetwork, type CreateNetworkRequest, ParentLink } from '@heddle/contract'
import { hasParent, invalid } from '@heddle/core'
import { flagOf, number } from './sriov-request.ts'

export interface LinkFlags {
  readonly parent?: string
  readonly mode?: string
  readonly parentMac?: string
  readonly parentPci?: string
  readonly vlan?: string
  readonly isolated?: boolean
  readonly routed?: boolean
  readonly hostBinding?: string
}

const kindsOf: Readonly<Record<keyof LinkFlags, readonly string[]>> = {
  parent: ['macvlan', 'ipvlan', 'vlan', 'host-device'],
  mode: ['macvlan', 'ipvlan'],
  parentMac: ['host-device'],
  parentPci: ['host-device'],
  vlan: ['vlan', 'sriov'],
  isolated: ['bridge'],
  routed: ['bridge'],
  hostBinding: ['bridge'],
}

/** What the values may be is checked where the network is made; here only that they are values, and of this kind. */
export function linkRequest(kind: string, flags: LinkFlags): Pick<CreateNetworkRequest, 'parent' | 'bridge'> {
  for (const name of Object.keys(kindsOf) as (keyof LinkFlags)[]) {
    const kinds = kindsOf[name]
    if (flags[name] === undefined || kinds.includes(kind)) continue
    throw invalid(flagOf(name), `${flagOf(name)} is of networks of kind ${kinds.join(' or ')}`, `add --kind ${kinds[0]}, or leave it out`)
  }
  const { parent: name = '', mode = '', parentMac: mac = '', parentPci: pci = '', isolated = false, routed = false, hostBinding = '' } = flags
  return {
    parent: hasParent(kind) ? ParentLink.fromPartial({ name, mode, vlan: number('vlan', flags.vlan) ?? 0, mac, pci }) : undefined,
    bridge: kind === 'bridge' ? BridgeNetwork.fromPartial({ isolated, routed, hostBinding }) : undefined,
  }
}
