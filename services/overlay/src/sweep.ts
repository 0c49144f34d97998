/** Frees VNIs whose network is gone. Every replica may: each release names the revision judged. */
import type { Bus } from '@heddle/bus'
import { busServices } from '@heddle/contract'
import { allPages, type Call, type Clock, HeddleError, withCall } from '@heddle/core'
import type { Logger } from 'pino'
import { judgeClaims, type Observation } from './domain/judge.ts'
import type { OverlayRepo } from './repo.ts'

const roundTimeoutMs = 20_000

export class VniSweep {
  readonly #repo: OverlayRepo
  readonly #bus: Bus
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #graceMs: number
  #observations: ReadonlyMap<string, Observation> = new Map()

  constructor(repo: OverlayRepo, bus: Bus, clock: Clock, logger: Logger, graceMs: number) {
    this.#repo = repo
    this.#bus = bus
    this.#clock = clock
    this.#logger = logger
    this.#graceMs = graceMs
  }

  async round(signal: AbortSignal): Promise<void> {
    // Before the networks are asked for: a claim made meanwhile is none of this round.
    const claims = this.#repo.claims
    if (claims.length === 0) return
    await withCall({ timeoutMs: roundTimeoutMs, signal, clock: this.#clock }, async (call) => {
      const networks = await allPages(
        (pageToken) => this.#bus.client(busServices.networks).listNetworks({ pageToken }, call),
        (page) => page.networks,
      )
      const networkIds = new Set(networks.map((network) => network.id))
      const { free, observations } = judgeClaims(claims, networkIds, this.#observations, this.#clock.monotonicMs(), this.#graceMs)
      this.#observations = observations
      for (const { networkId, revision } of free) {
        // The list came from a cache; this answer does not.
        if (!(await this.#isGone(networkId, call)) || !(await this.#repo.releaseVni(networkId, call, revision))) continue
        this.#logger.info({ network: networkId }, 'freed the VNI of a network that is gone')
      }
    })
  }

  async #isGone(networkId: string, call: Call): Promise<boolean> {
    try {
      await this.#bus.client(busServices.networks).getNetwork({ id: networkId }, call)
      return false
    } catch (error) {
      if (HeddleError.is(error) && error.code === 'network-unknown') return true
      throw error
    }
  }
}
