/** A registered device plugin as its kubelet sees it: the lists it streamed, and the calls it answers. */
import { type Client, type ClientReadableStream, type ClientUnaryCall, credentials, type ServiceError } from '@grpc/grpc-js'
import { type devicePlugin, loadDevicePluginApi } from '@heddle/contract'

const callTimeoutMs = 20_000

export class RegisteredPlugin {
  readonly request: devicePlugin.RegisterRequest
  /** Every list it streamed, in order. */
  readonly lists: (readonly devicePlugin.Device[])[] = []
  /** The stream of lists is over: its devices cannot be given out any more. */
  ended = false
  readonly #client: devicePlugin.DevicePluginClient
  readonly #stream: ClientReadableStream<devicePlugin.ListAndWatchResponse>

  /** Dials the plugin back, as the kubelet does when it has registered. */
  static async dial(socketPath: string, request: devicePlugin.RegisterRequest): Promise<RegisteredPlugin> {
    const { DevicePluginClient } = await loadDevicePluginApi()
    return new RegisteredPlugin(new DevicePluginClient(`unix:${socketPath}`, credentials.createInsecure()), request)
  }

  private constructor(client: devicePlugin.DevicePluginClient, request: devicePlugin.RegisterRequest) {
    this.request = request
    this.#client = client
    this.#stream = client.listAndWatch({})
    this.#stream.on('data', ({ devices }: devicePlugin.ListAndWatchResponse) => this.lists.push(devices))
    const over = () => {
      this.ended = true
    }
    this.#stream.on('error', over)
    this.#stream.on('end', over)
  }

  get devices(): readonly devicePlugin.Device[] {
    return this.lists.at(-1) ?? []
  }

  /** Ids of the devices a pod could get. */
  get healthy(): readonly string[] {
    return this.ended ? [] : this.devices.filter(({ health }) => health === 'Healthy').map(({ ID }) => ID)
  }

  options(): Promise<devicePlugin.DevicePluginOptions> {
    return this.#ask((done) => this.#client.getDevicePluginOptions({}, done))
  }

  async preferred(available: readonly string[], size: number, mustInclude: readonly string[] = []): Promise<readonly string[]> {
    const request = { availableDeviceIDs: [...available], mustIncludeDeviceIDs: [...mustInclude], allocationSize: size }
    const { containerResponses } = await this.#ask<devicePlugin.PreferredAllocationResponse>((done) =>
      this.#client.getPreferredAllocation({ containerRequests: [request] }, done),
    )
    return containerResponses[0]?.deviceIDs ?? []
  }

  /** For each list of ids what its container is given. Rejects with the ServiceError. */
  async allocate(...containers: readonly (readonly string[])[]): Promise<devicePlugin.ContainerAllocateResponse[]> {
    const request = { containerRequests: containers.map((ids) => ({ devicesIds: [...ids] })) }
    return (await this.#ask<devicePlugin.AllocateResponse>((done) => this.#client.allocate(request, done))).containerResponses
  }

  async preStart(ids: readonly string[]): Promise<void> {
    await this.#ask<devicePlugin.PreStartContainerResponse>((done) => this.#client.preStartContainer({ devicesIds: [...ids] }, done))
  }

  close(): void {
    this.#stream.cancel()
    ;(this.#client as Client).close()
  }

  #ask<T>(send: (done: (error: ServiceError | null, answer: T) => void) => ClientUnaryCall): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const sent = send((error, answer) => {
        clearTimeout(timer)
        if (error === null) resolve(answer)
        else reject(error)
      })
      const timer = setTimeout(() => sent.cancel(), callTimeoutMs)
    })
  }
}
