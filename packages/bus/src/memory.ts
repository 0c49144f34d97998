/**
 * The bus without a server: real handlers, codecs, interceptors; for tests of whole flows. Buses that share a hub are
 * processes of one cluster. What a network does wrong is asked for: `lose`, `disconnect`.
 */
import { type Call, raceCall } from '@heddle/core'
import { WiredBus, type WiredBusOptions } from './bus.ts'
import type { BusLogger, BusStatus, Subscription } from './types.ts'
import { type Listening, type RequestHeaders, Undelivered, type Wire, type WireReply, type WireRequest } from './wire.ts'

interface Responder {
  readonly pattern: string
  readonly queue: string
  readonly onRequest: (request: WireRequest) => void
}

/** What the members of one cluster share; a request goes to one member of a queue in turn. */
export class MemoryHub {
  readonly responders = new Set<Responder>()
  readonly listeners = new Set<{ readonly subject: string; readonly onMessage: (data: Uint8Array) => void }>()
  readonly #turns = new Map<string, number>()

  /** Who gets a request on `subject`: everyone without a queue, and one of each queue. */
  chosen(subject: string): readonly Responder[] {
    const matching = [...this.responders].filter(({ pattern }) => pattern === subject || (pattern.endsWith('.>') && subject.startsWith(pattern.slice(0, -1))))
    const turn = (this.#turns.get(subject) ?? -1) + 1
    this.#turns.set(subject, turn)
    return [...Map.groupBy(matching, ({ queue }) => queue)].flatMap(([queue, members]) =>
      queue === '' ? members : members.slice(turn % members.length).slice(0, 1),
    )
  }
}

export interface MemoryBusOptions extends Partial<WiredBusOptions> {
  readonly hub?: MemoryHub
  /** Asked for each request: what is lost on its way. */
  readonly lose?: (subject: string) => 'request' | 'reply' | undefined
}

const silent: BusLogger = { info() {}, warn() {}, error() {} }

export class MemoryBus extends WiredBus {
  readonly #wire: MemoryWire

  constructor(options: MemoryBusOptions = {}) {
    const wire = new MemoryWire(options.hub ?? new MemoryHub(), options.lose)
    super(wire, { logger: silent, ...options })
    this.#wire = wire
  }

  /** Requests under way fail as with a server that died; events are lost until `connect`. */
  disconnect(): void {
    this.#wire.disconnect()
  }

  connect(): void {
    this.#wire.connect()
  }
}

class MemoryWire implements Wire {
  readonly kind = 'memory'
  readonly maxBytes = 1 << 20
  status: BusStatus = 'connected'
  readonly #hub: MemoryHub
  readonly #lose: MemoryBusOptions['lose']
  readonly #pending = new Set<(failure: Undelivered) => void>()
  readonly #reconnected = new Set<() => void>()

  constructor(hub: MemoryHub, lose: MemoryBusOptions['lose']) {
    this.#hub = hub
    this.#lose = lose
  }

  async request(subject: string, data: Uint8Array, headers: RequestHeaders, call: Call): Promise<WireReply> {
    if (this.status !== 'connected') throw new Undelivered('no', 'not connected')
    const chosen = this.#hub.chosen(subject)
    if (chosen.length === 0) throw new Undelivered('no', `nobody answers ${subject}`)
    const lost = this.#lose?.(subject)
    const { promise, resolve, reject } = Promise.withResolvers<WireReply>()
    this.#pending.add(reject)
    const reply = (answer: WireReply) => {
      if (lost !== 'reply') queueMicrotask(() => resolve(answer))
    }
    if (lost !== 'request') {
      queueMicrotask(() => {
        for (const { onRequest } of chosen) onRequest({ subject, data, headers: { ...headers }, reply })
      })
    }
    return raceCall(promise, call).finally(() => this.#pending.delete(reject))
  }

  listen(pattern: string, queue: string, onRequest: (request: WireRequest) => void): Listening {
    const responder: Responder = { pattern, queue, onRequest }
    this.#hub.responders.add(responder)
    return {
      stop: async () => {
        this.#hub.responders.delete(responder)
      },
    }
  }

  publish(subject: string, data: Uint8Array): void {
    for (const listener of this.#hub.listeners) if (listener.subject === subject) queueMicrotask(() => listener.onMessage(data))
  }

  subscribe(subject: string, onMessage: (data: Uint8Array) => void): Subscription {
    const listener = { subject, onMessage: (data: Uint8Array) => this.#hub.listeners.has(listener) && this.status === 'connected' && onMessage(data) }
    this.#hub.listeners.add(listener)
    return { close: () => void this.#hub.listeners.delete(listener) }
  }

  onReconnect(listener: () => void): Subscription {
    this.#reconnected.add(listener)
    return { close: () => void this.#reconnected.delete(listener) }
  }

  async flush(): Promise<void> {
    await Promise.resolve()
  }

  async close(): Promise<void> {
    this.disconnect()
    this.status = 'closed'
  }

  disconnect(): void {
    this.status = 'disconnected'
    for (const reject of this.#pending) reject(new Undelivered('maybe', 'the connection was lost'))
  }

  connect(): void {
    this.status = 'connected'
    for (const listener of this.#reconnected) listener()
  }
}
