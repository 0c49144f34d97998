/** Neighbours and forwarding entries: struct ndmsg and NDA_* (linux/neighbour.h). The bridge family carries both FDBs. */
import type { NeighbourInfo } from '../types.ts'
import * as c from './constants.ts'
import { formatAddress, formatMac, parseAddress, parseMac } from './inet.ts'
import type { Message, MessageReader, MessageWriter } from './wire.ts'

/** One entry to put or remove: which table, on which link, by its parts. */
export interface Entry {
  readonly table: NeighbourInfo['table']
  readonly linkIndex: number
  readonly mac?: string | undefined
  /** Protocol address of a neighbour, outer destination of a VXLAN entry. */
  readonly address?: string | undefined
}

/** Put, whether or not it was there with another value. */
export function replaceEntry(writer: MessageWriter, sequence: number, flags: number, entry: Entry): void {
  entryMessage(writer, c.RTM_NEWNEIGH, c.NLM_F_CREATE | c.NLM_F_REPLACE | flags, sequence, entry)
}

export function deleteEntry(writer: MessageWriter, sequence: number, flags: number, entry: Entry): void {
  entryMessage(writer, c.RTM_DELNEIGH, flags, sequence, entry)
}

function entryMessage(writer: MessageWriter, type: number, flags: number, sequence: number, entry: Entry): void {
  const address = entry.address === undefined ? undefined : parseAddress(entry.address)
  const neighbour = entry.table === 'neighbour'
  const family = !neighbour ? c.AF_BRIDGE : address?.length === 16 ? c.AF_INET6 : c.AF_INET
  writer.message(type, c.NLM_F_REQUEST | flags, sequence, () => {
    writer.u8(family).u8(0).u16(0).u32(entry.linkIndex)
    // A bridge entry is "static" (NUD_NOARP): "permanent" there would make the MAC an address of the bridge itself.
    writer.u16(entry.table === 'bridge' ? c.NUD_NOARP : c.NUD_PERMANENT)
    writer.u8(entry.table === 'bridge' ? c.NTF_MASTER : entry.table === 'vxlan' ? c.NTF_SELF : 0).u8(0)
    if (address !== undefined) writer.attribute(c.NDA_DST, address)
    if (entry.mac !== undefined) writer.attribute(c.NDA_LLADDR, parseMac(entry.mac))
  })
}

/** Neighbours of both families. `linkIndex` makes the kernel filter (needs NETLINK_GET_STRICT_CHK). */
export function dumpNeighbours(writer: MessageWriter, sequence: number, linkIndex: number | undefined): void {
  dump(writer, sequence, c.AF_UNSPEC, () => {
    if (linkIndex !== undefined) writer.attributeU32(c.NDA_IFINDEX, linkIndex)
  })
}

/** Forwarding entries: of a VXLAN device and of the bridge port it is. */
export function dumpForwarding(writer: MessageWriter, sequence: number, linkIndex: number | undefined): void {
  dump(writer, sequence, c.AF_BRIDGE, () => {
    if (linkIndex !== undefined) writer.attributeU32(c.NDA_IFINDEX, linkIndex)
  })
}

function dump(writer: MessageWriter, sequence: number, family: number, filter: () => void): void {
  writer.message(c.RTM_GETNEIGH, c.NLM_F_REQUEST | c.NLM_F_DUMP, sequence, () => {
    writer.u8(family).zero(11)
    filter()
  })
}

/**
 * An entry somebody put there or the kernel learned; undefined for what devices list of themselves (their own and
 * their multicast addresses, the MACs of a bridge's ports).
 */
export function readEntry(reader: MessageReader, message: Message): NeighbourInfo | undefined {
  const at = message.from
  const state = reader.u16(at + 8)
  let mac = ''
  let address = ''
  let bridge = false
  reader.eachAttribute(at + 12, message.to, (type, from, to) => {
    if (type === c.NDA_LLADDR) mac = formatMac(reader.slice(from, to))
    else if (type === c.NDA_DST) address = formatAddress(reader.slice(from, to))
    else if (type === c.NDA_MASTER) bridge = true
  })
  const linkIndex = reader.u32(at + 4)
  if (reader.u8(at) !== c.AF_BRIDGE) {
    // Without a MAC, or NUD_NOARP: made by the kernel for multicast, loopback and point-to-point destinations.
    if (mac === '' || (state & c.NUD_NOARP) !== 0) return undefined
    return { linkIndex, mac, address, table: 'neighbour', permanent: (state & c.NUD_PERMANENT) !== 0 }
  }
  if (bridge) return (state & c.NUD_PERMANENT) !== 0 ? undefined : { linkIndex, mac, address: '', table: 'bridge', permanent: (state & c.NUD_NOARP) !== 0 }
  return address === '' ? undefined : { linkIndex, mac, address, table: 'vxlan', permanent: (state & c.NUD_PERMANENT) !== 0 }
}
