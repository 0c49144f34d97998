/**
 * A name server for one zone, over UDP and TCP (RFC 1035, section 4.2; RFC 7766). What is not of the zone is refused, so that
 * a resolver goes on to its next server (Docker's and libc's do): it stands before another one, never instead.
 */
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { HeddleError, rootContext, withCall } from '@heddle/core'
import type { FlowParts } from '../flows/parts.ts'
import { type Answer, encodeAnswer, maxUdpBytes, parseQuestion, type Question, rcodes, recordTypes } from './message.ts'
import { Names, ofFamily } from './names.ts'

export interface DnsServerOptions {
  /** `address:port`, `[address]:port`. */
  readonly listen: readonly string[]
  readonly zone: string
  readonly ttlSeconds: number
}

/** libc asks again after five seconds. */
const answerTimeoutMs = 2000
const idleMs = 10_000
const maxTcpBytes = 65_535
const maxConnections = 256
/** More are let go unanswered: they are asked again. */
const maxUnderWay = 1000

export class DnsServer {
  readonly #parts: FlowParts
  readonly #options: DnsServerOptions
  readonly #names: Names
  readonly #stopping = new AbortController()
  readonly #sockets: UdpSocket[] = []
  readonly #servers: Server[] = []
  readonly #connections = new Set<Socket>()
  #underWay = 0

  constructor(parts: FlowParts, options: DnsServerOptions) {
    this.#parts = parts
    this.#options = options
    this.#names = new Names(parts, options.zone)
  }

  /** Fails with invalid-argument where an address is not the host's, or its port is another's. */
  async start(): Promise<void> {
    for (const listen of this.#options.listen) {
      try {
        await this.#listen(listen)
      } catch (error) {
        await this.stop()
        throw new HeddleError('invalid-argument', `the name server cannot listen on ${listen}: ${(error as Error).message}`, {
          field: 'gateway.dns.listen',
          remedy: 'name an address of this host and a port that no other name server has',
          cause: error,
        })
      }
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new HeddleError('cancelled', 'the gateway stops'))
    for (const connection of this.#connections) connection.destroy()
    await Promise.all([
      ...this.#sockets.map((socket) => new Promise<void>((resolve) => socket.close(resolve))),
      ...this.#servers.map((server) => new Promise((resolve) => server.close(resolve))),
    ])
  }

  async #listen(listen: string): Promise<void> {
    const at = listen.lastIndexOf(':')
    const [address, port] = [listen.slice(0, at).replace(/^\[(.*)\]$/, '$1'), Number(listen.slice(at + 1))]
    // One that hears IPv6 only leaves the port to the other family's.
    const isIpv6 = address.includes(':')
    const socket = createSocket({ type: isIpv6 ? 'udp6' : 'udp4', ...(isIpv6 ? { ipv6Only: true } : {}) })
    this.#sockets.push(socket)
    socket.on('message', (message, from) => void this.#overUdp(socket, message, from))
    socket.bind(port, address)
    await once(socket, 'listening')
    socket.on('error', (error) => this.#parts.logger.warn({ err: error, listen }, 'the name server could not send'))
    const server = createServer((connection) => this.#overTcp(connection))
    this.#servers.push(server)
    server.maxConnections = maxConnections
    server.listen({ port, host: address, ipv6Only: isIpv6 })
    await once(server, 'listening')
  }

  async #overUdp(socket: UdpSocket, message: Buffer, from: RemoteInfo): Promise<void> {
    const answer = await this.#reply(message, maxUdpBytes)
    if (answer !== undefined && !this.#stopping.signal.aborted) socket.send(answer, from.port, from.address)
  }

  /** Messages with their length before them, each answered in its turn. */
  #overTcp(connection: Socket): void {
    this.#connections.add(connection)
    connection.once('close', () => this.#connections.delete(connection))
    connection.on('error', () => {})
    connection.setTimeout(idleMs, () => connection.destroy())
    let received = Buffer.alloc(0)
    let answering = Promise.resolve()
    connection.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const message = received.subarray(2, 2 + received.readUInt16BE(0))
        received = received.subarray(2 + message.length)
        answering = answering.then(async () => {
          const answer = await this.#reply(message, maxTcpBytes)
          if (answer === undefined) connection.destroy()
          else connection.write(Buffer.concat([Buffer.of(answer.length >> 8, answer.length & 0xff), answer]))
        })
      }
    })
  }

  async #reply(message: Buffer, maxBytes: number): Promise<Buffer | undefined> {
    const question = parseQuestion(message)
    if (question === undefined || this.#underWay >= maxUnderWay) return undefined
    this.#underWay++
    try {
      return encodeAnswer(message, question, await this.#answer(question), maxBytes)
    } catch (error) {
      this.#parts.logger.warn({ err: error, name: question.name }, 'a question was not answered')
      return undefined
    } finally {
      this.#underWay--
    }
  }

  async #answer(question: Question): Promise<Answer> {
    const { ttlSeconds } = this.#options
    const without = (rcode: number, isOurs = false): Answer => ({ rcode, addresses: [], ttlSeconds, isOurs })
    if (!question.isQuery) return without(rcodes.notImplemented)
    if (!question.isInternet) return without(rcodes.refused)
    const { clock, cluster, logger } = this.#parts
    const options = { timeoutMs: answerTimeoutMs, key: question.name, context: rootContext(cluster.host), signal: this.#stopping.signal, clock }
    try {
      const found = await withCall(options, (call) => this.#names.find(question.name, call))
      if (found === 'elsewhere') return without(rcodes.refused)
      if (found === 'nobody') return without(rcodes.nameError, true)
      const family = question.type === recordTypes.A ? 4 : question.type === recordTypes.AAAA ? 6 : undefined
      return { ...without(rcodes.ok, true), addresses: family === undefined ? [] : ofFamily(found, family) }
    } catch (error) {
      logger.debug({ failure: HeddleError.from(error).message, name: question.name }, 'a name could not be looked up')
      return without(rcodes.serverFailure)
    }
  }
}
