/** Start hooks in order of registration, stop hooks in reverse. A failed start stops what had started. */
import { HeddleError } from '@heddle/core'
import type { Logger } from 'pino'
import type { Hook } from './types.ts'

export type Phase = 'new' | 'starting' | 'running' | 'stopping' | 'stopped'

/** A hook that takes longer is worth a line in the log. */
const slowMs = 500

export class Lifecycle {
  readonly #logger: Logger
  readonly #hooks: Hook[] = []
  #started: Hook[] = []
  #phase: Phase = 'new'
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined
  readonly #abortStart = new AbortController()

  readonly #intake: Hook

  /** `intake` stops before everything else, also when only a part has started. */
  constructor(logger: Logger, intake: Hook) {
    this.#logger = logger
    this.#intake = intake
  }

  get phase(): Phase {
    return this.#phase
  }

  /** Names in order of start. */
  get order(): readonly string[] {
    return this.#hooks.map((hook) => hook.name)
  }

  add(hook: Hook): void {
    if (this.#phase !== 'new') throw new TypeError(`hook ${hook.name} comes too late: the process is ${this.#phase}`)
    this.#hooks.push(hook)
  }

  /** Rejects with what a hook threw, after what had started was stopped; with `cancelled` when `stop` came first. */
  start(graceMs: number): Promise<void> {
    this.#starting ??= this.#start(graceMs)
    return this.#starting
  }

  /** Legal at any time, any number of times. Never rejects; resolves at the latest when `graceMs` are over. */
  stop(graceMs: number): Promise<void> {
    this.#abortStart.abort(new HeddleError('cancelled', 'the process stops'))
    if (this.#phase === 'running') this.#phase = 'stopping'
    this.#stopping ??= this.#stop(graceMs)
    return this.#stopping
  }

  /** A hook that is deaf to its signal is not waited for beyond the grace; what had started before it is stopped all the same. */
  async #stop(graceMs: number): Promise<void> {
    const beganMs = performance.now()
    const over = Promise.withResolvers<void>()
    const timer = setTimeout(over.resolve, graceMs)
    await Promise.race([this.#starting?.catch(() => {}), over.promise])
    clearTimeout(timer)
    await this.#stopStarted(Math.max(0, graceMs - (performance.now() - beganMs)))
  }

  async #start(graceMs: number): Promise<void> {
    const { signal } = this.#abortStart
    this.#phase = 'starting'
    try {
      for (const hook of this.#hooks) {
        signal.throwIfAborted()
        await this.#timed(hook.name, 'started', async () => hook.start?.(signal))
        this.#started.push(hook)
      }
      signal.throwIfAborted()
      this.#phase = 'running'
    } catch (error) {
      await this.#stopStarted(graceMs)
      throw error
    }
  }

  async #stopStarted(graceMs: number): Promise<void> {
    this.#phase = 'stopping'
    const grace = new AbortController()
    const over = Promise.withResolvers<'over'>()
    const timer = setTimeout(() => {
      grace.abort(new HeddleError('deadline-exceeded', `the grace of ${graceMs} ms is over`))
      over.resolve('over')
    }, graceMs)
    const hooks = [this.#intake, ...this.#started.reverse()]
    this.#started = []
    for (const hook of hooks) {
      const stopped = this.#timed(hook.name, 'stopped', async () => hook.stop?.(grace.signal)).catch((error: unknown) => {
        this.#logger.error({ err: error, hook: hook.name }, 'a part did not stop cleanly')
      })
      if ((await Promise.race([stopped, over.promise])) === 'over') this.#logger.warn({ hook: hook.name, graceMs }, 'a part did not stop within the grace')
    }
    clearTimeout(timer)
    this.#phase = 'stopped'
  }

  async #timed(hook: string, verb: string, body: () => Promise<void> | undefined): Promise<void> {
    const startMs = performance.now()
    await body()
    const tookMs = Math.round(performance.now() - startMs)
    this.#logger[tookMs > slowMs ? 'info' : 'debug']({ hook, tookMs }, `${hook} ${verb}`)
  }
}
