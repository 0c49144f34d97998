/** What a caller need not wait for, tried again with growing pauses until it succeeds or is hopeless. */
import { type Call, HeddleError, rootContext, sleep, withCall } from '@heddle/core'
import type { FlowParts } from './parts.ts'

const firstPauseMs = 1000
const maxPauseMs = 60_000
const giveUpAfterMs = 15 * 60_000
const attemptTimeoutMs = 10_000

/** Codes that time or a sweep heals, beside the retryable ones. */
const heals: ReadonlySet<string> = new Set(['network-in-use', 'pool-in-use'])

export function later(parts: Pick<FlowParts, 'jobs' | 'clock' | 'logger' | 'cluster'>, name: string, task: (call: Call) => Promise<void>): void {
  const { clock, logger } = parts
  parts.jobs.once(name, async (signal) => {
    const endMs = clock.monotonicMs() + giveUpAfterMs
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, maxPauseMs)) {
      try {
        return await withCall({ timeoutMs: attemptTimeoutMs, key: name, context: rootContext(parts.cluster.host), signal, clock }, task)
      } catch (error) {
        const failure = HeddleError.from(error)
        if (signal.aborted) return
        if (!(failure.retryable || heals.has(failure.code)) || clock.monotonicMs() + pauseMs > endMs) {
          logger.error({ job: name, failure: failure.sentence }, 'gave up; what it leaves is for the sweeps and for repair to find')
          return
        }
        logger.info({ job: name, failure: failure.message, pauseMs }, 'will be tried again')
      }
      await sleep(clock, pauseMs, signal).catch(() => {})
      if (signal.aborted) return
    }
  })
}
