/** The bus as its users see it. `nats.adapter.ts` and `memory.ts` are the two that implement it. */
import type { BusService, Codec, MethodDefinition, Partially, RequestOf, ResponseOf, ServiceDefinition } from '@heddle/contract'
import type { Call } from '@heddle/core'
import type { Runtime } from '@heddle/runtime'

/** One function a method. Rejects with HeddleError only; no responder is `unavailable`, retried inside the call's budget. */
export type Client<S extends ServiceDefinition> = {
  readonly [M in keyof S['methods']]: (request: Partially<RequestOf<S['methods'][M]>>, call: Call) => Promise<ResponseOf<S['methods'][M]>>
}

/** One function a method. What it throws reaches the caller as its HeddleError; anything else as `internal`. */
export type Handlers<S extends ServiceDefinition> = {
  readonly [M in keyof S['methods']]: (request: RequestOf<S['methods'][M]>, call: Call) => Promise<Partially<ResponseOf<S['methods'][M]>>>
}

export interface Serving {
  /** Takes no new request, waits until those under way have answered, then returns. */
  stop(): Promise<void>
}

export interface ServeOptions {
  /** Required for a service of scope `host`. */
  readonly host?: string
  /** Requests handled at once; more than four times as many waiting are refused with `overloaded`. Default 256. */
  readonly concurrency?: number
}

export interface Subscription {
  close(): void
}

export type BusStatus = 'connecting' | 'connected' | 'disconnected' | 'closed'

export interface Bus {
  readonly status: BusStatus
  /** The client of a service; `host` chooses the responder of a per-host service. Cheap: make one where it is needed. */
  client<S extends ServiceDefinition>(service: BusService<S>, host?: string): Client<S>
  serve<S extends ServiceDefinition>(service: BusService<S>, handlers: Handlers<S>, options?: ServeOptions): Promise<Serving>
  /** Tells whoever listens; lost when nobody does, when disconnected, or on the way. Never throws. */
  publish<T>(subject: string, codec: Codec<T>, message: T): void
  /** Every message of a subject; a listener that throws is logged and keeps its subscription. */
  subscribe<T>(subject: string, codec: Codec<T>, listener: (message: T) => void): Subscription
  /** Called after each reconnection: whatever was published meanwhile is lost. */
  onReconnect(listener: () => void): Subscription
  /** Resolves when everything published or subscribed so far has reached the server. */
  flush(call: Call): Promise<void>
  /** Stops what is served (waiting for what is under way), flushes and closes. */
  close(): Promise<void>
}

export type AnyMethod = MethodDefinition<any, any>

export type BusLogger = Pick<Runtime['logger'], 'info' | 'warn' | 'error'>
