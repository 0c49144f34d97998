/**
 * The kubelet's side of the device plugin API v1beta1 and of the pod resources API v1, on sockets in a directory of its own.
 * As the real one: it empties its directory when it starts, dials back who registers, gives a device to one pod at a time,
 * and never tells a plugin that a pod is gone.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData, status, type UntypedServiceImplementation } from '@grpc/grpc-js'
import { type devicePlugin, loadDevicePluginApi, loadPodResourcesApi, type podResources } from '@heddle/contract'
import { RegisteredPlugin } from './plugin.ts'

const patienceMs = 20_000

interface Pod {
  readonly resource: string
  readonly ids: readonly string[]
}

export class TestKubelet {
  /** Of every Register, in order. */
  readonly registrations: devicePlugin.RegisterRequest[] = []
  readonly pluginDir: string
  readonly podResourcesSocket: string
  /** What pods have; survives a restart, as the kubelet's checkpoint does. */
  readonly pods = new Map<string, Pod>()
  /** Resources it does not let register. */
  readonly refused = new Set<string>()
  /** What the pod resources API fails with; undefined: it answers. */
  podResourcesFailure: string | undefined
  /** How often the pod resources API was asked. */
  podResourcesAsked = 0
  readonly #plugins = new Map<string, RegisteredPlugin>()
  #server: Server | undefined
  #podServer: Server | undefined

  constructor(directory: string) {
    this.pluginDir = join(directory, 'device-plugins')
    this.podResourcesSocket = join(directory, 'pod-resources/kubelet.sock')
  }

  get socketPath(): string {
    return join(this.pluginDir, 'kubelet.sock')
  }

  async start(): Promise<this> {
    mkdirSync(this.pluginDir, { recursive: true })
    for (const name of readdirSync(this.pluginDir)) rmSync(join(this.pluginDir, name), { force: true })
    const { RegistrationService } = await loadDevicePluginApi()
    const register = ({ request }: ServerUnaryCall<devicePlugin.RegisterRequest, devicePlugin.Empty>, callback: sendUnaryData<devicePlugin.Empty>) => {
      this.#register(request).then(
        () => callback(null, {}),
        (error: unknown) => callback({ code: status.UNKNOWN, details: String(error) }),
      )
    }
    this.#server = await serve(this.socketPath, RegistrationService, { register })
    return this
  }

  /** Serves the pod resources API too. */
  async servePodResources(): Promise<void> {
    mkdirSync(join(this.podResourcesSocket, '..'), { recursive: true })
    const { PodResourcesListerService } = await loadPodResourcesApi()
    const list = (_call: unknown, callback: sendUnaryData<podResources.ListPodResourcesResponse>) => {
      this.podResourcesAsked++
      if (this.podResourcesFailure !== undefined) return callback({ code: status.INTERNAL, details: this.podResourcesFailure })
      const answered = [...this.pods].map(([name, { resource, ids }]) => ({
        name,
        namespace: 'default',
        containers: [{ name: 'app', devices: [{ resourceName: resource, deviceIds: [...ids] }] }],
      }))
      callback(null, { podResources: answered })
    }
    this.#podServer = await serve(this.podResourcesSocket, PodResourcesListerService, { list })
  }

  /** Waits until the resource is registered and its first list has come. */
  async plugin(resource: string): Promise<RegisteredPlugin> {
    await this.until(`${resource} is registered`, () => (this.#plugins.get(resource)?.lists.length ?? 0) > 0)
    return this.#plugins.get(resource) as RegisteredPlugin
  }

  /** Waits until the resource's list has what is wanted. */
  async list(resource: string, wanted: (plugin: RegisteredPlugin) => boolean): Promise<RegisteredPlugin> {
    await this.until(`the list of ${resource} is as it should be`, () => {
      const plugin = this.#plugins.get(resource)
      return plugin !== undefined && plugin.lists.length > 0 && wanted(plugin)
    })
    return this.#plugins.get(resource) as RegisteredPlugin
  }

  /** Admits a pod of one container: prefers, allocates, starts. Rejects with the plugin's ServiceError. */
  async admit(name: string, resource: string, count: number): Promise<devicePlugin.ContainerAllocateResponse> {
    const plugin = await this.plugin(resource)
    const taken = new Set([...this.pods.values()].flatMap(({ ids }) => ids))
    const available = plugin.healthy.filter((id) => !taken.has(id))
    if (available.length < count) throw new Error(`${resource}: ${available.length} of ${count} devices are available`)
    const ids = await plugin.preferred(available, count)
    const [given] = await plugin.allocate(ids)
    if (given === undefined) throw new Error('the plugin answered for no container')
    this.pods.set(name, { resource, ids })
    await plugin.preStart(ids)
    return given
  }

  /** Ends it and starts it anew. */
  async restart(): Promise<void> {
    await this.#stopRegistration()
    await this.start()
  }

  async stop(): Promise<void> {
    await this.#stopRegistration()
    this.#podServer?.forceShutdown()
  }

  /** Rejects when it is not so within twenty seconds. */
  async until(what: string, isSo: () => boolean): Promise<void> {
    for (const giveUp = Date.now() + patienceMs; !isSo(); await pause(10)) if (Date.now() > giveUp) throw new Error(`timed out: ${what}`)
  }

  async #register(request: devicePlugin.RegisterRequest): Promise<void> {
    this.registrations.push(request)
    if (request.version !== 'v1beta1') throw new Error(`version ${request.version} is not supported`)
    if (this.refused.has(request.resourceName)) throw new Error(`resource ${request.resourceName} is not valid`)
    const path = join(this.pluginDir, request.endpoint)
    if (!existsSync(path)) throw new Error(`${path} does not exist`)
    this.#plugins.get(request.resourceName)?.close()
    this.#plugins.set(request.resourceName, await RegisteredPlugin.dial(path, request))
  }

  async #stopRegistration(): Promise<void> {
    for (const plugin of this.#plugins.values()) plugin.close()
    this.#plugins.clear()
    this.#server?.forceShutdown()
    this.#server = undefined
  }
}

async function serve(path: string, service: Parameters<Server['addService']>[0], implementation: UntypedServiceImplementation): Promise<Server> {
  rmSync(path, { force: true })
  const server = new Server()
  server.addService(service, implementation)
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) => (error === null ? resolve() : reject(error))),
  )
  return server
}
