/**
 * One operation at a time per endpoint. The caller stops waiting at its deadline; the operation keeps its place until
 * it has finished undoing itself, so that what comes next for the endpoint never meets it half done.
 */
import { type Call, KeyedQueue, raceCall } from '@heddle/core'

export class EndpointQueue {
  readonly #queue = new KeyedQueue()
  readonly #running = new Set<Promise<unknown>>()
  readonly #attaching = new Map<string, number>()
  readonly #watches = new Set<Set<string>>()
  readonly #behind = new Set<Promise<unknown>>()

  run<T>(endpointId: string, call: Call, task: () => Promise<T>): Promise<T> {
    return raceCall(this.#enqueue(endpointId, call, task), call)
  }

  /** The same, and the endpoint counts as being attached until it is done. */
  runAttach<T>(endpointId: string, call: Call, task: () => Promise<T>): Promise<T> {
    this.#count(endpointId, 1)
    for (const seen of this.#watches) seen.add(endpointId)
    const running = this.#enqueue(endpointId, call, task)
    const done = () => this.#count(endpointId, -1)
    running.then(done, done)
    return raceCall(running, call)
  }

  /** The same, but answered as soon as `task` says so: the rest of it is done behind the answer, and `freed` waits for it. */
  runBehind(endpointId: string, call: Call, task: (answer: () => void) => Promise<void>): Promise<void> {
    const answered = Promise.withResolvers<void>()
    const running = this.#enqueue(endpointId, call, () =>
      task(() => {
        // Not before: one that waits for its turn may wait for whoever calls `freed`.
        this.#behind.add(running)
        answered.resolve()
      }),
    )
    running.then(answered.resolve, answered.reject).finally(() => this.#behind.delete(running))
    return raceCall(answered.promise, call)
  }

  /** Resolves when nothing is being done behind an answer: who asks after the answer must find what it says is so. */
  async freed(call: Call): Promise<void> {
    if (this.#behind.size > 0) await raceCall(Promise.allSettled(this.#behind), call)
  }

  /**
   * Runs `task` with the endpoints that have an attach under way or waiting, and every one whose attach begins until `task`
   * has ended, be it over by then.
   */
  async whileAttaching<T>(task: (attaching: ReadonlySet<string>) => Promise<T>): Promise<T> {
    const seen = new Set(this.#attaching.keys())
    this.#watches.add(seen)
    try {
      return await task(seen)
    } finally {
      this.#watches.delete(seen)
    }
  }

  /** Resolves when everything under way has finished, undo included. */
  async idle(): Promise<void> {
    await Promise.all(this.#running)
  }

  /** A call whose time was over while it waited for its turn does nothing. */
  #enqueue<T>(endpointId: string, call: Call, task: () => Promise<T>): Promise<T> {
    const running = this.#queue.run(endpointId, () => (call.signal.aborted ? Promise.reject(call.signal.reason as Error) : task()))
    const settled: Promise<unknown> = running.then(
      () => this.#running.delete(settled),
      () => this.#running.delete(settled),
    )
    this.#running.add(settled)
    return running
  }

  #count(endpointId: string, change: 1 | -1): void {
    const count = (this.#attaching.get(endpointId) ?? 0) + change
    if (count === 0) this.#attaching.delete(endpointId)
    else this.#attaching.set(endpointId, count)
  }
}
