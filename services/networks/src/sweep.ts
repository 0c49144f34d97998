/**
 * Deletes endpoint records whose host says that their interface is gone, or their sandbox where the interface is another
 * plugin's. Every replica may: each deletion names the revision judged.
 */

import type { Bus } from '@heddle/bus'
import { busServices } from '@heddle/contract'
import { type Clock, withCall } from '@heddle/core'
import type { Logger } from 'pino'
import type { NetworksConfig } from './config.ts'
import { judge, type Observation, type Presence } from './domain/judge.ts'
import type { NetworksRepo } from './repo.ts'

const hostsAtOnce = 16

export class EndpointSweep {
  readonly #repo: NetworksRepo
  readonly #bus: Bus
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #config: NetworksConfig
  #observations: ReadonlyMap<string, Observation> = new Map()

  constructor(repo: NetworksRepo, bus: Bus, clock: Clock, logger: Logger, config: NetworksConfig) {
    this.#repo = repo
    this.#bus = bus
    this.#clock = clock
    this.#logger = logger
    this.#config = config
  }

  async round(signal: AbortSignal): Promise<void> {
    const attached = await this.#askHosts(this.#repo.hosts, signal)
    await withCall({ timeoutMs: 30_000, signal, clock: this.#clock }, async (call) => {
      const endpoints = await this.#repo.endpoints({ id: '', networkId: '', host: '' }, call)
      const verdict = judge(endpoints, attached, this.#observations, this.#clock.monotonicMs(), this.#config)
      this.#observations = verdict.observations
      for (const { id, revision, host, state, networkName } of verdict.delete) {
        const deleted = await this.#repo.deleteEndpoint(id, call, revision)
        if (deleted !== undefined)
          this.#logger.info({ endpoint: id, host, state, network: networkName }, 'deleted an endpoint whose interface is in no sandbox of its host any more')
      }
    })
  }

  async #askHosts(hosts: readonly string[], signal: AbortSignal): Promise<Map<string, ReadonlyMap<string, Presence>>> {
    const attached = new Map<string, ReadonlyMap<string, Presence>>()
    const waiting = [...hosts]
    const ask = async () => {
      for (let host = waiting.pop(); host !== undefined; host = waiting.pop()) {
        const present = await this.#askHost(host, signal)
        if (present !== undefined) attached.set(host, present)
      }
    }
    await Promise.all(Array.from({ length: hostsAtOnce }, ask))
    return attached
  }

  async #askHost(host: string, signal: AbortSignal): Promise<ReadonlyMap<string, Presence> | undefined> {
    try {
      return await withCall({ timeoutMs: this.#config.hostTimeoutMs, signal, clock: this.#clock }, async (call) => {
        const endpoints = await this.#repo.endpoints({ id: '', networkId: '', host }, call)
        const addressed = endpoints.filter(({ state }) => state === 'addressed')
        const asked = [...new Set(addressed.map(({ sandbox }) => sandbox))]
        const { attachments, sandboxes } = await this.#bus.client(busServices.wiring, host).listAttachments({ sandboxes: asked }, call)
        const there = new Set(sandboxes)
        const withSandbox = addressed.filter(({ sandbox }) => there.has(sandbox))
        // Only of Docker's endpoints is the sandbox another's business, and one of kind null has no interface that could wait.
        const mayWait = new Set(endpoints.filter(({ runtime, networkKind }) => runtime === 'docker' && networkKind !== 'null').map(({ id }) => id))
        const present = new Map<string, Presence>(withSandbox.map(({ id }) => [id, 'in use']))
        for (const { endpointId: id, inSandbox } of attachments) present.set(id, inSandbox || !mayWait.has(id) ? 'in use' : 'waiting')
        return present
      })
    } catch (error) {
      this.#logger.debug({ err: error, host }, 'the host did not say what it has: its endpoints are left alone')
      return undefined
    }
  }
}
