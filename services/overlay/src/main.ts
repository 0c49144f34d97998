/** The overlay service: a brain. Its parts are put together here and nowhere else. */
import type { Bus, Serving } from '@heddle/bus'
import { busServices } from '@heddle/contract'
import { raceCall, withCall } from '@heddle/core'
import type { ServiceMain } from '@heddle/runtime'
import type { Store } from '@heddle/store'
import { type OverlayConfig, overlayConfig } from './config.ts'
import { overlayHandlers } from './handlers.ts'
import { PeerPublisher } from './peers.ts'
import { OverlayRepo } from './repo.ts'
import { VniSweep } from './sweep.ts'

/** For the first reading of everything there is. */
const startTimeoutMs = 60_000

export interface OverlayParts {
  readonly bus: Bus
  readonly store: Store
}

export const overlayService: ServiceMain<OverlayParts, OverlayConfig> = {
  name: 'overlay',
  summary: 'VNIs, hosts with their VTEPs, and peer tables',
  config: overlayConfig,
  build(runtime, { bus, store }, config) {
    const logger = runtime.logger.child({ service: 'overlay' })
    const peers = new PeerPublisher(bus, logger)
    let repo: OverlayRepo | undefined
    let serving: Serving | undefined
    runtime.check('overlay.store', () => ({ ok: store.healthy, message: store.healthy ? 'etcd answers' : 'etcd does not answer' }))
    runtime.hook({
      name: 'overlay',
      async start(signal) {
        const opened = new OverlayRepo(store, config, logger, peers)
        repo = opened
        await withCall({ timeoutMs: startTimeoutMs, signal, clock: runtime.clock }, async (call) => {
          await raceCall(opened.ready, call)
          await raceCall(peers.start(store), call)
        })
        serving = await bus.serve(busServices.overlay, overlayHandlers(opened, peers, config.hostTtlMs))
        const sweep = new VniSweep(opened, bus, runtime.clock, logger, config.vniGraceMs)
        runtime.jobs.every('overlay.sweep', config.sweepIntervalMs, (sweeping) => sweep.round(sweeping))
        runtime.jobs.every('overlay.beat', config.beatIntervalMs, async () => {
          if (store.healthy) peers.beat()
        })
      },
      async stop() {
        await serving?.stop()
        await peers.stop()
        await repo?.close()
      },
    })
  },
}
