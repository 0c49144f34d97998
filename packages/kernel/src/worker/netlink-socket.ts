/**
 * A netlink socket with one request at a time. The kernel handles a request inside send, so its answer is there when
 * send returns; every answer is matched by its sequence number.
 */

import { readAck } from '../rtnl/ack.ts'
import * as c from '../rtnl/constants.ts'
import { getLink } from '../rtnl/link-build.ts'
import { type Message, MessageReader, MessageWriter } from '../rtnl/wire.ts'
import { errnoName, Refused, Unavailable } from './failures.ts'
import * as libc from './libc.ts'

const AF_NETLINK = 16
const SOL_SOCKET = 1
const SO_RCVTIMEO = 20
/** Beyond the system's limits; needs CAP_NET_ADMIN. A limit, not memory in use. */
const SO_SNDBUFFORCE = 32
const SO_RCVBUFFORCE = 33
const SOL_NETLINK = 270
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11
const NETLINK_GET_STRICT_CHK = 12
const answerTimeoutS = 5
const bufferBytes = 8 << 20
const maxDumpAttempts = 20

/** The kernel answers dumps in pieces of at most 32 KiB. */
const received = new Uint8Array(65536)
let sequence = 1

/** Shared by all sockets of the thread: a request is built and sent before the next begins. */
const writer = new MessageWriter()

export class NetlinkSocket {
  readonly fd: number

  /** Opened in the namespace the thread is in, where it stays. */
  constructor(protocol: number, multicastGroups = 0) {
    this.fd = libc.socket(AF_NETLINK, protocol)
    const one = new Uint8Array(4)
    libc.native.setInt32(one, 0, 1)
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]) libc.setOption(this.fd, SOL_NETLINK, option, one)
    const timeout = new Uint8Array(16)
    libc.native.setUint64(timeout, 0, BigInt(answerTimeoutS))
    libc.setOption(this.fd, SOL_SOCKET, SO_RCVTIMEO, timeout)
    const bytes = new Uint8Array(4)
    libc.native.setInt32(bytes, 0, bufferBytes)
    for (const option of [SO_RCVBUFFORCE, SO_SNDBUFFORCE]) libc.setOption(this.fd, SOL_SOCKET, option, bytes)
    if (multicastGroups === 0) return
    const address = new Uint8Array(12)
    libc.native.setInt16(address, 0, AF_NETLINK)
    libc.native.setInt32(address, 8, multicastGroups)
    libc.bindSocket(this.fd, address)
  }

  close(): void {
    libc.close(this.fd)
  }

  /**
   * 0 when there is none. For names that should be there: this takes no lock of the kernel's, but for a name that is not there the
   * kernel looks for a module of that name, and starts modprobe twice to do so (dev_load in net/core/dev_ioctl.c).
   */
  indexOf(name: string): number {
    return libc.interfaceIndex(this.fd, name)
  }

  /** Whether there is a link of this name, where there may well be none. */
  has(name: string): boolean {
    return (
      this.get(
        (into, sequence) => getLink(into, sequence, name),
        () => true,
      ) !== undefined
    )
  }

  /** Sends one message that asks for an acknowledgement; throws Refused. */
  request(build: (writer: MessageWriter, sequence: number) => void): void {
    const own = nextSequence(1)
    this.#send(() => build(writer, own))
    this.#answers(own, 1, (ack) => {
      if (ack.errno !== 0) throw new Refused(errnoName(ack.errno), ack.text)
    })
  }

  /**
   * Sends `count` messages at once. Only number `ackAt` asks for an acknowledgement: a failure is answered in any case.
   * Calls back for each failed one; the others are done.
   */
  batch(
    count: number,
    ackAt: number,
    build: (writer: MessageWriter, sequence: number, flags: number, index: number) => void,
    onFailure: (index: number, failure: Refused) => void,
  ): void {
    const first = nextSequence(count)
    this.#send(() => {
      for (let index = 0; index < count; index++) build(writer, first + index, index === ackAt ? c.NLM_F_ACK : 0, index)
    })
    this.#answers(first, ackAt + 1, (ack, index) => {
      if (ack.errno !== 0) onFailure(index, new Refused(errnoName(ack.errno), ack.text))
    })
  }

  /** One object by its key; undefined when the kernel answers ENODEV or ENOENT. */
  get<T>(build: (writer: MessageWriter, sequence: number) => void, read: (reader: MessageReader, message: Message) => T): T | undefined {
    const own = nextSequence(1)
    this.#send(() => build(writer, own))
    for (;;) {
      let value: T | undefined
      let ended = false
      const reader = this.#receive()
      reader.eachMessage((message) => {
        if (message.sequence !== own) return
        ended = true
        if (message.type !== c.NLMSG_ERROR) value = read(reader, message)
        else {
          const ack = readAck(reader, message)
          const name = errnoName(ack.errno)
          if (ack.errno !== 0 && name !== 'ENODEV' && name !== 'ENOENT') throw new Refused(name, ack.text)
        }
      })
      if (ended) return value
    }
  }

  /**
   * Reads a table, one received piece a turn, so that requests can go between. A table that changed while it was read
   * (NLM_F_DUMP_INTR) is read again, every other time in one go: on a host where endpoints come and go all the time, a large
   * table would be changed by what goes between each time.
   */
  *dump<T>(
    build: (writer: MessageWriter, sequence: number) => void,
    read: (reader: MessageReader, message: Message) => T | undefined,
  ): Generator<undefined, T[]> {
    for (let attempt = 0; attempt < maxDumpAttempts; attempt++) {
      const own = nextSequence(1)
      const values: T[] = []
      let done = false
      let interrupted = false
      this.#send(() => build(writer, own))
      while (!done) {
        const reader = this.#receive()
        reader.eachMessage((message) => {
          if (message.sequence !== own || done) return
          if ((message.flags & c.NLM_F_DUMP_INTR) !== 0) interrupted = true
          if (message.type === c.NLMSG_DONE || message.type === c.NLMSG_ERROR) {
            done = true
            const ack = readAck(reader, message)
            if (ack.errno !== 0 && errnoName(ack.errno) !== 'EINTR') throw new Refused(errnoName(ack.errno), ack.text)
            return
          }
          const value = read(reader, message)
          if (value !== undefined) values.push(value)
        })
        if (!done && attempt % 2 === 0) yield
      }
      if (!interrupted) return values
      yield
    }
    throw new Unavailable(`the table changed during each of ${maxDumpAttempts} readings`)
  }

  /** Reads what is there without waiting. Throws SystemCallFailure ENOBUFS when some was lost. `visit` must not use a socket. */
  readAvailable(visit: (reader: MessageReader, message: Message) => void): void {
    this.receiveAvailable((bytes) => {
      const reader = new MessageReader(bytes)
      reader.eachMessage((message) => visit(reader, message))
    })
  }

  /** As `readAvailable`, for what is not framed as netlink messages: uevents. */
  receiveAvailable(visit: (datagram: Uint8Array) => void): void {
    for (;;) {
      const length = libc.receive(this.fd, received, false)
      if (length === undefined) return
      visit(received.subarray(0, Math.min(length, received.length)))
    }
  }

  #send(build: () => void): void {
    writer.clear()
    build()
    libc.send(this.fd, writer.bytes)
  }

  /** Until the last of `count` requests from `first` on has been answered. */
  #answers(first: number, count: number, visit: (ack: ReturnType<typeof readAck>, index: number) => void): void {
    for (let ended = false; !ended; ) {
      const reader = this.#receive()
      reader.eachMessage((message) => {
        const index = (message.sequence - first) >>> 0
        if (message.type !== c.NLMSG_ERROR || index >= count) return
        visit(readAck(reader, message), index)
        if (index === count - 1) ended = true
      })
    }
  }

  #receive(): MessageReader {
    const length = libc.receive(this.fd, received, true)
    if (length === undefined) throw new Unavailable(`the kernel did not answer within ${answerTimeoutS} s`)
    if (length > received.length) throw new Refused('EMSGSIZE', `an answer of ${length} bytes is longer than ${received.length}`)
    return new MessageReader(received.subarray(0, length))
  }
}

/** First of `count` sequence numbers, never 0 (notifications have 0). */
function nextSequence(count: number): number {
  const first = sequence
  sequence = sequence + count >= 0xffffffff ? 1 : sequence + count
  return first
}
