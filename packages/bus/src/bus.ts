/** The Bus on any Wire: clients, served services, delivery inside the process, events. */
import { type BusService, type Codec, encodeMessage, Failure, type ServiceDefinition, subjectOf } from '@heddle/contract'
import { type Call, type Clock, checkHostName, fromFailure, HeddleError, invalid, systemClock, toFailure, withCall } from '@heddle/core'
import { Discovery } from './discovery.ts'
import { deadlineClient } from './interceptors/deadline.ts'
import { errorsClient } from './interceptors/errors.ts'
import { type Exchange, type Handle, onion } from './interceptors/onion.ts'
import { resend } from './interceptors/resend.ts'
import { traceClient } from './interceptors/trace.ts'
import { checkSize, type Route, Server } from './server.ts'
import type { AnyMethod, Bus, BusLogger, BusStatus, Client, Handlers, ServeOptions, Serving, Subscription } from './types.ts'
import type { Listening, RequestHeaders, Wire } from './wire.ts'

export interface WiredBusOptions {
  readonly logger: BusLogger
  /** This process's host, shown by discovery. */
  readonly host?: string
  readonly version?: string
  /** Deliver to every service served here inside the process (a single embedded process), not only to those of a host. */
  readonly local?: boolean
  readonly clock?: Clock
}

/** How long stopping waits for the server's part; a server that is away must not keep a process from ending. */
const farewellMs = 2_000

interface Served {
  readonly server: Server
  readonly stop: () => Promise<void>
}

export class WiredBus implements Bus {
  readonly #wire: Wire
  readonly #options: WiredBusOptions
  readonly #clock: Clock
  readonly #clients = new WeakMap<BusService, Map<string, Client<ServiceDefinition>>>()
  readonly #served = new Set<Served>()
  /** What this process answers itself, by subject. */
  readonly #here = new Map<string, { readonly server: Server; readonly route: Route }>()
  readonly #discovery: Discovery

  constructor(wire: Wire, options: WiredBusOptions) {
    this.#wire = wire
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#discovery = new Discovery(wire, { host: options.host ?? '', version: options.version ?? '0.0.0' })
  }

  get status(): BusStatus {
    return this.#wire.status
  }

  client<S extends ServiceDefinition>(service: BusService<S>, host?: string): Client<S> {
    const byHost = this.#clients.get(service) ?? new Map<string, Client<ServiceDefinition>>()
    this.#clients.set(service, byHost)
    const known = byHost.get(host ?? '')
    if (known !== undefined) return known as Client<S>
    if (service.scope === 'host') checkHostName(host ?? '')
    const handle = onion([errorsClient, traceClient, resend(service.scope), deadlineClient], (exchange, call) => this.#send(exchange, call))
    const methods = Object.entries(service.definition.methods).map(([name, method]) => [
      name,
      this.#method(service, method, subjectOf(service, method, host), handle),
    ])
    const client = Object.fromEntries(methods) as Client<S>
    byHost.set(host ?? '', client)
    return client
  }

  async serve<S extends ServiceDefinition>(service: BusService<S>, handlers: Handlers<S>, options: ServeOptions = {}): Promise<Serving> {
    if (service.scope === 'host') checkHostName(options.host ?? '')
    const parts = { clock: this.#clock, logger: this.#options.logger, maxBytes: () => this.#wire.maxBytes }
    const server = new Server(service, handlers as unknown as Handlers<ServiceDefinition>, options, parts)
    for (const { subject } of server.routes) {
      if (this.#here.has(subject)) throw invalid('service', `${subject} is already served by this process`)
    }
    for (const route of server.routes) if (this.#deliversHere(service)) this.#here.set(route.subject, { server, route })
    const listening = server.routes.map((route) => this.#wire.listen(route.subject, service.queue, (request) => void server.answer(route, request)))
    const forget = this.#discovery.add(server)
    let stopping: Promise<void> | undefined
    const served: Served = { server, stop: () => (stopping ??= this.#stop(served, listening, forget)) }
    this.#served.add(served)
    // Once the server has the subscriptions every request reaches us; if it is away, it gets them when it is back.
    await this.#farewell()
    return { stop: served.stop }
  }

  publish<T>(subject: string, codec: Codec<T>, message: T): void {
    try {
      const data = encodeMessage(codec, message)
      checkSize(`the event ${subject}`, data, this.#wire.maxBytes, 'publish less at once')
      if (this.#wire.status === 'connected') this.#wire.publish(subject, data)
    } catch (error) {
      this.#options.logger.error({ err: error, subject }, 'an event could not be published')
    }
  }

  subscribe<T>(subject: string, codec: Codec<T>, listener: (message: T) => void): Subscription {
    const complain = (error: unknown) => this.#options.logger.error({ err: error, subject }, 'a listener of an event failed')
    return this.#wire.subscribe(subject, (data) => {
      try {
        // A listener declared to return nothing may still be an async function; its rejection would end the process.
        const result = listener(codec.decode(data)) as unknown
        if (result instanceof Promise) result.catch(complain)
      } catch (error) {
        complain(error)
      }
    })
  }

  onReconnect(listener: () => void): Subscription {
    return this.#wire.onReconnect(listener)
  }

  flush(call: Call): Promise<void> {
    return this.#wire.flush(call)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#served].map((served) => served.stop()))
    this.#discovery.close()
    await this.#farewell()
    await this.#wire.close()
  }

  /** Draining a NATS subscription does not wait for its handlers, and what they answer after the connection closed is lost. */
  async #stop(served: Served, listening: readonly Listening[], forget: () => void): Promise<void> {
    forget()
    for (const { subject } of served.server.routes) this.#here.delete(subject)
    await Promise.all(listening.map((one) => one.stop()))
    await served.server.idle()
    await this.#farewell()
    this.#served.delete(served)
  }

  /** Flushes, but lets a server that is away be. */
  async #farewell(): Promise<void> {
    if (this.#wire.status !== 'connected') return
    await withCall({ timeoutMs: farewellMs, clock: this.#clock }, (call) => this.#wire.flush(call)).catch(() => {})
  }

  #deliversHere(service: BusService): boolean {
    return service.scope === 'host' || this.#options.local === true
  }

  #method(service: BusService, method: AnyMethod, subject: string, handle: Handle) {
    return (request: unknown, call: Call): Promise<any> => {
      const headers: RequestHeaders = { budgetMs: Number.NaN, key: '', traceparent: '', tracestate: '' }
      return handle({ service: service.definition.name, responder: service.queue, method, subject, request, headers }, call)
    }
  }

  async #send(exchange: Exchange, call: Call): Promise<unknown> {
    const { method, subject, headers } = exchange
    const here = this.#here.get(subject)
    if (here !== undefined) return deliverHere(here.server, here.route, exchange, call)
    const data = encodeRequest(method, exchange.request)
    checkSize(`the request ${subject}`, data, this.#wire.maxBytes, 'ask for less at once')
    const reply = await this.#wire.request(subject, data, headers, call)
    if (reply.error !== '') throw decodeFailure(subject, reply.data)
    return decodeReply(subject, method.responseType as Codec<unknown>, reply.data)
  }
}

/** Copies both messages by structure, so that neither side can change what the other holds; the rest is as if it had travelled. */
function deliverHere(server: Server, route: Route, exchange: Exchange, call: Call): Promise<unknown> {
  const request = route.method.requestType.fromPartial(exchange.request as object)
  const outcome = server.run(route, request, { ...exchange.headers })
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(call.signal.reason as Error)
    call.signal.addEventListener('abort', onAbort, { once: true })
    outcome
      .then((response) => route.method.responseType.fromPartial(response as object))
      .then(resolve, (error: unknown) => reject(fromFailure(toFailure(HeddleError.from(error)))))
      .finally(() => call.signal.removeEventListener('abort', onAbort))
  })
}

function encodeRequest(method: AnyMethod, request: unknown): Uint8Array {
  try {
    return encodeMessage(method.requestType, method.requestType.fromPartial(request as object))
  } catch (error) {
    throw invalid('', `the request of ${method.name} cannot be encoded: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function decodeReply<T>(subject: string, codec: Codec<T>, data: Uint8Array): T {
  try {
    return codec.decode(data)
  } catch (error) {
    throw new HeddleError('internal', `the answer to ${subject} is not a protobuf message of its type`, { cause: error })
  }
}

function decodeFailure(subject: string, data: Uint8Array): HeddleError {
  return fromFailure(decodeReply(subject, Failure, data))
}
