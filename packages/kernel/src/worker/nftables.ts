/** nftables in a namespace: whole rulesets by the `nft` command, set elements by netlink. */

import { buildListRequest, type RawElement, readElements, runElementBatch } from '../nfnl/elements.ts'
import { NETLINK_NETFILTER } from '../rtnl/constants.ts'
import type { Namespace, NftElement, NftSet } from '../types.ts'
import { Refused, Unavailable } from './failures.ts'
import type { Namespaces } from './namespaces.ts'
import type { Poller } from './poller.ts'
import { findCommand, startChild } from './spawn.ts'

/** `nft -f -` in one transaction. Calls back when it has ended. */
export function loadRuleset(namespaces: Namespaces, poller: Poller, ns: Namespace, ruleset: string, answer: (error: Error | undefined) => void): void {
  const nft = findCommand('nft')
  if (nft === undefined) throw new Unavailable('the command nft is not installed')
  const child = namespaces.use((open) => open(ns).inside(() => startChild(nft, ['-f', '-'], ruleset)))
  poller.add(child.pidfd, () => {
    poller.remove(child.pidfd)
    const { code, output } = child.finish()
    answer(code === 0 ? undefined : new Refused('EINVAL', output.trim() || `nft ended with code ${code}`))
  })
}

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
