/**
 * How late timers fire. Whoever waits for a process whose event loop is held up sees a slow network and looks in the wrong
 * place, so the process itself says so: once when a minute was late, once when one is not any more.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Clock } from '@heddle/core'
import type { Logger } from 'pino'

const resolutionMs = 20
const windowMs = 60_000
/** What every request would notice. One collection of garbage in a minute is below the 99th percentile. */
const lateMs = 20

export class LoopDelay {
  readonly #clock: Clock
  readonly #logger: Logger
  #histogram: ReturnType<typeof monitorEventLoopDelay> | undefined
  #cancel: () => void = () => {}
  #lastMs = 0
  #late = false

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#logger = logger
  }

  start(): void {
    if (this.#histogram !== undefined) return
    this.#histogram = monitorEventLoopDelay({ resolution: resolutionMs })
    this.#histogram.enable()
    this.#cancel = this.#clock.after(windowMs, () => this.#endWindow())
  }

  stop(): void {
    this.#cancel()
    this.#histogram?.disable()
  }

  /** 99th percentile of this window or the one before, whichever is worse. */
  p99Ms(): number {
    return Math.max(this.#lastMs, this.#nowMs())
  }

  #nowMs(): number {
    if (this.#histogram === undefined || this.#histogram.count === 0) return 0
    // The histogram holds the whole interval between two samples.
    return Math.max(0, this.#histogram.percentile(99) / 1e6 - resolutionMs)
  }

  #endWindow(): void {
    this.#lastMs = this.#nowMs()
    this.#histogram?.reset()
    this.#cancel = this.#clock.after(windowMs, () => this.#endWindow())
    const late = this.#lastMs > lateMs
    if (late === this.#late) return
    this.#late = late
    const fields = { p99Ms: Math.round(this.#lastMs), windowMs }
    if (late) this.#logger.warn(fields, 'the event loop is held up: answers and deadlines are late, whatever the network does')
    else this.#logger.info(fields, 'the event loop keeps up again')
  }
}
