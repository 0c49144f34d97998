/** Link notifications of watched namespaces: what a burst says of one link is told once, its last word. */

import type { Notice } from '../protocol.ts'
import { NETLINK_ROUTE, RTMGRP_LINK } from '../rtnl/constants.ts'
import { readLinkNotice } from '../rtnl/link-parse.ts'
import type { LinkEvent, Namespace } from '../types.ts'
import type { Namespaces, Netns } from './namespaces.ts'
import type { NetlinkSocket } from './netlink-socket.ts'
import type { Poller } from './poller.ts'

export class Watches {
  readonly #namespaces: Namespaces
  readonly #poller: Poller
  readonly #post: (notice: Notice) => void
  readonly #open = new Map<number, { netns: Netns; socket: NetlinkSocket }>()

  constructor(namespaces: Namespaces, poller: Poller, post: (notice: Notice) => void) {
    this.#namespaces = namespaces
    this.#poller = poller
    this.#post = post
  }

  add(watch: number, ns: Namespace): void {
    const netns = this.#namespaces.open(ns)
    let socket: NetlinkSocket
    try {
      socket = netns.open(NETLINK_ROUTE, RTMGRP_LINK)
    } catch (error) {
      netns.close()
      throw error
    }
    this.#open.set(watch, { netns, socket })
    this.#poller.add(socket.fd, () => this.#read(watch, socket))
  }

  remove(watch: number): void {
    const open = this.#open.get(watch)
    if (open === undefined) return
    this.#open.delete(watch)
    this.#poller.remove(open.socket.fd)
    open.socket.close()
    open.netns.close()
  }

  /** Ends the watches of a namespace that is being deleted: an open socket would keep it alive. */
  forget(inode: bigint): void {
    for (const [watch, { netns }] of this.#open) if (netns.inode === inode) this.remove(watch)
  }

  #read(watch: number, socket: NetlinkSocket): void {
    const last = new Map<number, Omit<LinkEvent, 'ns'>>()
    try {
      socket.readAvailable((reader, message) => {
        const notice = readLinkNotice(reader, message)
        if (notice !== undefined) last.set(notice.index, notice)
      })
    } catch {
      this.#post({ watch, overrun: true })
      return
    }
    if (last.size > 0) this.#post({ watch, events: [...last.values()] })
  }
}
