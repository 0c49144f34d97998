/**
 * The id and the name of the container that each endpoint of Docker is for. Docker tells its drivers neither (moby/libnetwork
 * issues 910 and 1490), so its API is asked, behind the answers and only after a change; the records work as well without.
 */
import { HeddleError, rootContext, sleep, withCall } from '@heddle/core'
import type { FlowParts } from '../flows/parts.ts'
import { changedContainers, listContainers } from './engine.ts'
import type { KnownEndpoints } from './known-endpoints.ts'

/** Most containers that end at once are gone before anybody asks for them by name. */
const gatherMs = 500
const reconnectMs = 5000
const putTimeoutMs = 5000

export class ContainerNames {
  readonly #parts: FlowParts
  readonly #known: KnownEndpoints
  readonly #socketPath: string
  /** What to look at; `''`: every container. */
  readonly #changed = new Set<string>()

  constructor(parts: FlowParts, known: KnownEndpoints, socketPath: string) {
    this.#parts = parts
    this.#known = known
    this.#socketPath = socketPath
  }

  start(): void {
    this.#parts.jobs.every('names of containers', reconnectMs, (signal) => this.#follow(signal), { immediately: true })
  }

  /** Until Docker goes. A host without Docker, or one whose API is not for this process, is none to complain about. */
  async #follow(signal: AbortSignal): Promise<void> {
    try {
      for await (const id of changedContainers(this.#socketPath, signal)) {
        if (this.#changed.size === 0) this.#parts.jobs.once('name endpoints', (inner) => this.#look(inner))
        this.#changed.add(id)
      }
    } catch (error) {
      this.#parts.logger.debug({ failure: HeddleError.from(error).message }, 'the names of containers are not known')
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    await sleep(this.#parts.clock, gatherMs, signal)
    const ids = this.#changed.has('') ? [] : [...this.#changed]
    this.#changed.clear()
    for (const { Id, Names, NetworkSettings } of await listContainers(this.#socketPath, ids, signal)) {
      const name = Names.find((one) => one.lastIndexOf('/') === 0)?.slice(1) ?? ''
      for (const { EndpointID = '' } of Object.values(NetworkSettings?.Networks ?? {})) {
        if (EndpointID !== '') await this.#name(EndpointID, Id, name, signal)
      }
    }
  }

  async #name(endpointId: string, containerId: string, containerName: string, signal: AbortSignal): Promise<void> {
    const { cluster, clock, endpoints } = this.#parts
    const options = { timeoutMs: putTimeoutMs, key: `name ${endpointId}`, context: rootContext(cluster.host), signal, clock }
    await withCall(options, (call) =>
      endpoints.run(endpointId, call, async () => {
        const known = await this.#known.find(this.#parts, endpointId, call)
        if (known === undefined || (known.endpoint.containerId === containerId && known.endpoint.containerName === containerName)) return
        const endpoint = { ...known.endpoint, containerId, containerName }
        await cluster.networks.putEndpoint({ endpoint, claimRevision: known.claimRevision }, call)
        this.#known.learn({ ...known, endpoint })
      }),
    )
  }
}
