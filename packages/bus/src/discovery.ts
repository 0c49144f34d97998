/**
 * Answers `$SRV.PING|INFO|STATS[.name[.id]]` for what is served here, so that `nats micro ls|info|stats` of the stock CLI
 * shows it. Shapes: NATS ADR-32 (service API). One wildcard subscription for all of them.
 */
import { randomId } from '@heddle/core'
import type { Route, Server } from './server.ts'
import type { Listening, Wire, WireRequest } from './wire.ts'

export interface DiscoveryOptions {
  readonly host: string
  readonly version: string
}

const prefix = '$SRV'

interface Listed {
  readonly server: Server
  readonly id: string
  readonly started: string
}

export class Discovery {
  readonly #wire: Wire
  readonly #options: DiscoveryOptions
  readonly #listed = new Set<Listed>()
  #listening: Listening | undefined

  constructor(wire: Wire, options: DiscoveryOptions) {
    this.#wire = wire
    this.#options = options
  }

  /** Lists a server until the returned function is called. */
  add(server: Server): () => void {
    const listed: Listed = { server, id: randomId(), started: new Date().toISOString() }
    this.#listed.add(listed)
    this.#listening ??= this.#wire.listen(`${prefix}.>`, '', (request) => this.#answer(request))
    return () => this.#listed.delete(listed)
  }

  close(): void {
    void this.#listening?.stop()
  }

  #answer(request: WireRequest): void {
    const [, verb = '', name, id] = request.subject.split('.')
    const describe = verbs[verb]
    if (describe === undefined) return
    for (const listed of this.#listed) {
      if (name !== undefined && name !== listed.server.service.queue) continue
      if (id !== undefined && id !== listed.id) continue
      const identity = { name: listed.server.service.queue, id: listed.id, version: this.#options.version, metadata: { host: this.#options.host } }
      const answer = { type: `io.nats.micro.v1.${verb.toLowerCase()}_response`, ...identity, ...describe(listed) }
      request.reply({ error: '', data: Buffer.from(JSON.stringify(answer)) })
    }
  }
}

const verbs: Readonly<Record<string, (listed: Listed) => object>> = {
  PING: () => ({}),
  INFO: ({ server }) => ({
    description: `${server.service.definition.fullName} of Heddle`,
    endpoints: server.routes.map((route) => endpoint(server, route)),
  }),
  STATS: ({ server, started }) => ({
    started,
    endpoints: server.routes.map((route) => ({ ...endpoint(server, route), ...counters(route) })),
  }),
}

function endpoint(server: Server, { method, subject }: Route) {
  return { name: method.name, subject, queue_group: server.service.queue, metadata: null }
}

/** Times in nanoseconds. */
function counters({ stats }: Route) {
  return {
    num_requests: stats.requests,
    num_errors: stats.errors,
    last_error: stats.lastError,
    processing_time: Math.round(stats.processingMs * 1e6),
    average_processing_time: stats.requests === 0 ? 0 : Math.round((stats.processingMs * 1e6) / stats.requests),
  }
}
