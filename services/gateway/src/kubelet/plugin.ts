/**
 * One resource as a device plugin: a socket in the kubelet's directory, its registration, and the lists it streams. A kubelet
 * that starts empties the directory and knows no plugin: then it is served and registered anew.
 */
import { chmodSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { credentials, Server, ServerCredentials } from '@grpc/grpc-js'
import type { devicePlugin, loadDevicePluginApi } from '@heddle/contract'
import { type Call, KeyedQueue } from '@heddle/core'
import { claimSocketPath } from '../door.ts'
import { askKubelet } from './client.ts'
import type { Resource } from './devices.ts'
import type { KubeletParts, Reservations } from './reservations.ts'
import { devicePluginService, type ListStream, pluginOptions } from './service.ts'
import { identityOf, socketNameOf } from './sockets.ts'

const apiVersion = 'v1beta1'
/** A kubelet that has registered a plugin asks for its list at once; one that does not has forgotten it. */
const unwatchedMs = 5000
/** For calls under way, and for the last list to be read. */
const drainMs = 1000

/** Loaded. */
type Api = Awaited<ReturnType<typeof loadDevicePluginApi>>

export interface PluginOptions {
  readonly api: Api
  readonly pluginDir: string
  readonly kubeletSocket: string
  readonly timeoutMs: number
}

export class DevicePlugin {
  readonly #parts: KubeletParts
  readonly #reservations: Reservations
  readonly #options: PluginOptions
  readonly #path: string
  readonly #streams = new Set<ListStream>()
  readonly #queue = new KeyedQueue()
  #resource: Resource
  /** Encoded: what every stream was last told. */
  #told: Buffer | undefined
  #server: Server | undefined
  #socket: string | undefined
  /** The kubelet it is registered with. */
  #registeredWith: string | undefined
  #watchedAtMs = 0
  #stopped = false

  constructor(parts: KubeletParts, reservations: Reservations, resource: Resource, options: PluginOptions) {
    this.#parts = parts
    this.#reservations = reservations
    this.#resource = resource
    this.#options = options
    this.#path = join(options.pluginDir, socketNameOf(resource.name))
  }

  /** Streams the devices when they differ from those streamed last. */
  update(resource: Resource): void {
    this.#resource = resource
    const list = Buffer.from(this.#options.api.ListAndWatchResponse.encode(this.#list()).finish())
    if (this.#told?.equals(list) === true) return
    this.#told = list
    for (const stream of this.#streams) stream.write(this.#list())
  }

  /** Serves and registers where either is wanting. Fails with unavailable when the kubelet does not take the registration. */
  reconcile(call: Call): Promise<void> {
    return this.#queue.run('', async () => {
      // A kubelet that was removed took its directory along.
      if (this.#stopped || !existsSync(this.#options.pluginDir)) return
      if (this.#server === undefined || identityOf(this.#path) !== this.#socket) await this.#serve()
      const kubelet = identityOf(this.#options.kubeletSocket)
      if (kubelet === undefined || (kubelet === this.#registeredWith && !this.#isForgotten())) return
      await this.#register(call)
      this.#registeredWith = kubelet
      this.#watchedAtMs = this.#parts.clock.monotonicMs()
      this.#parts.logger.info({ resource: this.#resource.name, socket: this.#path, devices: this.#resource.offers.size }, 'registered with the kubelet')
    })
  }

  /** Its socket is gone when it returns; the kubelet keeps what it has allocated. */
  stop(): Promise<void> {
    this.#stopped = true
    return this.#queue.run('', () => this.#close())
  }

  #list(): devicePlugin.ListAndWatchResponse {
    return { devices: [...this.#resource.offers.values()].map(({ device }) => device) }
  }

  async #serve(): Promise<void> {
    await this.#close()
    await claimSocketPath(this.#path)
    const server = new Server()
    const watch = (stream: ListStream) => this.#watch(stream)
    const options = { timeoutMs: this.#options.timeoutMs, resource: () => this.#resource, watch }
    server.addService(this.#options.api.DevicePluginService, devicePluginService(this.#parts, this.#reservations, options))
    await new Promise<void>((resolve, reject) =>
      server.bindAsync(`unix:${this.#path}`, ServerCredentials.createInsecure(), (error) => (error === null ? resolve() : reject(error))),
    )
    this.#server = server
    chmodSync(this.#path, 0o600)
    this.#socket = identityOf(this.#path)
  }

  /** The socket's file goes with it. */
  async #close(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    this.#registeredWith = undefined
    for (const stream of this.#streams) stream.end()
    this.#streams.clear()
    const enough = this.#parts.clock.after(drainMs, () => server.forceShutdown())
    await new Promise<void>((resolve) => server.tryShutdown(() => resolve()))
    enough()
  }

  #watch(stream: ListStream): void {
    this.#streams.add(stream)
    const ended = () => {
      if (this.#streams.delete(stream)) this.#watchedAtMs = this.#parts.clock.monotonicMs()
    }
    for (const event of ['cancelled', 'close', 'error']) stream.on(event, ended)
    stream.write(this.#list())
  }

  #isForgotten(): boolean {
    return this.#streams.size === 0 && this.#parts.clock.monotonicMs() - this.#watchedAtMs > unwatchedMs
  }

  async #register(call: Call): Promise<void> {
    const request = { version: apiVersion, endpoint: socketNameOf(this.#resource.name), resourceName: this.#resource.name, options: pluginOptions }
    const connection = new this.#options.api.RegistrationClient(`unix:${this.#options.kubeletSocket}`, credentials.createInsecure())
    await askKubelet(connection, (client, ...rest) => client.register(request, ...rest), call)
  }
}
