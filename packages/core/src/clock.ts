/** Time as a parameter, so that simulation can own it. Deadlines use `monotonicMs`; only records carry wall time. */
export interface Clock {
  /** Milliseconds that never go back; only differences mean anything. */
  monotonicMs(): number
  /** RFC 3339 wall time, UTC. For people and records, never for decisions. */
  timestamp(): string
  /** Milliseconds since 1970. */
  wallMs(): number
  /** Calls back once after `delayMs`; the returned function cancels. */
  after(delayMs: number, callback: () => void): () => void
}

/** The last one made: thousands of records a second are stamped, and few of them in a millisecond of their own. */
let stamp = { ms: 0, text: '' }

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  timestamp() {
    const ms = Date.now()
    if (ms !== stamp.ms) stamp = { ms, text: new Date(ms).toISOString() }
    return stamp.text
  },
  wallMs: () => Date.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(delayMs, 2 ** 31 - 1))
    return () => clearTimeout(timer)
  },
}

/** Resolves after `delayMs`, or rejects with the signal's reason when it aborts first. */
export function sleep(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error)
    const cancel = clock.after(delayMs, () => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    })
    const onAbort = () => {
      cancel()
      reject(signal.reason as Error)
    }
    signal.addEventListener('abort', onAbort, { once: true })
  })
}
