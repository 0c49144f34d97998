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
import { lookAfterWrites, startWrite, type Write } from './aio.ts'
import { errnoName, Refused, SystemCallFailure, Unavailable } from './failures.ts'
import type { Namespaces, Netns } from './namespaces.ts'
import type { NetlinkSocket } from './netlink-socket.ts'
import type { Poller } from './poller.ts'
import { nowMs } from './time.ts'

/** Rounds of one namespace in their barrier at once. glibc has 20 helper threads; more rounds would wait for one. */
const maxRounds = 16
const maxLinksPerRound = 256
/** Link groups used only between the two requests of a round; far from those people number by hand. */
const firstGroup = 0x68640000
const checkIntervalMs = 1000
const answerTimeoutMs = 10_000

interface Removal {
  readonly index: number
  /** Not again in a group after a group was refused. */
  readonly alone: boolean
  /** Undefined once answered. */
  answer: ((result: boolean | Error) => void) | undefined
}

/** One request on a socket of its own. */
interface Round {
  readonly socket: NetlinkSocket
  readonly removals: readonly Removal[]
  readonly startedMs: number
  write: Write
}

interface Site {
  readonly netns: Netns
  readonly monitor: NetlinkSocket
  waiting: Removal[]
  readonly flying: Set<Removal>
  readonly rounds: Set<Round>
}

export class Removals {
  readonly #namespaces: Namespaces
  readonly #poller: Poller
  readonly #sites = new Map<bigint, Site>()
  readonly #writer = new MessageWriter()
  readonly #write: typeof startWrite
  #group = 0
  #nextCheckMs = 0

  constructor(namespaces: Namespaces, poller: Poller, write = startWrite) {
    this.#namespaces = namespaces
    this.#poller = poller
    this.#write = write
  }

  get busy(): boolean {
    return this.#sites.size > 0
  }

  /** Answers true when the link is gone, false when it never was, or an Error. Begun by the next `start`. */
  add(ns: Namespace, name: string, answer: (result: boolean | Error) => void): void {
    const netns = this.#namespaces.open(ns)
    const known = this.#sites.get(netns.inode)
    let site = known
    let index: number
    try {
      index = (known?.netns ?? netns).route.indexOf(name)
      if (index !== 0) site ??= this.#openSite(netns)
    } finally {
      // Unless the new site keeps it.
      if (site?.netns !== netns) netns.close()
    }
    if (index === 0) answer(false)
    else site?.waiting.push({ index, alone: false, answer })
  }

  /** Begins the rounds that may begin. Called once for everything that arrived together. */
  start(): void {
    for (const [inode, site] of this.#sites) {
      // A round that has not been notified yet holds the RTNL lock or waits for it: another could only wait behind it.
      if (site.waiting.length > 0 && site.rounds.size < maxRounds && !unanswered(site)) this.#startRound(site)
      if (site.waiting.length === 0 && site.rounds.size === 0) {
        this.#poller.remove(site.monitor.fd)
        site.monitor.close()
        site.netns.close()
        this.#sites.delete(inode)
      }
    }
  }

  /**
   * A write that failed is never acknowledged, and whatever else keeps an answer away must not keep later removals waiting.
   * Looks once a second.
   */
  endOverdue(now: number): void {
    if (this.#sites.size === 0 || now < this.#nextCheckMs) return
    this.#nextCheckMs = now + checkIntervalMs
    lookAfterWrites()
    for (const site of this.#sites.values()) {
      for (const round of site.rounds) {
        const { errno } = round.write
        if (errno !== undefined && errno !== 0) this.#end(site, round, new SystemCallFailure('write', errno))
        else if (now - round.startedMs > answerTimeoutMs) {
          const failure = new Unavailable(`the kernel did not answer within ${answerTimeoutMs} ms`)
          for (const removal of round.removals) finish(site, removal, failure)
          if (errno === 0) this.#end(site, round, failure)
        }
      }
    }
  }

  #openSite(netns: Netns): Site {
    // Invariant: subscribed before the request is sent.
    const site: Site = { netns, monitor: netns.open(NETLINK_ROUTE, RTMGRP_LINK), waiting: [], flying: new Set(), rounds: new Set() }
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
      if (gone.has(removal.index)) finish(site, removal, true)
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
    const round: Round = { socket, removals, startedMs: nowMs(), write: { errno: undefined } }
    site.rounds.add(round)
    this.#poller.add(socket.fd, () => this.#onAnswers(site, round))
    try {
      round.write = this.#write(socket.fd, this.#writer.bytes)
    } catch (error) {
      this.#end(site, round, error as Error)
    }
  }

  #onAnswers(site: Site, round: Round): void {
    const { socket, removals } = round
    const last = removals.length === 1 ? 1 : removals.length + 1
    let end: Refused | 'done' | undefined
    try {
      socket.readAvailable((reader, message) => {
        if (message.type !== NLMSG_ERROR) return
        const ack = readAck(reader, message)
        const failure = ack.errno === 0 ? undefined : new Refused(errnoName(ack.errno), ack.text)
        const removal = removals[message.sequence - 1]
        if (message.sequence === last) end = failure ?? 'done'
        if (removal !== undefined && failure !== undefined) settle(removal, failure.errno === 'ENODEV' ? false : failure)
      })
    } catch {
      // Answers were lost: the notifications remain, and the watch over overdue rounds.
    }
    if (end === undefined) return
    if (end !== 'done' && end.errno !== 'ENODEV') {
      for (const removal of removals) {
        if (removal.answer === undefined) continue
        // One member that cannot be deleted refuses the whole group (rtnl_group_dellink).
        site.waiting.push({ index: removal.index, alone: true, answer: removal.answer })
        removal.answer = undefined
      }
    }
    this.#end(site, round, true)
  }

  #end(site: Site, round: Round, result: true | Error): void {
    this.#poller.remove(round.socket.fd)
    round.socket.close()
    site.rounds.delete(round)
    for (const removal of round.removals) finish(site, removal, result)
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

function finish(site: Site, removal: Removal, result: boolean | Error): void {
  site.flying.delete(removal)
  settle(removal, result)
}
