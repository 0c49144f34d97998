/** A served service: its methods as routes, the responder's interceptors around each handler, and what is under way. */
import { type BusService, type Codec, encodeMessage, Failure, type ServiceDefinition, subjectOf } from '@heddle/contract'
import { type Call, type Clock, emptyContext, HeddleError, invalid, toFailure } from '@heddle/core'
import { deadlineServer } from './interceptors/deadline.ts'
import { errorsServer } from './interceptors/errors.ts'
import { type Handle, onion } from './interceptors/onion.ts'
import { overload } from './interceptors/overload.ts'
import { traceServer } from './interceptors/trace.ts'
import type { AnyMethod, BusLogger, Handlers, ServeOptions } from './types.ts'
import type { RequestHeaders, WireRequest } from './wire.ts'

/** For a caller that says nothing of its budget (a person with `nats request`). */
const defaultBudgetMs = 30_000
/** Above what any door may be configured to wait. A budget comes from the wire, and a timer of more than 24 days ends at once. */
const maxBudgetMs = 600_000
/** The server counts the headers of a message too: keys, trace context, an error's code. */
const headerRoom = 4_096
const never = new AbortController().signal

export interface RouteStats {
  requests: number
  errors: number
  lastError: string
  processingMs: number
}

export interface Route {
  readonly subject: string
  readonly method: AnyMethod
  readonly stats: RouteStats
  /** Runs the handler on a decoded request. Rejects with HeddleError only. */
  run(request: unknown, headers: RequestHeaders): Promise<unknown>
}

export interface ServerParts {
  readonly clock: Clock
  readonly logger: BusLogger
  readonly maxBytes: () => number
}

export class Server {
  readonly service: BusService
  readonly routes: readonly Route[]
  readonly #parts: ServerParts
  #underWay = 0
  #idle: PromiseWithResolvers<void> | undefined

  constructor(service: BusService, handlers: Handlers<ServiceDefinition>, options: ServeOptions, parts: ServerParts) {
    this.service = service
    this.#parts = parts
    const outer = [traceServer, errorsServer(parts.logger), overload(options.concurrency), deadlineServer]
    this.routes = Object.entries(service.definition.methods).map(([name, method]) => {
      const handler = handlers[name]
      if (handler === undefined) throw new TypeError(`no handler for ${service.definition.name}.${method.name}`)
      const handle = onion(outer, (exchange, call) => handler(exchange.request, call))
      return this.#route(method, subjectOf(service, method, options.host), handle)
    })
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    if (this.#underWay === 0) return
    this.#idle ??= Promise.withResolvers<void>()
    await this.#idle.promise
  }

  /** Answers a request from the wire. Never rejects. */
  async answer(route: Route, request: WireRequest): Promise<void> {
    this.#underWay++
    const deadlineMs = this.#deadlineMs(request.headers)
    try {
      const response = await route.run(decodeRequest(route.method, request.data), request.headers)
      request.reply({ error: '', data: this.#encode(route, response) })
    } catch (error) {
      const failure = HeddleError.from(error)
      // Past its deadline the caller has gone.
      if (failure.code !== 'deadline-exceeded' || this.#parts.clock.monotonicMs() < deadlineMs) {
        request.reply({ error: failure.code, data: encodeMessage(Failure, toFailure(failure)) })
      }
    } finally {
      this.#left()
    }
  }

  /** Runs a request of this same process. */
  async run(route: Route, request: unknown, headers: RequestHeaders): Promise<unknown> {
    this.#underWay++
    try {
      return await route.run(request, headers)
    } finally {
      this.#left()
    }
  }

  #left(): void {
    if (--this.#underWay > 0) return
    this.#idle?.resolve()
    this.#idle = undefined
  }

  #route(method: AnyMethod, subject: string, handle: Handle): Route {
    const { clock } = this.#parts
    const { definition, queue } = this.service
    const stats: RouteStats = { requests: 0, errors: 0, lastError: '', processingMs: 0 }
    const run = async (request: unknown, headers: RequestHeaders): Promise<unknown> => {
      const startMs = clock.monotonicMs()
      // The context is set by the outermost interceptor and the signal by the innermost.
      const call: Call = { signal: never, deadlineMs: this.#deadlineMs(headers), context: emptyContext, key: headers.key, clock }
      stats.requests++
      try {
        return await handle({ service: definition.name, responder: queue, method, subject, request, headers }, call)
      } catch (error) {
        stats.errors++
        stats.lastError = HeddleError.from(error).message
        throw error
      } finally {
        stats.processingMs += clock.monotonicMs() - startMs
      }
    }
    return { subject, method, stats, run }
  }

  #deadlineMs(headers: RequestHeaders): number {
    return this.#parts.clock.monotonicMs() + (headers.budgetMs >= 0 ? Math.min(headers.budgetMs, maxBudgetMs) : defaultBudgetMs)
  }

  #encode(route: Route, response: unknown): Uint8Array {
    const codec = route.method.responseType as Codec<unknown>
    const data = encodeMessage(codec, codec.fromPartial(response as object))
    checkSize(`the answer to ${route.subject}`, data, this.#parts.maxBytes(), 'ask for less at once')
    return data
  }
}

/** `maxBytes`: of a whole message. */
export function checkSize(what: string, data: Uint8Array, maxBytes: number, remedy: string): void {
  if (data.length <= maxBytes - headerRoom) return
  throw new HeddleError('unsupported', `${what} has ${data.length} bytes, the bus carries ${maxBytes - headerRoom}`, { remedy })
}

function decodeRequest(method: AnyMethod, data: Uint8Array): unknown {
  try {
    return method.requestType.decode(data)
  } catch (error) {
    throw invalid('', `the request of ${method.name} is not a protobuf message of its type: ${error instanceof Error ? error.message : String(error)}`)
  }
}
