/** The networks service: a brain. Its parts are put together here and nowhere else. */
import type { Bus, Serving } from '@heddle/bus'
import { busServices } from '@heddle/contract'
import { raceCall, withCall } from '@heddle/core'
import type { ServiceMain } from '@heddle/runtime'
import type { Store } from '@heddle/store'
import { type NetworksConfig, networksConfig } from './config.ts'
import { networksHandlers } from './handlers.ts'
import { NetworksRepo } from './repo.ts'
import { EndpointSweep } from './sweep.ts'

/** For the first reading of everything there is. */
const startTimeoutMs = 60_000

export interface NetworksParts {
  readonly bus: Bus
  readonly store: Store
}

export const networksService: ServiceMain<NetworksParts, NetworksConfig> = {
  name: 'networks',
  summary: 'networks and endpoints: the CNM controller',
  config: networksConfig,
  build(runtime, { bus, store }, config) {
    const logger = runtime.logger.child({ service: 'networks' })
    let repo: NetworksRepo | undefined
    let serving: Serving | undefined
    runtime.check('networks.store', () => ({ ok: store.healthy, message: store.healthy ? 'etcd answers' : 'etcd does not answer' }))
    runtime.hook({
      name: 'networks',
      async start(signal) {
        repo = new NetworksRepo(store, logger)
        const { ready } = repo
        await withCall({ timeoutMs: startTimeoutMs, signal, clock: runtime.clock }, (call) => raceCall(ready, call))
        serving = await bus.serve(busServices.networks, networksHandlers(repo))
        const sweep = new EndpointSweep(repo, bus, runtime.clock, logger, config)
        runtime.jobs.every('networks.sweep', config.sweepIntervalMs, (signal) => sweep.round(signal))
      },
      async stop() {
        await serving?.stop()
        await repo?.close()
      },
    })
  },
}
