/** One process: its logger, clock, jobs, health, metrics, tracing, and the order in which its parts start and stop. */
import { type Clock, checkHostName, systemClock } from '@heddle/core'
import type { DestinationStream } from 'pino'
import { Health } from './health.ts'
import { JobGroup } from './jobs.ts'
import { Lifecycle, type Phase } from './lifecycle.ts'
import { createLogger, type LogConfig } from './logger.ts'
import { LoopDelay } from './loop-delay.ts'
import { Metrics } from './metrics.ts'
import { Telemetry } from './telemetry.ts'
import type { Runtime } from './types.ts'

export interface RuntimeOptions {
  /** Of the process: a service's name, or `heddle` where it holds several. */
  readonly name: string
  readonly host: string
  readonly version: string
  readonly log: LogConfig
  readonly otlp?: { readonly endpoint?: string | undefined }
  readonly clock?: Clock
  /** Where log lines go instead of stderr. */
  readonly logSink?: DestinationStream
}

/** A Runtime in the hands of who owns the process. */
export interface RuntimeControl extends Runtime {
  readonly phase: Phase
  /** Names of the hooks in order of start. */
  readonly order: readonly string[]
  /** Runs the start hooks, then the jobs. Rejects with what a hook threw, after everything started was stopped. */
  start(): Promise<void>
  /** Unready at once; jobs, then the hooks in reverse, then the last spans. Never rejects, and ends when the grace does. */
  stop(graceMs?: number): Promise<void>
}

export const defaultGraceMs = 10_000

export function createRuntime(options: RuntimeOptions): RuntimeControl {
  const { name, version, clock = systemClock } = options
  const host = checkHostName(options.host)
  const logger = createLogger({ name, host, log: options.log, ...(options.logSink === undefined ? {} : { sink: options.logSink }) })
  const jobs = new JobGroup(clock, logger)
  const lifecycle = new Lifecycle(logger, { name: 'jobs', stop: () => jobs.stop() })
  const loop = new LoopDelay(clock, logger)
  const health = new Health(() => lifecycle.phase === 'running', loop)
  const metrics = new Metrics()
  const telemetry = new Telemetry({ name, host, version, logger, otlpEndpoint: options.otlp?.endpoint })
  // First to start and last to stop, so that the spans of the others' last moments are kept.
  lifecycle.add({ name: 'telemetry', start: () => telemetry.start(), stop: () => telemetry.stop() })

  return {
    host,
    version,
    logger,
    clock,
    jobs,
    get metrics() {
      return metrics.registry
    },
    get phase() {
      return lifecycle.phase
    },
    get order() {
      return lifecycle.order
    },
    hook: (hook) => lifecycle.add(hook),
    check: (check, probe) => health.add(check, probe),
    health: () => health.report(),
    onSpans: (listener) => telemetry.onSpans(listener),
    async start() {
      jobs.open()
      await lifecycle.start(defaultGraceMs)
      // Only now: loading what is started holds the loop up, and nobody waits yet.
      loop.start()
      jobs.start()
    },
    async stop(graceMs = defaultGraceMs) {
      await lifecycle.stop(graceMs)
      loop.stop()
    },
  }
}
