/**
 * Deletes endpoint records whose host says that their interface is gone, or their sandbox where the interface is another
 * plugin's. Every replica may: each deletion names the revision judged.
 */

import type { Bus } from '@heddle/bus'
import { busServices } from '@heddle/contract'
import { type Clock, withCall } from '@heddle/core'
import type { Logger } from 'pino'
import type { NetworksConfig } from './config.ts'
import { judge, type Observation } from './domain/judge.ts'
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
          this.#logger.info({ endpoint: id, host, state, network: networkName }, 'deleted an endpoint whose interface is gone from its host')
      }
    })
  }

  async #askHosts(hosts: readonly string[], signal: AbortSignal): Promise<Map<string, Set<string>>> {
    const attached = new Map<string, Set<string>>()
    const waiting = [...hosts]
    const ask = async () => {
      for (let host = waiting.pop(); host !== undefined; host = waiting.pop()) {
        const ids = await this.#askHost(host, signal)
        if (ids !== undefined) attached.set(host, ids)
      }
    }
    await Promise.all(Array.from({ length: hostsAtOnce }, ask))
    return attached
  }

  async #askHost(host: string, signal: AbortSignal): Promise<Set<string> | undefined> {
    try {
      return await withCall({ timeoutMs: this.#config.hostTimeoutMs, signal, clock: this.#clock }, async (call) => {
        const endpoints = await this.#repo.endpoints({ id: '', networkId: '', host }, call)
        const addressed = endpoints.filter(({ state }) => state === 'addressed')
        const asked = [...new Set(addressed.map(({ sandbox }) => sandbox))]
        const { attachments, sandboxes } = await this.#bus.client(busServices.wiring, host).listAttachments({ sandboxes: asked }, call)
        const there = new Set(sandboxes)
        const withSandbox = addressed.filter(({ sandbox }) => there.has(sandbox))
        return new Set([...attachments.map(({ endpointId }) => endpointId), ...withSandbox.map(({ id }) => id)])
      })
    } catch (error) {
      this.#logger.debug({ err: error, host }, 'the host did not say what it has: its endpoints are left alone')
      return undefined
    }
  }
}
