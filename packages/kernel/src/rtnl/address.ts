/** Addresses and routes: struct ifaddrmsg and rtmsg (linux/if_addr.h, linux/rtnetlink.h). */
import type { PutRoute } from '../operations.ts'
import type { AddressInfo, RouteInfo } from '../types.ts'
import * as c from './constants.ts'
import { formatAddress, parseAddress, parsePrefix } from './inet.ts'
import { InvalidValue, type Message, type MessageReader, type MessageWriter } from './wire.ts'

/** Routes made by Heddle carry this rtm_protocol (free in iproute2's rt_protos), so that ours are known from others'. */
export const routeProtocol = 72

type RouteFields = Omit<PutRoute, 'ns' | 'name'>

const replace = c.NLM_F_REQUEST | c.NLM_F_ACK | c.NLM_F_CREATE | c.NLM_F_REPLACE
const create = c.NLM_F_REQUEST | c.NLM_F_ACK | c.NLM_F_CREATE | c.NLM_F_EXCL
const remove = c.NLM_F_REQUEST | c.NLM_F_ACK

/** IPv4 gets its subnet's broadcast address; IPv6 no duplicate detection (the claim already proved it unique), so no wait. */
export function replaceAddress(writer: MessageWriter, sequence: number, index: number, address: string): void {
  const { bytes, length } = parsePrefix(address)
  const ipv4 = bytes.length === 4
  writer.message(c.RTM_NEWADDR, replace, sequence, () => {
    writer
      .u8(family(bytes))
      .u8(length)
      .u8(ipv4 ? 0 : c.IFA_F_NODAD)
      .u8(c.RT_SCOPE_UNIVERSE)
      .u32(index)
    writer.attribute(c.IFA_LOCAL, bytes).attribute(c.IFA_ADDRESS, bytes)
    if (ipv4 && length < 31) writer.attribute(c.IFA_BROADCAST, broadcast(bytes, length))
    if (!ipv4) writer.attributeU32(c.IFA_FLAGS, c.IFA_F_NODAD)
  })
}

export function deleteAddress(writer: MessageWriter, sequence: number, index: number, address: string): void {
  const { bytes, length } = parsePrefix(address)
  writer.message(c.RTM_DELADDR, remove, sequence, () => {
    writer.u8(family(bytes)).u8(length).u8(0).u8(0).u32(index)
    writer.attribute(c.IFA_LOCAL, bytes).attribute(c.IFA_ADDRESS, bytes)
  })
}

/** Of one link or of all: with NETLINK_GET_STRICT_CHK the kernel (5.0) heeds the index. */
export function dumpAddresses(writer: MessageWriter, sequence: number, linkIndex = 0): void {
  writer.message(c.RTM_GETADDR, c.NLM_F_REQUEST | c.NLM_F_DUMP, sequence, () => writer.zero(4).u32(linkIndex))
}

export function readAddress(reader: MessageReader, message: Message): AddressInfo | undefined {
  let local: Uint8Array | undefined
  let address: Uint8Array | undefined
  reader.eachAttribute(message.from + 8, message.to, (type, from, to) => {
    if (type === c.IFA_LOCAL) local = reader.slice(from, to)
    else if (type === c.IFA_ADDRESS) address = reader.slice(from, to)
  })
  // IFA_ADDRESS is the far end on a point-to-point link; IPv6 has IFA_LOCAL only there.
  const own = local ?? address
  return own === undefined ? undefined : { linkIndex: reader.u32(message.from + 4), address: `${formatAddress(own)}/${reader.u8(message.from + 1)}` }
}

/** Takes over a route to the same destination, also that of another link. */
export function replaceRoute(writer: MessageWriter, sequence: number, index: number, fields: RouteFields): void {
  route(writer, sequence, c.RTM_NEWROUTE, replace, index, fields)
}

export function addRoute(writer: MessageWriter, sequence: number, index: number, fields: RouteFields): void {
  route(writer, sequence, c.RTM_NEWROUTE, create, index, fields)
}

export function deleteRoute(writer: MessageWriter, sequence: number, index: number, destination: string, gateway: string | undefined): void {
  route(writer, sequence, c.RTM_DELROUTE, remove, index, { destination, ...(gateway === undefined ? {} : { gateway }) })
}

function route(writer: MessageWriter, sequence: number, type: number, flags: number, index: number, fields: RouteFields): void {
  const { destination, gateway, mtu, advmss, priority, table = c.RT_TABLE_MAIN } = fields
  const { bytes, length } = parsePrefix(destination, 'destination')
  const via = gateway === undefined || gateway === '' ? undefined : parseAddress(gateway, 'gateway')
  if (via !== undefined && via.length !== bytes.length) throw new InvalidValue('gateway', `gateway ${gateway} is not of the family of ${destination}`)
  const adding = type === c.RTM_NEWROUTE
  const usual = via === undefined && bytes.length === 4 ? c.RT_SCOPE_LINK : c.RT_SCOPE_UNIVERSE
  const scope = adding ? (fields.scope ?? usual) : c.RT_SCOPE_NOWHERE
  writer.message(type, flags, sequence, () => {
    writer.u8(family(bytes)).u8(length).u8(0).u8(0)
    writer
      .u8(table < 256 ? table : c.RT_TABLE_UNSPEC)
      .u8(adding ? routeProtocol : 0)
      .u8(scope)
      .u8(adding ? c.RTN_UNICAST : 0)
      .u32(0)
    if (length > 0) writer.attribute(c.RTA_DST, bytes)
    if (via !== undefined) writer.attribute(c.RTA_GATEWAY, via)
    writer.attributeU32(c.RTA_OIF, index)
    if (table >= 256) writer.attributeU32(c.RTA_TABLE, table)
    if (priority !== undefined) writer.attributeU32(c.RTA_PRIORITY, priority)
    if (mtu === undefined && advmss === undefined) return
    writer.nest(c.RTA_METRICS, () => {
      if (mtu !== undefined) writer.attributeU32(c.RTAX_MTU, mtu)
      if (advmss !== undefined) writer.attributeU32(c.RTAX_ADVMSS, advmss)
    })
  })
}

export function dumpRoutes(writer: MessageWriter, sequence: number): void {
  // No filter by table: with strict checking the kernel refuses a table that has no route yet.
  writer.message(c.RTM_GETROUTE, c.NLM_F_REQUEST | c.NLM_F_DUMP, sequence, () => writer.zero(12))
}

/** A unicast route of a table; undefined for others. */
export function readRoute(reader: MessageReader, message: Message, of = c.RT_TABLE_MAIN): RouteInfo | undefined {
  const at = message.from
  const addressFamily = reader.u8(at)
  if (addressFamily !== c.AF_INET && addressFamily !== c.AF_INET6) return undefined
  let table = reader.u8(at + 4)
  let destination = addressFamily === c.AF_INET ? '0.0.0.0' : '::'
  let gateway = ''
  let linkIndex = 0
  reader.eachAttribute(at + 12, message.to, (type, from, to) => {
    if (type === c.RTA_TABLE) table = reader.u32(from)
    else if (type === c.RTA_DST) destination = formatAddress(reader.slice(from, to))
    else if (type === c.RTA_GATEWAY) gateway = formatAddress(reader.slice(from, to))
    else if (type === c.RTA_OIF) linkIndex = reader.u32(from)
  })
  const wanted = table === of && reader.u8(at + 7) === c.RTN_UNICAST && (reader.u32(at + 8) & c.RTM_F_CLONED) === 0
  return wanted ? { linkIndex, destination: `${destination}/${reader.u8(at + 1)}`, gateway, protocol: reader.u8(at + 5) } : undefined
}

function family(bytes: Uint8Array): number {
  return bytes.length === 4 ? c.AF_INET : c.AF_INET6
}

function broadcast(bytes: Uint8Array, length: number): Uint8Array {
  return bytes.map((byte, index) => byte | (0xff >> Math.min(8, Math.max(0, length - index * 8))))
}
