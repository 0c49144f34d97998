/** RTM_NEWLINK and RTM_DELLINK as the kernel answers or multicasts them. */
import type { LinkInfo } from '../types.ts'
import * as c from './constants.ts'
import { formatAddress, formatMac } from './inet.ts'
import { readUpper } from './upper.ts'
import type { Message, MessageReader } from './wire.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

export function readLink(reader: MessageReader, message: Message): LinkInfo {
  const flags = reader.u32(message.from + 8)
  const link: Mutable<LinkInfo> = {
    index: reader.u32(message.from + 4),
    name: '',
    alias: '',
    mac: '',
    mtu: 0,
    up: (flags & c.IFF_UP) !== 0,
    running: (flags & c.IFF_RUNNING) !== 0,
    kind: '',
    masterIndex: 0,
    peerIndex: 0,
    peerElsewhere: false,
    group: 0,
    parentDevice: '',
  }
  reader.eachAttribute(message.from + 16, message.to, (type, from, to) => {
    if (type === c.IFLA_IFNAME) link.name = reader.text(from, to)
    else if (type === c.IFLA_IFALIAS) link.alias = reader.text(from, to)
    else if (type === c.IFLA_ADDRESS) link.mac = formatMac(reader.slice(from, to))
    else if (type === c.IFLA_MTU) link.mtu = reader.u32(from)
    else if (type === c.IFLA_MASTER) link.masterIndex = reader.u32(from)
    else if (type === c.IFLA_LINK) link.peerIndex = reader.u32(from)
    else if (type === c.IFLA_LINK_NETNSID) link.peerElsewhere = true
    else if (type === c.IFLA_GROUP) link.group = reader.u32(from)
    else if (type === c.IFLA_PARENT_DEV_NAME) link.parentDevice = reader.text(from, to)
    else if (type === c.IFLA_LINKINFO) readLinkInfo(reader, from, to, link)
  })
  return link
}

/** The further names of a link. */
export function readAltNames(reader: MessageReader, message: Message): string[] {
  const names: string[] = []
  reader.eachAttribute(message.from + 16, message.to, (type, from, to) => {
    if (type !== c.IFLA_PROP_LIST) return
    reader.eachAttribute(from, to, (property, start, end) => {
      if (property === c.IFLA_ALT_IFNAME) names.push(reader.text(start, end))
    })
  })
  return names
}

/** What a watcher needs of a notification; undefined for those of the bridge family, which speak of ports, not links. */
export function readLinkNotice(reader: MessageReader, message: Message): { kind: 'new' | 'gone'; index: number; name: string } | undefined {
  if (message.type !== c.RTM_NEWLINK && message.type !== c.RTM_DELLINK) return undefined
  if (reader.u8(message.from) !== c.AF_UNSPEC) return undefined
  let name = ''
  reader.eachAttribute(message.from + 16, message.to, (type, from, to) => {
    if (type === c.IFLA_IFNAME) name = reader.text(from, to)
  })
  return { kind: message.type === c.RTM_NEWLINK ? 'new' : 'gone', index: reader.u32(message.from + 4), name }
}

function readLinkInfo(reader: MessageReader, from: number, to: number, link: Mutable<LinkInfo>): void {
  let data: [number, number] | undefined
  let slaveKind = ''
  let slaveData: [number, number] | undefined
  reader.eachAttribute(from, to, (type, start, end) => {
    if (type === c.IFLA_INFO_KIND) link.kind = reader.text(start, end)
    else if (type === c.IFLA_INFO_DATA) data = [start, end]
    else if (type === c.IFLA_INFO_SLAVE_KIND) slaveKind = reader.text(start, end)
    else if (type === c.IFLA_INFO_SLAVE_DATA) slaveData = [start, end]
  })
  if (data !== undefined && link.kind === 'vxlan') link.vxlan = readVxlan(reader, ...data)
  const upper = data === undefined ? undefined : readUpper(reader, link.kind, ...data)
  if (upper !== undefined) link.upper = upper
  if (slaveData !== undefined && slaveKind === 'bridge') link.port = readPort(reader, ...slaveData)
}

function readVxlan(reader: MessageReader, from: number, to: number): NonNullable<LinkInfo['vxlan']> {
  const vxlan = { vni: 0, local: '', port: 0, learning: false }
  reader.eachAttribute(from, to, (type, start, end) => {
    if (type === c.IFLA_VXLAN_ID) vxlan.vni = reader.u32(start)
    else if (type === c.IFLA_VXLAN_LOCAL || type === c.IFLA_VXLAN_LOCAL6) vxlan.local = formatAddress(reader.slice(start, end))
    else if (type === c.IFLA_VXLAN_PORT) vxlan.port = reader.u16be(start)
    else if (type === c.IFLA_VXLAN_LEARNING) vxlan.learning = reader.u8(start) !== 0
  })
  return vxlan
}

function readPort(reader: MessageReader, from: number, to: number): NonNullable<LinkInfo['port']> {
  const port = { learning: false, unicastFlood: false, neighbourSuppress: false, locked: false, isolated: false, guard: false }
  reader.eachAttribute(from, to, (type, start) => {
    if (type === c.IFLA_BRPORT_LEARNING) port.learning = reader.u8(start) !== 0
    else if (type === c.IFLA_BRPORT_UNICAST_FLOOD) port.unicastFlood = reader.u8(start) !== 0
    else if (type === c.IFLA_BRPORT_NEIGH_SUPPRESS) port.neighbourSuppress = reader.u8(start) !== 0
    else if (type === c.IFLA_BRPORT_LOCKED) port.locked = reader.u8(start) !== 0
    else if (type === c.IFLA_BRPORT_ISOLATED) port.isolated = reader.u8(start) !== 0
    else if (type === c.IFLA_BRPORT_GUARD) port.guard = reader.u8(start) !== 0
  })
  return port
}
