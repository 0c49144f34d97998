/** Tables read in pieces: one received piece a turn, programs go between. */

import type { Request } from '../protocol.ts'
import { dumpAddresses, dumpRoutes, readAddress, readRoute } from '../rtnl/address.ts'
import { NETLINK_ROUTE } from '../rtnl/constants.ts'
import { dumpLinks, getLink } from '../rtnl/link-build.ts'
import { readLink } from '../rtnl/link-parse.ts'
import { dumpForwarding, dumpNeighbours, readEntry } from '../rtnl/neighbour.ts'
import type { LinkInfo, Namespace, NeighbourInfo } from '../types.ts'
import type { Namespaces } from './namespaces.ts'
import type { NetlinkSocket } from './netlink-socket.ts'
import { listElements } from './nftables.ts'

export type Dump = Extract<Request, { kind: 'links' | 'addresses' | 'routes' | 'neighbours' | 'nftList' }>

export function startDump(namespaces: Namespaces, request: Dump): Generator<undefined, unknown[]> {
  switch (request.kind) {
    case 'links':
      return onOwnSocket(namespaces, request.ns, (socket) => socket.dump(dumpLinks, readLink))
    case 'addresses':
      return onOwnSocket(namespaces, request.ns, (socket) => socket.dump((writer, sequence) => dumpAddresses(writer, sequence, request.linkIndex), readAddress))
    case 'routes':
      return onOwnSocket(namespaces, request.ns, (socket) => socket.dump(dumpRoutes, (reader, message) => readRoute(reader, message, request.table)))
    case 'neighbours':
      return onOwnSocket(namespaces, request.ns, (socket) => entries(socket, request.linkIndex))
    case 'nftList':
      return listElements(namespaces, request.ns, request.set)
  }
}

/** One link by name: not a dump, so on the request socket. */
export function readOneLink(namespaces: Namespaces, ns: Namespace, name: string): LinkInfo | undefined {
  return namespaces.use((open) => open(ns).route.get((writer, sequence) => getLink(writer, sequence, name), readLink))
}

function* entries(socket: NetlinkSocket, linkIndex: number | undefined): Generator<undefined, NeighbourInfo[]> {
  const neighbours = yield* socket.dump((writer, sequence) => dumpNeighbours(writer, sequence, linkIndex), readEntry)
  const forwarding = yield* socket.dump((writer, sequence) => dumpForwarding(writer, sequence, linkIndex), readEntry)
  return neighbours.concat(forwarding)
}

function* onOwnSocket<T>(namespaces: Namespaces, ns: Namespace, dump: (socket: NetlinkSocket) => Generator<undefined, T[]>): Generator<undefined, T[]> {
  const socket = namespaces.use((open) => open(ns).open(NETLINK_ROUTE))
  try {
    return yield* dump(socket)
  } finally {
    socket.close()
  }
}
