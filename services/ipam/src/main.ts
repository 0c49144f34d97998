/** The ipam service put together. */
import type { Bus, Serving } from '@heddle/bus'
import { busServices } from '@heddle/contract'
import { raceCall, withCall } from '@heddle/core'
import type { ServiceMain } from '@heddle/runtime'
import type { Store } from '@heddle/store'
import { type IpamConfig, ipamConfig } from './config.ts'
import { ipamHandlers } from './handlers.ts'
import { IpamRepo } from './repo.ts'
import { sweep } from './sweep.ts'

/** For the first reading of everything there is. */
const startTimeoutMs = 60_000

export interface IpamParts {
  readonly bus: Bus
  readonly store: Store
}

export const ipamService: ServiceMain<IpamParts, IpamConfig> = {
  name: 'ipam',
  summary: 'address pools and the claims on them',
  config: ipamConfig,
  build({ clock, hook, check, jobs, logger }, { bus, store }, config) {
    let repo: IpamRepo | undefined
    let serving: Serving | undefined
    hook({
      name: 'ipam',
      async start(signal) {
        repo = new IpamRepo(store, clock, logger)
        const { ready } = repo
        await withCall({ timeoutMs: startTimeoutMs, signal, clock }, (call) => raceCall(ready, call))
        serving = await bus.serve(busServices.ipam, ipamHandlers({ repo, random: Math.random }), { concurrency: config.concurrency })
        const networks = bus.client(busServices.networks)
        jobs.every('ipam-sweep', config.sweepIntervalMs, async (sweeping) => {
          const swept = await withCall({ timeoutMs: Math.max(config.sweepIntervalMs, 10_000), signal: sweeping, clock }, (call) =>
            sweep(repo as IpamRepo, networks, config, call),
          )
          if (swept.claims + swept.provisionalClaims + swept.pools > 0) logger.info(swept, 'freed what nobody uses')
        })
      },
      async stop() {
        await serving?.stop()
        await repo?.close()
      },
    })
    check('ipam', () => ({
      ok: serving !== undefined && store.healthy,
      message: serving === undefined ? 'pools are being loaded' : store.healthy ? 'serving' : 'etcd does not answer',
    }))
  },
}
