/** Background work: the only place that leaves a promise un-awaited. What is asked for before `open` waits for `start`. */
import { type Clock, HeddleError, sleep } from '@heddle/core'
import type { Logger } from 'pino'
import type { Jobs } from './types.ts'

const jitter = 0.1

export class JobGroup implements Jobs {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #random: () => number
  readonly #ended = new AbortController()
  readonly #running = new Set<Promise<void>>()
  readonly #waiting: (() => void)[] = []
  #open = false

  constructor(clock: Clock, logger: Logger, random: () => number = Math.random) {
    this.#clock = clock
    this.#logger = logger
    this.#random = random
  }

  /** From now on what is asked for runs at once: a part that starts may need its job to become ready. */
  open(): void {
    this.#open = true
  }

  /** Runs what was asked for before `open`: all parts it may use have started. */
  start(): void {
    this.open()
    for (const launch of this.#waiting.splice(0)) launch()
  }

  every(name: string, intervalMs: number, task: (signal: AbortSignal) => Promise<void>, options: { readonly immediately?: boolean } = {}): void {
    this.#launch(name, async (signal) => {
      if (options.immediately !== true) await this.#pause(intervalMs)
      while (!signal.aborted) {
        await this.#attempt(name, task)
        await this.#pause(intervalMs)
      }
    })
  }

  once(name: string, task: (signal: AbortSignal) => Promise<void>): void {
    this.#launch(name, () => this.#attempt(name, task))
  }

  async stop(): Promise<void> {
    this.#ended.abort(new HeddleError('cancelled', 'the process stops'))
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  #launch(name: string, body: (signal: AbortSignal) => Promise<void>): void {
    if (this.#ended.signal.aborted) return
    if (!this.#open) {
      this.#waiting.push(() => this.#launch(name, body))
      return
    }
    const job = body(this.#ended.signal).catch((error: unknown) => {
      if (!this.#ended.signal.aborted) this.#logger.error({ err: error, job: name }, 'a background job ended')
    })
    this.#running.add(job)
    void job.then(() => this.#running.delete(job))
  }

  /** A failure of the task is logged and does not end its job. */
  async #attempt(name: string, task: (signal: AbortSignal) => Promise<void>): Promise<void> {
    try {
      await task(this.#ended.signal)
    } catch (error) {
      if (!this.#ended.signal.aborted) this.#logger.warn({ err: error, job: name }, 'a background job failed')
    }
  }

  /** Many processes started together do not stay in step. */
  #pause(intervalMs: number): Promise<void> {
    return sleep(this.#clock, Math.round(intervalMs * (1 - jitter + 2 * jitter * this.#random())), this.#ended.signal)
  }
}
