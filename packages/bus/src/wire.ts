/**
 * What a transport has to do, and nothing of what the bus means by it. NATS is one, the hub of `MemoryBus` another;
 * interceptors, services and clients stand above and are the same for both.
 */
import { type Call, type ErrorParts, HeddleError } from '@heddle/core'
import type { BusStatus, Subscription } from './types.ts'

/** Names of the headers, part of the wire contract. */
export const headerNames = {
  /** Milliseconds the caller will still wait, at the moment of sending. */
  budget: 'heddle-budget-ms',
  key: 'heddle-key',
  traceparent: 'traceparent',
  tracestate: 'tracestate',
  /** On a reply: the code of the failure that is its body. */
  error: 'heddle-error',
} as const

/** What travels beside a request; empty text and NaN stand for an absent header. */
export interface RequestHeaders {
  budgetMs: number
  key: string
  traceparent: string
  tracestate: string
}

export interface WireReply {
  /** Catalogue code when the body is a Failure, else empty. */
  readonly error: string
  readonly data: Uint8Array
}

export interface WireRequest {
  readonly subject: string
  readonly data: Uint8Array
  readonly headers: RequestHeaders
  /** May be called more than once (discovery: one answer a service). Never throws. */
  reply(reply: WireReply): void
}

export interface Listening {
  /** Takes no new request. Resolves when every request already on its way here has been handed over. */
  stop(): Promise<void>
}

export interface Wire {
  readonly status: BusStatus
  /** For people: `nats`, `memory`. */
  readonly kind: string
  /** Largest message in bytes, headers included. */
  readonly maxBytes: number
  /** Rejects with `Undelivered`, or with the reason of the call's signal. */
  request(subject: string, data: Uint8Array, headers: RequestHeaders, call: Call): Promise<WireReply>
  /** With a queue only one of its members gets each request. `onRequest` must not throw. */
  listen(subject: string, queue: string, onRequest: (request: WireRequest) => void): Listening
  publish(subject: string, data: Uint8Array): void
  /** `onMessage` must not throw. */
  subscribe(subject: string, onMessage: (data: Uint8Array) => void): Subscription
  onReconnect(listener: () => void): Subscription
  flush(call: Call): Promise<void>
  close(): Promise<void>
}

/** A request without an answer. Whether it may be sent again depends on whether it can have arrived. */
export class Undelivered extends HeddleError {
  readonly arrived: 'no' | 'maybe'

  constructor(arrived: 'no' | 'maybe', message: string, parts: ErrorParts = {}) {
    super('unavailable', message, parts)
    this.arrived = arrived
  }
}
