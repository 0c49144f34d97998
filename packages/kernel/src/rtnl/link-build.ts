/** Link requests: struct ifinfomsg and IFLA_* attributes (linux/rtnetlink.h, linux/if_link.h, linux/veth.h, linux/if_bridge.h). */
import type { SetBridgePort } from '../types.ts'
import * as c from './constants.ts'
import { parseAddress, parseMac } from './inet.ts'
import { type UpperKind, upperData } from './upper.ts'
import { InvalidValue, type MessageWriter } from './wire.ts'

/** Attributes that any link has; absent ones are left as they are. */
export interface LinkSettings {
  readonly index?: number
  readonly name?: string
  readonly mac?: string | undefined
  readonly mtu?: number | undefined
  readonly alias?: string | undefined
  /** Index of the bridge, 0 to leave it. */
  readonly masterIndex?: number | undefined
  readonly up?: boolean | undefined
  readonly group?: number
  /** Descriptor of the namespace it is made in or moved to. */
  readonly namespaceFd?: number | undefined
  /** Index of the link below, in the namespace the request is sent from. */
  readonly lowerIndex?: number | undefined
}

export type LinkKind =
  | { readonly kind: 'veth'; readonly peer: LinkSettings }
  | { readonly kind: 'bridge' }
  | { readonly kind: 'vxlan'; readonly vni: number; readonly local: string; readonly port: number }
  | UpperKind

/** RTM_NEWLINK that must make a new link. */
export function newLink(writer: MessageWriter, sequence: number, settings: LinkSettings, kind: LinkKind): void {
  writer.message(c.RTM_NEWLINK, c.NLM_F_REQUEST | c.NLM_F_ACK | c.NLM_F_CREATE | c.NLM_F_EXCL, sequence, () => {
    linkBody(writer, settings)
    writer.nest(c.IFLA_LINKINFO, () => {
      writer.attributeText(c.IFLA_INFO_KIND, kind.kind)
      writer.nest(c.IFLA_INFO_DATA, () => kindData(writer, kind))
    })
  })
}

/** RTM_SETLINK of an existing link, found by its index, or by its name when the index is absent. */
export function setLink(writer: MessageWriter, sequence: number, settings: LinkSettings): void {
  writer.message(c.RTM_SETLINK, c.NLM_F_REQUEST | c.NLM_F_ACK, sequence, () => linkBody(writer, settings))
}

export function deleteLink(writer: MessageWriter, sequence: number, index: number): void {
  writer.message(c.RTM_DELLINK, c.NLM_F_REQUEST | c.NLM_F_ACK, sequence, () => linkBody(writer, { index }))
}

/** Deletes every link of the group in one go: one RCU barrier for all. */
export function deleteGroup(writer: MessageWriter, sequence: number, group: number): void {
  writer.message(c.RTM_DELLINK, c.NLM_F_REQUEST | c.NLM_F_ACK, sequence, () => linkBody(writer, { group }))
}

/** RTM_NEWLINKPROP or RTM_DELLINKPROP: one more name of a link, or one less. */
export function changeAltName(writer: MessageWriter, sequence: number, type: typeof c.RTM_NEWLINKPROP | typeof c.RTM_DELLINKPROP, index: number, name: string) {
  const flags = type === c.RTM_NEWLINKPROP ? c.NLM_F_CREATE | c.NLM_F_EXCL : 0
  writer.message(type, c.NLM_F_REQUEST | c.NLM_F_ACK | flags, sequence, () => {
    linkHeader(writer, c.AF_UNSPEC, index)
    writer.nest(c.IFLA_PROP_LIST, () => writer.attributeText(c.IFLA_ALT_IFNAME, name), true)
  })
}

/** `vfs`: with what it tells of its VFs. */
export function getLink(writer: MessageWriter, sequence: number, name: string, vfs = false): void {
  writer.message(c.RTM_GETLINK, c.NLM_F_REQUEST, sequence, () => {
    linkBody(writer, { name })
    writer.attributeU32(c.IFLA_EXT_MASK, c.RTEXT_FILTER_SKIP_STATS | (vfs ? c.RTEXT_FILTER_VF : 0))
  })
}

export function dumpLinks(writer: MessageWriter, sequence: number): void {
  writer.message(c.RTM_GETLINK, c.NLM_F_REQUEST | c.NLM_F_DUMP, sequence, () => {
    linkHeader(writer, c.AF_UNSPEC, 0)
    writer.attributeU32(c.IFLA_EXT_MASK, c.RTEXT_FILTER_SKIP_STATS)
  })
}

const portFlags = [
  ['learning', c.IFLA_BRPORT_LEARNING],
  ['unicastFlood', c.IFLA_BRPORT_UNICAST_FLOOD],
  ['multicastFlood', c.IFLA_BRPORT_MCAST_FLOOD],
  ['broadcastFlood', c.IFLA_BRPORT_BCAST_FLOOD],
  ['neighbourSuppress', c.IFLA_BRPORT_NEIGH_SUPPRESS],
  ['isolated', c.IFLA_BRPORT_ISOLATED],
  ['locked', c.IFLA_BRPORT_LOCKED],
  ['guard', c.IFLA_BRPORT_GUARD],
  ['hairpin', c.IFLA_BRPORT_MODE],
] as const

/** RTM_SETLINK of family AF_BRIDGE with IFLA_PROTINFO, as `bridge link set` sends it. */
export function setBridgePort(writer: MessageWriter, sequence: number, index: number, flags: Omit<SetBridgePort, 'op' | 'ns' | 'name'>): void {
  writer.message(c.RTM_SETLINK, c.NLM_F_REQUEST | c.NLM_F_ACK, sequence, () => {
    linkHeader(writer, c.AF_BRIDGE, index)
    writer.nest(
      c.IFLA_PROTINFO,
      () => {
        for (const [key, attribute] of portFlags) {
          const value = flags[key]
          if (value !== undefined) writer.attributeU8(attribute, value ? 1 : 0)
        }
      },
      true,
    )
  })
}

/** struct ifinfomsg. `change` says which of the flags are meant. */
export function linkHeader(writer: MessageWriter, family: number, index: number, flags = 0, change = 0): void {
  writer.u8(family).u8(0).u16(0).u32(index).u32(flags).u32(change)
}

function linkBody(writer: MessageWriter, link: LinkSettings): void {
  linkHeader(writer, c.AF_UNSPEC, link.index ?? 0, link.up === true ? c.IFF_UP : 0, link.up === undefined ? 0 : c.IFF_UP)
  if (link.name !== undefined) writer.attributeText(c.IFLA_IFNAME, interfaceName(link.name))
  if (link.mac !== undefined) writer.attribute(c.IFLA_ADDRESS, parseMac(link.mac))
  if (link.mtu !== undefined) writer.attributeU32(c.IFLA_MTU, link.mtu)
  if (link.lowerIndex !== undefined) writer.attributeU32(c.IFLA_LINK, link.lowerIndex)
  if (link.masterIndex !== undefined) writer.attributeU32(c.IFLA_MASTER, link.masterIndex)
  // An alias is not NUL-terminated: the kernel keeps the bytes as they are. An empty one removes it.
  if (link.alias !== undefined) writer.attribute(c.IFLA_IFALIAS, new TextEncoder().encode(link.alias))
  if (link.group !== undefined) writer.attributeU32(c.IFLA_GROUP, link.group)
  if (link.namespaceFd !== undefined) writer.attributeU32(c.IFLA_NET_NS_FD, link.namespaceFd)
}

function kindData(writer: MessageWriter, kind: LinkKind): void {
  if (kind.kind === 'veth') writer.nest(c.VETH_INFO_PEER, () => linkBody(writer, kind.peer))
  else if (kind.kind === 'bridge') writer.attributeU32(c.IFLA_BR_STP_STATE, 0).attributeU8(c.IFLA_BR_MCAST_SNOOPING, 0)
  else if (kind.kind !== 'vxlan') upperData(writer, kind)
  else {
    const local = parseAddress(kind.local, 'local')
    writer.attributeU32(c.IFLA_VXLAN_ID, kind.vni)
    writer.attribute(local.length === 4 ? c.IFLA_VXLAN_LOCAL : c.IFLA_VXLAN_LOCAL6, local)
    writer.attributeU16be(c.IFLA_VXLAN_PORT, kind.port)
    writer.attributeU8(c.IFLA_VXLAN_TTL, 64).attributeU8(c.IFLA_VXLAN_LEARNING, 0)
  }
}

/** Linux dev_valid_name: 1 to 15 bytes, not "." or "..", without "/", ":" and white space. */
export function interfaceName(name: string): string {
  if (name === '' || Buffer.byteLength(name) > 15 || name === '.' || name === '..' || /[/:\s\0]/.test(name)) {
    throw new InvalidValue('name', `${JSON.stringify(name)} is not an interface name`)
  }
  return name
}
