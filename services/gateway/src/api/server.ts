/** The public API: gRPC on `heddle.sock` and, where configured, on TCP with mutual TLS; with health and reflection. */
import { chmodSync, readFileSync } from 'node:fs'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { HealthImplementation, type ServingStatus } from 'grpc-health-check'
import { claimSocketPath } from '../door.ts'
import type { FlowParts } from '../flows/parts.ts'
import { addReflection } from './reflection.ts'
import { type ApiHandlers, addApi } from './service.ts'

export interface ApiServerOptions {
  readonly path: string
  readonly timeoutMs: number
  /** `host:port` and files in PEM; absent: no TCP. */
  readonly tcp: { readonly listen: string; readonly caFile: string; readonly certFile: string; readonly keyFile: string } | undefined
}

const maxMessageBytes = 64 << 20

export class ApiServer {
  readonly #options: ApiServerOptions
  readonly #server: Server
  readonly #health = new HealthImplementation({ '': 'NOT_SERVING', 'heddle.v1.Heddle': 'NOT_SERVING' })

  constructor(parts: FlowParts, handlers: ApiHandlers, options: ApiServerOptions) {
    this.#options = options
    this.#server = new Server({ 'grpc.max_send_message_length': maxMessageBytes, 'grpc.keepalive_time_ms': 60_000 })
    addApi(this.#server, parts, handlers, options.timeoutMs)
    this.#health.addToServer(this.#server)
    addReflection(this.#server)
  }

  async start(): Promise<void> {
    const { path, tcp } = this.#options
    await claimSocketPath(path)
    await this.#bind(`unix:${path}`, ServerCredentials.createInsecure())
    // Until here the directory's mode guards it: the bind is asynchronous, and a changed umask would be everybody's.
    chmodSync(path, 0o600)
    if (tcp !== undefined) {
      const pair = { private_key: readFileSync(tcp.keyFile), cert_chain: readFileSync(tcp.certFile) }
      await this.#bind(tcp.listen, ServerCredentials.createSsl(readFileSync(tcp.caFile), [pair], true))
    }
    this.serving(true)
  }

  serving(ready: boolean): void {
    const status: ServingStatus = ready ? 'SERVING' : 'NOT_SERVING'
    for (const service of ['', 'heddle.v1.Heddle']) this.#health.setStatus(service, status)
  }

  async stop(signal: AbortSignal): Promise<void> {
    this.serving(false)
    const force = () => this.#server.forceShutdown()
    signal.addEventListener('abort', force, { once: true })
    await new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()))
    signal.removeEventListener('abort', force)
  }

  #bind(address: string, credentials: ServerCredentials): Promise<void> {
    return new Promise((resolve, reject) => this.#server.bindAsync(address, credentials, (error) => (error === null ? resolve() : reject(error))))
  }
}
