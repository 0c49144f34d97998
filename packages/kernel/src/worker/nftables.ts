/** Elements of nftables sets, by netlink. */

import { buildListRequest, type RawElement, readElements, runElementBatch } from '../nfnl/elements.ts'
import { NETLINK_NETFILTER } from '../rtnl/constants.ts'
import type { Namespace, NftElement, NftSet } from '../types.ts'
import type { Namespaces } from './namespaces.ts'

export function changeElements(namespaces: Namespaces, ns: Namespace, set: NftSet, add: readonly NftElement[], remove: readonly NftElement[]): void {
  namespaces.use((open) => {
    const socket = open(ns).open(NETLINK_NETFILTER)
    try {
      runElementBatch(set, add, remove, (count, ackAt, build, onFailure) =>
        socket.batch(count, ackAt, build, (index, refused) => onFailure(index, refused.errno, refused.text)),
      )
    } finally {
      socket.close()
    }
  })
}

export function* listElements(namespaces: Namespaces, ns: Namespace, set: NftSet): Generator<undefined, RawElement[]> {
  const socket = namespaces.use((open) => open(ns).open(NETLINK_NETFILTER))
  try {
    const pieces = yield* socket.dump((writer, sequence) => buildListRequest(writer, sequence, set), readElements)
    return pieces.flat()
  } finally {
    socket.close()
  }
}
