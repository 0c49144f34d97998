/** One victim: started ahead of time, given orders, killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Answer, Order } from './orders.ts'

/** `Omit` keeps no union apart. */
type Unnumbered<T> = T extends unknown ? Omit<T, 'number'> : never

export class Victim {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (answer: Answer | undefined) => void>()
  /** Everything is loaded. */
  readonly ready: Promise<void>
  #count = 0

  constructor() {
    this.#child = spawn(process.execPath, [join(import.meta.dirname, 'victim.js')], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#child.stdin?.on('error', () => {})
    const standby = Promise.withResolvers<void>()
    this.ready = standby.promise
    createInterface(this.#child.stdout as NonNullable<ChildProcess['stdout']>).on('line', (line) => {
      const said = JSON.parse(line) as Answer | 'standby'
      if (said === 'standby') return standby.resolve()
      this.#waiting.get(said.number)?.(said)
      this.#waiting.delete(said.number)
    })
    // Not before all is read that it said.
    this.#child.once('close', () => {
      standby.reject(new Error('a victim ended before it was told anything'))
      for (const answer of this.#waiting.values()) answer(undefined)
      this.#waiting.clear()
    })
  }

  /** Undefined: it was killed before it answered. */
  async order(order: Unnumbered<Order>): Promise<Answer | undefined> {
    await this.ready
    const number = ++this.#count
    const { promise, resolve } = Promise.withResolvers<Answer | undefined>()
    this.#waiting.set(number, resolve)
    this.#child.stdin?.write(`${JSON.stringify({ ...order, number })}\n`)
    return promise
  }

  async kill(): Promise<void> {
    const closed = once(this.#child, 'close')
    this.#child.kill('SIGKILL')
    await closed
  }
}
