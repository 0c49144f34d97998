/** What is particular to links that stand on another: IFLA_INFO_DATA of macvlan, ipvlan and vlan (linux/if_link.h). */
import type { LinkInfo, UpperMode } from '../types.ts'
import * as c from './constants.ts'
import { type VlanProtocol, vlanProtocol } from './vlan.ts'
import { InvalidValue, type MessageReader, type MessageWriter } from './wire.ts'

export type UpperKind =
  | { readonly kind: 'macvlan'; readonly mode: UpperMode<'macvlan'> }
  | { readonly kind: 'ipvlan'; readonly mode: UpperMode<'ipvlan'> }
  | { readonly kind: 'vlan'; readonly vlan: number; readonly protocol: VlanProtocol | undefined }

const modes = {
  macvlan: { private: c.MACVLAN_MODE_PRIVATE, vepa: c.MACVLAN_MODE_VEPA, bridge: c.MACVLAN_MODE_BRIDGE, passthru: c.MACVLAN_MODE_PASSTHRU },
  ipvlan: { l2: c.IPVLAN_MODE_L2, l3: c.IPVLAN_MODE_L3, l3s: c.IPVLAN_MODE_L3S },
} as const

export function upperData(writer: MessageWriter, kind: UpperKind): void {
  if (kind.kind === 'vlan') {
    const { vlan, protocol = '802.1q' } = kind
    if (!Number.isInteger(vlan) || vlan < 1 || vlan > 4094) throw new InvalidValue('vlan', `VLAN ${vlan}: 1 to 4094 are possible`)
    writer.attributeU16(c.IFLA_VLAN_ID, vlan).attributeU16be(c.IFLA_VLAN_PROTOCOL, vlanProtocol(protocol))
    return
  }
  const known: Readonly<Record<string, number>> = modes[kind.kind]
  const mode = Object.hasOwn(known, kind.mode) ? known[kind.mode] : undefined
  if (mode === undefined) throw new InvalidValue('mode', `${JSON.stringify(kind.mode)} is no mode of ${kind.kind}: ${Object.keys(known).join(', ')}`)
  if (kind.kind === 'macvlan') writer.attributeU32(c.IFLA_MACVLAN_MODE, mode)
  else writer.attributeU16(c.IFLA_IPVLAN_MODE, mode)
}

/** Undefined for every other kind of link. */
export function readUpper(reader: MessageReader, kind: string, from: number, to: number): LinkInfo['upper'] {
  if (kind !== 'macvlan' && kind !== 'ipvlan' && kind !== 'vlan') return undefined
  const upper = { mode: '', vlan: 0 }
  reader.eachAttribute(from, to, (type, start) => {
    if (kind === 'vlan') {
      if (type === c.IFLA_VLAN_ID) upper.vlan = reader.u16(start)
    } else if (type === c.IFLA_MACVLAN_MODE) upper.mode = nameOf(modes[kind], kind === 'macvlan' ? reader.u32(start) : reader.u16(start))
  })
  return upper
}

const nameOf = (known: Readonly<Record<string, number>>, number: number) => Object.entries(known).find(([, one]) => one === number)?.[0] ?? `${number}`
