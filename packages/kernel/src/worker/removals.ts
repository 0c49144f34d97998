/**
 * Deletion of links. The kernel multicasts RTM_DELLINK about a millisecond after the request and then spends some 16 ms
 * in an RCU barrier before the request returns, so: a removal is answered by the notification, the request waits on a
 * helper thread, and what arrives before the last round was notified is collected, put into one link group and deleted
 * by one request, with one barrier for all.
 */

import { readAck } from '../rtnl/ack.ts'
import { NETLINK_ROUTE, NLMSG_ERROR, RTMGRP_LINK } from '../rtnl/constants.ts'
import { deleteGroup, deleteLink, setLink } from '../rtnl/link-build.ts'
import { readLinkNotice } from '../rtnl/link-parse.ts'
import { MessageWriter } from '../rtnl/wire.ts'
import type { Namespace } from '../types.ts'
import { startWrite } from './aio.ts'
import { errnoName, Refused } from './failures.ts'
import type { Namespaces, Netns } from './namespaces.ts'
import type { NetlinkSocket } from './netlink-socket.ts'
import type { Poller } from './poller.ts'

/** Rounds of one namespace in their barrier at once. glibc has 20 helper threads; more rounds would wait for one. */
const maxRounds = 16
const maxLinksPerRound = 256
/** Link groups used only between the two requests of a round; far from those people number by hand. */
const firstGroup = 0x68640000

interface Removal {
  readonly index: number
  /** Not again in a group after a group was refused. */
  alone: boolean
  /** Undefined once answered. */
  answer: ((result: boolean | Error) => void) | undefined
}

interface Site {
  readonly netns: Netns
  readonly monitor: NetlinkSocket
  waiting: Removal[]
  readonly flying: Set<Removal>
  rounds: number
}

export class Removals {
  readonly #namespaces: Namespaces
  readonly #poller: Poller
  readonly #sites = new Map<bigint, Site>()
  readonly #writer = new MessageWriter()
  #group = 0

  constructor(namespaces: Namespaces, poller: Poller) {
    this.#namespaces = namespaces
    this.#poller = poller
  }

  get busy(): boolean {
    return this.#sites.size > 0
  }

  /** Answers true when the link is gone, false when it never was, or an Error. Begun by the next `start`. */
  add(ns: Namespace, name: string, answer: (result: boolean | Error) => void): void {
    const netns = this.#namespaces.open(ns)
    const known = this.#sites.get(netns.inode)
    if (known !== undefined) netns.close()
    const index = (known?.netns ?? netns).route.indexOf(name)
    if (index === 0) {
      if (known === undefined) netns.close()
      answer(false)
      return
    }
    const site = known ?? this.#openSite(netns)
    site.waiting.push({ index, alone: false, answer })
  }

  /** Begins the rounds that may begin. Called once for everything that arrived together. */
  start(): void {
    for (const [inode, site] of this.#sites) {
      // A round that has not been notified yet holds the RTNL lock or waits for it: another could only wait behind it.
      if (site.waiting.length > 0 && site.rounds < maxRounds && !unanswered(site)) this.#startRound(site)
      if (site.waiting.length === 0 && site.rounds === 0) {
        this.#poller.remove(site.monitor.fd)
        site.monitor.close()
        site.netns.close()
        this.#sites.delete(inode)
      }
    }
  }

  #openSite(netns: Netns): Site {
    // Invariant: subscribed before the request is sent.
    const site: Site = { netns, monitor: netns.open(NETLINK_ROUTE, RTMGRP_LINK), waiting: [], flying: new Set(), rounds: 0 }
    this.#sites.set(netns.inode, site)
    this.#poller.add(site.monitor.fd, () => this.#onNotices(site))
    return site
  }

  #onNotices(site: Site): void {
    const gone = new Set<number>()
    try {
      site.monitor.readAvailable((reader, message) => {
        const notice = readLinkNotice(reader, message)
        if (notice?.kind === 'gone') gone.add(notice.index)
      })
    } catch {
      // Notifications were lost: the request's own end answers.
    }
    for (const removal of site.flying) {
      if (!gone.has(removal.index)) continue
      settle(removal, true)
      site.flying.delete(removal)
    }
  }

  #startRound(site: Site): void {
    const alone = site.waiting.find((removal) => removal.alone)
    const removals = alone === undefined ? site.waiting.slice(0, maxLinksPerRound) : [alone]
    site.waiting = site.waiting.filter((removal) => !removals.includes(removal))
    let socket: NetlinkSocket
    try {
      socket = site.netns.open(NETLINK_ROUTE)
    } catch (error) {
      for (const removal of removals) settle(removal, error as Error)
      return
    }
    const [first] = removals
    this.#writer.clear()
    if (removals.length === 1 && first !== undefined) deleteLink(this.#writer, 1, first.index)
    else {
      const group = firstGroup + (this.#group++ & 0xffff)
      for (const [at, removal] of removals.entries()) setLink(this.#writer, at + 1, { index: removal.index, group })
      deleteGroup(this.#writer, removals.length + 1, group)
    }
    for (const removal of removals) site.flying.add(removal)
    site.rounds++
    this.#poller.add(socket.fd, () => this.#onAnswers(site, socket, removals))
    startWrite(socket.fd, this.#writer.bytes)
  }

  #onAnswers(site: Site, socket: NetlinkSocket, removals: readonly Removal[]): void {
    const last = removals.length === 1 ? 1 : removals.length + 1
    let end: Refused | 'done' | undefined
    socket.readAvailable((reader, message) => {
      if (message.type !== NLMSG_ERROR) return
      const ack = readAck(reader, message)
      const failure = ack.errno === 0 ? undefined : new Refused(errnoName(ack.errno), ack.text)
      const removal = removals[message.sequence - 1]
      if (message.sequence === last) end = failure ?? 'done'
      if (removal !== undefined && failure !== undefined) settle(removal, failure.errno === 'ENODEV' ? false : failure)
    })
    if (end === undefined) return
    this.#poller.remove(socket.fd)
    socket.close()
    site.rounds--
    for (const removal of removals) {
      site.flying.delete(removal)
      if (end === 'done' || end.errno === 'ENODEV') settle(removal, true)
      else if (removal.answer !== undefined) {
        // One member that cannot be deleted refuses the whole group (rtnl_group_dellink).
        removal.alone = true
        site.waiting.push(removal)
      }
    }
  }
}

function unanswered(site: Site): boolean {
  for (const removal of site.flying) if (removal.answer !== undefined) return true
  return false
}

function settle(removal: Removal, result: boolean | Error): void {
  removal.answer?.(result)
  removal.answer = undefined
}
