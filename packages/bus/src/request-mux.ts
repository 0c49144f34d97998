/**
 * Many requests, one reply subscription: each awaits its token, the last one of its reply subject. No timer of its own;
 * the call's signal ends a request, and a reply that comes later finds nobody.
 */
import type { Call } from '@heddle/core'
import { Undelivered, type WireReply } from './wire.ts'

interface Pending {
  readonly signal: AbortSignal
  readonly resolve: (reply: WireReply) => void
  readonly reject: (error: unknown) => void
  readonly onAbort: () => void
}

export class RequestMux {
  /** Ends with a dot. */
  readonly #inbox: string
  readonly #pending = new Map<string, Pending>()
  #count = 0

  constructor(inbox: string) {
    this.#inbox = `${inbox}.`
  }

  get size(): number {
    return this.#pending.size
  }

  /** `send` publishes with the reply subject it is given; what it throws rejects the request. */
  request(call: Call, send: (replySubject: string) => void): Promise<WireReply> {
    const { signal } = call
    if (signal.aborted) return Promise.reject(signal.reason as Error)
    const token = (this.#count++).toString(36)
    return new Promise<WireReply>((resolve, reject) => {
      const onAbort = () => this.#take(token)?.reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      this.#pending.set(token, { signal, resolve, reject, onAbort })
      try {
        send(this.#inbox + token)
      } catch (error) {
        this.#take(token)?.reject(error)
      }
    })
  }

  answered(replySubject: string, reply: WireReply): void {
    this.#take(replySubject.slice(this.#inbox.length))?.resolve(reply)
  }

  failed(replySubject: string, error: Undelivered): void {
    this.#take(replySubject.slice(this.#inbox.length))?.reject(error)
  }

  /** The connection is gone, and with it every answer under way. */
  abandon(): void {
    for (const token of [...this.#pending.keys()]) {
      this.#take(token)?.reject(
        new Undelivered('maybe', 'the connection to NATS was lost before the answer came', {
          remedy: 'ask again: whether it was done is not known, doing it twice is safe',
        }),
      )
    }
  }

  #take(token: string): Pending | undefined {
    const pending = this.#pending.get(token)
    if (pending === undefined) return undefined
    this.#pending.delete(token)
    pending.signal.removeEventListener('abort', pending.onAbort)
    return pending
  }
}
