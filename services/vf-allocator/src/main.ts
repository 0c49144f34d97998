/** The vf-allocator service: a brain. Its parts are put together here and nowhere else. */
import type { Bus, Serving } from '@heddle/bus'
import { busServices } from '@heddle/contract'
import { raceCall, withCall } from '@heddle/core'
import type { ServiceMain } from '@heddle/runtime'
import type { Store } from '@heddle/store'
import { type VfAllocatorConfig, vfAllocatorConfig } from './config.ts'
import { vfAllocatorHandlers } from './handlers.ts'
import { VfRepo } from './repo.ts'
import { ClaimSweep } from './sweep.ts'

/** For the first reading of everything there is. */
const startTimeoutMs = 60_000

export interface VfAllocatorParts {
  readonly bus: Bus
  readonly store: Store
}

export const vfAllocatorService: ServiceMain<VfAllocatorParts, VfAllocatorConfig> = {
  name: 'vf-allocator',
  summary: 'inventory of SR-IOV virtual functions and the claims on them',
  config: vfAllocatorConfig,
  build({ clock, hook, check, jobs, logger }, { bus, store }, config) {
    let repo: VfRepo | undefined
    let serving: Serving | undefined
    hook({
      name: 'vf-allocator',
      async start(signal) {
        const opened = new VfRepo(store, clock)
        repo = opened
        await withCall({ timeoutMs: startTimeoutMs, signal, clock }, (call) => raceCall(opened.ready, call))
        const networks = bus.client(busServices.networks)
        serving = await bus.serve(busServices.vfAllocator, vfAllocatorHandlers({ repo: opened, networks, random: Math.random }), {
          concurrency: config.concurrency,
        })
        const sweep = new ClaimSweep(opened, networks, config)
        jobs.every('vf-allocator-sweep', config.sweepIntervalMs, async (sweeping) => {
          const timeoutMs = Math.max(config.sweepIntervalMs, 10_000)
          const swept = await withCall({ timeoutMs, signal: sweeping, clock }, (call) => sweep.round(call))
          if (swept.releasing + swept.freed > 0) logger.info(swept, 'gave up VF claims that nobody uses')
        })
      },
      async stop() {
        await serving?.stop()
        await repo?.close()
      },
    })
    check('vf-allocator', () => ({
      ok: serving !== undefined && store.healthy,
      message: serving === undefined ? 'the inventory is being loaded' : store.healthy ? 'serving' : 'etcd does not answer',
    }))
  },
}
