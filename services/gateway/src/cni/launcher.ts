/**
 * The launcher at the other end of a connection. It relays the answer to its runtime, and until then runs plugins for us: it
 * has the runtime's environment, mounts and privileges, and a fork of this process would hold up everybody else's calls.
 */
import type { Socket } from 'node:net'
import { type Call, HeddleError, raceCall, remainingMs } from '@heddle/core'
import { encodeOrder, OutcomeReader, type PluginOrder, type PluginOutcome } from './frame.ts'

/** Left of a call's time when a plugin has used up its own, so that this can still be said. */
const reserveMs = 200

export class Launcher {
  readonly #socket: Pick<Socket, 'write' | 'destroyed'>
  /** One order at a time. */
  #last: Promise<unknown> = Promise.resolve()
  #waiting: { readonly reader: OutcomeReader; readonly outcome: PromiseWithResolvers<PluginOutcome> } | undefined

  constructor(socket: Pick<Socket, 'write' | 'destroyed'>) {
    this.#socket = socket
  }

  /** Fails when the launcher goes away, as it does when the runtime ends its call. */
  run(order: Omit<PluginOrder, 'timeoutMs'>, call: Call): Promise<PluginOutcome> {
    const running = this.#last.then(() => {
      if (this.#socket.destroyed || call.signal.aborted) throw gone()
      const outcome = Promise.withResolvers<PluginOutcome>()
      this.#waiting = { reader: new OutcomeReader(), outcome }
      this.#socket.write(encodeOrder({ ...order, timeoutMs: Math.max(1, remainingMs(call) - reserveMs) }))
      return outcome.promise
    })
    this.#last = running.catch(() => {})
    return raceCall(running, call)
  }

  /** What the launcher says after its request. Throws what the reader does. */
  hear(chunk: Buffer): void {
    const outcome = this.#waiting?.reader.push(chunk)
    if (outcome === undefined) return
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.outcome.resolve(outcome)
  }

  left(): void {
    this.#waiting?.outcome.reject(gone())
    this.#waiting = undefined
  }
}

function gone(): HeddleError {
  return new HeddleError('cancelled', 'the CNI runtime ended its call')
}
