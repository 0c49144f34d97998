/** Retry of what failed retryably, within the call's own budget: full jitter, no attempt that could not finish. */
import { type Call, remainingMs } from './call.ts'
import { sleep } from './clock.ts'
import { HeddleError } from './errors.ts'

export interface RetryOptions {
  readonly firstDelayMs?: number
  readonly maxDelayMs?: number
  readonly maxAttempts?: number
  readonly random?: () => number
}

export async function retry<T>(call: Call, operation: (attempt: number) => Promise<T>, options: RetryOptions = {}): Promise<T> {
  const { firstDelayMs = 20, maxDelayMs = 1000, maxAttempts = Number.POSITIVE_INFINITY, random = Math.random } = options
  for (let attempt = 1; ; attempt++) {
    try {
      return await operation(attempt)
    } catch (error) {
      const failure = HeddleError.from(error)
      const delayMs = random() * Math.min(maxDelayMs, firstDelayMs * 2 ** (attempt - 1))
      if (!failure.retryable || attempt >= maxAttempts || call.signal.aborted || delayMs >= remainingMs(call)) throw failure
      await sleep(call.clock, delayMs, call.signal)
    }
  }
}
