/** What a network looks like on this host, derived from its record: the desired half of every comparison. */
import { isIPv6 } from 'node:net'
import type { Network } from '@heddle/contract'
import { HeddleError, invalid } from '@heddle/core'
import { bridgeMac, bridgeName, networkAlias, vxlanName } from './names.ts'

/** The link and address that carry VXLAN packets. */
export interface Underlay {
  readonly interface: string
  /** Without length. */
  readonly address: string
  readonly mtu: number
}

export interface NetworkShape {
  readonly id: string
  readonly name: string
  readonly kind: 'overlay' | 'bridge'
  readonly alias: string
  readonly bridge: string
  readonly bridgeMac: string
  readonly mtu: number
  readonly internal: boolean
  /** Its endpoints do not reach each other; bridge networks only. */
  readonly isolated: boolean
  /** What leaves it keeps its source address; bridge networks only. */
  readonly routed: boolean
  /** Overlay only. */
  readonly vxlan?: { readonly name: string; readonly vni: number; readonly local: string; readonly port: number }
  /** Addresses of the bridge itself, `a/len`; bridge networks only. */
  readonly gateways: readonly string[]
}

export interface ShapeContext {
  readonly host: string
  readonly vxlanPort: number
  readonly underlay: Underlay | undefined
}

/** Outer Ethernet, IP, UDP and VXLAN headers inside the underlay's MTU: RFC 7348 section 5 (IPv6 is 20 bytes longer). */
export const encapsulationBytes = (vtep: string): number => (isIPv6(vtep) ? 70 : 50)

const defaultMtu = 1500

/** Throws invalid-argument for a record this host cannot read, unsupported or unavailable for one it cannot carry. */
export function shapeOf(network: Network, context: ShapeContext): NetworkShape {
  const common = {
    id: network.id,
    name: network.name,
    alias: networkAlias(network.id),
    bridge: bridgeName(network.id),
    bridgeMac: bridgeMac(network.id, context.host),
    internal: network.internal,
    isolated: network.bridge?.isolated === true,
    routed: network.bridge?.routed === true,
  }
  if (network.kind === 'bridge') {
    const gateways = network.pools.filter((pool) => pool.gateway !== '').map((pool) => `${pool.gateway}/${lengthOf(pool.prefix)}`)
    return { ...common, kind: 'bridge', mtu: network.mtu || context.underlay?.mtu || defaultMtu, gateways }
  }
  if (network.kind !== 'overlay')
    throw invalid(
      'network.kind',
      `network kind ${JSON.stringify(network.kind)} is not known here`,
      'use "overlay", "bridge", "macvlan", "ipvlan", "vlan", "host-device", "sriov" or "null"',
    )
  if (network.vni < 1 || network.vni > 0xffffff)
    throw invalid('network.vni', `overlay network ${network.name} has VNI ${network.vni}`, 'a VNI is 1 to 16777215')
  const underlay = context.underlay
  if (underlay === undefined) {
    throw new HeddleError('unavailable', `host ${context.host} has no underlay address, so overlay network ${network.name} cannot be carried`, {
      remedy: 'give the host a default route, or set underlay.interface or underlay.address of netns-wiring',
    })
  }
  const carries = underlay.mtu - encapsulationBytes(underlay.address)
  if (network.mtu > carries) {
    throw new HeddleError(
      'unsupported',
      `network ${network.name} has MTU ${network.mtu}, but ${underlay.interface} of host ${context.host} carries at most ${carries}`,
      {
        field: 'network.mtu',
        remedy: `raise the MTU of ${underlay.interface} to ${network.mtu + underlay.mtu - carries}, or make the network with MTU ${carries} or less`,
      },
    )
  }
  const vxlan = { name: vxlanName(network.id), vni: network.vni, local: underlay.address, port: context.vxlanPort }
  return { ...common, kind: 'overlay', mtu: network.mtu || carries, vxlan, gateways: [] }
}

function lengthOf(prefix: string): string {
  return prefix.slice(prefix.indexOf('/') + 1)
}
