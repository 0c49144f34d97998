/** Readiness: every named check holds and the process runs. Stalls of the event loop look like network failures, so they are shown. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { HealthReport } from './types.ts'

type Probe = () => { readonly ok: boolean; readonly message: string }

/** A process stalled for so long answers neither pings nor deadlines in time. */
const stallMs = 1_000
const resolutionMs = 20
const windowMs = 60_000

export class Health {
  readonly #checks = new Map<string, Probe>()
  readonly #running: () => boolean
  readonly #loop = new LoopDelay()

  constructor(running: () => boolean) {
    this.#running = running
    this.add('process', () => ({ ok: this.#running(), message: this.#running() ? 'running' : 'not running' }))
    this.add('event-loop', () => {
      const delayMs = this.#loop.p99Ms()
      return { ok: delayMs < stallMs, message: `delayed by ${delayMs.toFixed(1)} ms (p99)` }
    })
  }

  add(name: string, probe: Probe): void {
    if (this.#checks.has(name)) throw new TypeError(`there is a check named ${name} already`)
    this.#checks.set(name, probe)
  }

  start(): void {
    this.#loop.start()
  }

  stop(): void {
    this.#loop.stop()
  }

  /** A probe that throws is a check that fails. */
  report(): HealthReport {
    const checks = Object.fromEntries([...this.#checks].map(([name, probe]) => [name, attempt(probe)]))
    return { ready: Object.values(checks).every(({ ok }) => ok), checks }
  }
}

/** How late timers fire, over about the last minute. */
class LoopDelay {
  #histogram: ReturnType<typeof monitorEventLoopDelay> | undefined
  #since = 0

  start(): void {
    this.#histogram = monitorEventLoopDelay({ resolution: resolutionMs })
    this.#histogram.enable()
    this.#since = performance.now()
  }

  stop(): void {
    this.#histogram?.disable()
  }

  p99Ms(): number {
    if (this.#histogram === undefined || this.#histogram.count === 0) return 0
    // The histogram holds the whole interval between two samples.
    const delayMs = Math.max(0, this.#histogram.percentile(99) / 1e6 - resolutionMs)
    if (performance.now() - this.#since > windowMs) {
      this.#histogram.reset()
      this.#since = performance.now()
    }
    return delayMs
  }
}

function attempt(probe: Probe): ReturnType<Probe> {
  try {
    return probe()
  } catch (error) {
    return { ok: false, message: error instanceof Error ? error.message : String(error) }
  }
}
