/**
 * The id and the names of the container that each endpoint of Docker is for. Docker tells its drivers neither (moby/libnetwork
 * issues 910 and 1490), so its API is asked, behind the answers and only after a change; the records work as well without.
 */
import { Endpoint } from '@heddle/contract'
import { HeddleError, rootContext, sleep, withCall } from '@heddle/core'
import type { FlowParts } from '../flows/parts.ts'
import { changedContainers, inspectContainer, runningContainers } from './engine.ts'
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
    const ids = this.#changed.has('') ? await runningContainers(this.#socketPath, signal) : [...this.#changed]
    this.#changed.clear()
    for (const id of ids) {
      // One that is gone already has no endpoint to name.
      const container = await inspectContainer(this.#socketPath, id, signal).catch(() => undefined)
      for (const { EndpointID, Aliases } of Object.values(container?.NetworkSettings.Networks ?? {})) {
        if (EndpointID === '') continue
        const containerName = container?.Name.replace(/^\//, '') ?? ''
        await this.#name(EndpointID, { containerId: id, containerName, aliases: [...new Set((Aliases ?? []).map((one) => one.toLowerCase()))] }, signal)
      }
    }
  }

  async #name(endpointId: string, names: Pick<Endpoint, 'containerId' | 'containerName' | 'aliases'>, signal: AbortSignal): Promise<void> {
    const { cluster, clock, endpoints } = this.#parts
    const options = { timeoutMs: putTimeoutMs, key: `name ${endpointId}`, context: rootContext(cluster.host), signal, clock }
    await withCall(options, (call) =>
      endpoints.run(endpointId, call, async () => {
        const known = await this.#known.find(this.#parts, endpointId, call)
        if (known === undefined) return
        const endpoint = { ...known.endpoint, ...names }
        if (JSON.stringify(Endpoint.toJSON(endpoint)) === JSON.stringify(Endpoint.toJSON(known.endpoint))) return
        await cluster.networks.putEndpoint({ endpoint, claimRevision: known.claimRevision }, call)
        this.#known.learn({ ...known, endpoint })
      }),
    )
  }
}
