/**
 * Docker's plugin protocol: HTTP POST on a unix socket. Docker has no timeout of its own and holds a lock while it
 * waits, so every answer comes within the deadline; it keeps connections for ever, and a request it repeats after a
 * lost connection has no body, which must be refused rather than taken for an empty one.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import { HeddleError, invalid, raceCall, withCall } from '@heddle/core'
import type { z } from 'zod'
import { CallsUnderWay, listenUnix, pluginCall, traceRefusal } from '../door.ts'
import type { FlowParts } from '../flows/parts.ts'
import type { Route } from './route.ts'

export interface DockerServerOptions {
  readonly path: string
  readonly timeoutMs: number
  readonly routes: ReadonlyMap<string, Route>
}

const contentType = 'application/vnd.docker.plugins.v1.2+json'
const maxBodyBytes = 1024 * 1024

interface Reply {
  readonly status: number
  readonly body: object
}

export class DockerServer {
  readonly #parts: FlowParts
  readonly #options: DockerServerOptions
  readonly #server: Server
  readonly #answering = new Set<Promise<void>>()
  readonly #calls = new CallsUnderWay()

  constructor(parts: FlowParts, options: DockerServerOptions) {
    this.#parts = parts
    this.#options = options
    this.#server = createServer({ keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0 }, (request, response) => {
      const answering = this.#serve(request, response).finally(() => this.#answering.delete(answering))
      this.#answering.add(answering)
    })
  }

  async start(): Promise<void> {
    await listenUnix(this.#server, this.#options.path)
  }

  /** Hears nobody new, answers what is under way (the slow with a failure) unless the signal aborts first, and cuts the idle connections. */
  async stop(signal: AbortSignal): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    const aborted = new Promise<void>((resolve) => (signal.aborted ? resolve() : signal.addEventListener('abort', () => resolve(), { once: true })))
    const stopDraining = this.#calls.drain(this.#parts.clock)
    await Promise.race([Promise.all(this.#answering), aborted])
    stopDraining()
    this.#server.closeAllConnections()
    await closed
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = this.#calls.begin()
    response.once('close', () => {
      this.#calls.end(gone)
      gone.abort(new HeddleError('cancelled', 'Docker closed the connection'))
    })
    const { status, body } = await this.#reply(request, gone.signal)
    if (response.destroyed) return
    // The rest of a body that was refused unread would be taken for the next request: Docker is told that there is none here.
    const unread = !(await isRead(request))
    response.writeHead(status, { 'content-type': contentType, ...(unread ? { connection: 'close' } : {}) })
    await new Promise<void>((resolve) => {
      response.once('close', resolve)
      response.end(`${JSON.stringify(body)}\n`, resolve)
    })
    if (unread) request.destroy()
  }

  async #reply(request: IncomingMessage, signal: AbortSignal): Promise<Reply> {
    const method = (request.url ?? '').split('?', 1)[0]?.slice(1) ?? ''
    const route = this.#options.routes.get(method)
    if (route === undefined) return refusal(404, invalid('method', `${method.slice(0, 80)} is not a method of this plugin`))
    if (request.method !== 'POST') return refusal(405, invalid('method', `${method} takes POST only`))
    let body: unknown
    try {
      body = route.schema === undefined ? {} : parseBody(route.schema, await this.#read(request, signal))
    } catch (error) {
      await traceRefusal(this.#parts, `docker ${method}`, error)
      return refusal(error instanceof TooBig ? 413 : 400, HeddleError.from(error))
    }
    try {
      return { status: 200, body: await this.#run(method, route, body, signal) }
    } catch (error) {
      const failure = HeddleError.from(error)
      if (failure.code === 'internal') this.#parts.logger.error({ err: error, method }, 'a plugin call failed')
      return refusal(500, failure)
    }
  }

  async #read(request: IncomingMessage, signal: AbortSignal): Promise<string> {
    const { timeoutMs } = this.#options
    try {
      return await withCall({ timeoutMs, signal, clock: this.#parts.clock }, (call) => raceCall(readBody(request), call))
    } catch (error) {
      if (HeddleError.from(error).code !== 'deadline-exceeded') throw error
      throw invalid('body', `the body of the request was not there within ${timeoutMs} ms`, 'repeat the operation')
    }
  }

  #run(method: string, route: Route, body: unknown, signal: AbortSignal): Promise<object> {
    if (route.trace === undefined)
      return withCall({ timeoutMs: this.#options.timeoutMs, signal, clock: this.#parts.clock }, (call) => raceCall(route.handle(body, call), call))
    const { attributes, key, traceparent } = route.trace(body)
    const options = {
      name: `docker ${method}`,
      attributes,
      timeoutMs: this.#options.timeoutMs,
      key,
      signal,
      ...(traceparent === undefined ? {} : { trace: { traceparent } }),
    }
    return pluginCall(this.#parts, options, (call) => route.handle(body, call))
  }
}

/** Drops what is there of a body that nobody asked for; false when more is still to come. */
async function isRead(request: IncomingMessage): Promise<boolean> {
  if (request.complete) return true
  request.resume()
  await setImmediate()
  return request.complete
}

class TooBig extends HeddleError {}

function parseBody(schema: z.ZodType, text: string): unknown {
  if (text.trim() === '') throw invalid('body', 'the request has no body', 'repeat the operation; Docker sends no body when it repeats a request itself')
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw invalid('body', `the request is not JSON: ${(error as Error).message}`)
  }
  const parsed = schema.safeParse(json)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const field = issue?.path.join('.') || 'body'
  throw invalid(field, `${field}: ${issue?.message ?? 'is not valid'}`)
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBodyBytes) throw new TooBig('invalid-argument', `the request is larger than ${maxBodyBytes} bytes`, { field: 'body' })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** Docker reads `Err` of its network driver and `Error` of its IPAM driver. */
function refusal(status: number, failure: HeddleError): Reply {
  return { status, body: { Err: failure.sentence, Error: failure.sentence } }
}
