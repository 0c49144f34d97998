/** Readiness: every named check holds and the process runs. Stalls of the event loop look like network failures, so they are shown. */
import type { LoopDelay } from './loop-delay.ts'
import type { HealthReport } from './types.ts'

type Probe = () => { readonly ok: boolean; readonly message: string }

/** A process stalled for so long answers neither pings nor deadlines in time. */
const stallMs = 1_000

export class Health {
  readonly #checks = new Map<string, Probe>()
  readonly #running: () => boolean
  constructor(running: () => boolean, loop: LoopDelay) {
    this.#running = running
    this.add('process', () => ({ ok: this.#running(), message: this.#running() ? 'running' : 'not running' }))
    this.add('event-loop', () => {
      const delayMs = loop.p99Ms()
      return { ok: delayMs < stallMs, message: `delayed by ${delayMs.toFixed(1)} ms (p99)` }
    })
  }

  add(name: string, probe: Probe): void {
    if (this.#checks.has(name)) throw new TypeError(`there is a check named ${name} already`)
    this.#checks.set(name, probe)
  }

  /** A probe that throws is a check that fails. */
  report(): HealthReport {
    const checks = Object.fromEntries([...this.#checks].map(([name, probe]) => [name, attempt(probe)]))
    return { ready: Object.values(checks).every(({ ok }) => ok), checks }
  }
}

function attempt(probe: Probe): ReturnType<Probe> {
  try {
    return probe()
  } catch (error) {
    return { ok: false, message: error instanceof Error ? error.message : String(error) }
  }
}
