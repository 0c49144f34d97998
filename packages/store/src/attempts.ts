/** Attempts within one call: each with its own deadline, repeated while etcd does not reply. */
import { type Call, remainingMs, sleep } from '@heddle/core'
import { reasonOf } from './port.ts'

/** How long to wait for one reply, so that time is left to find out what became of a lost one. */
export function attemptMs(call: Call): number {
  return Math.min(2_000, Math.max(200, remainingMs(call) / 2))
}

/** Runs `attempt` (1, 2, ...) until it is answered or the call ends; a definite no is final. */
export async function untilReply<T>(call: Call, attempt: (number: number) => Promise<T>): Promise<T> {
  for (let number = 1; ; number++) {
    try {
      return await attempt(number)
    } catch (error) {
      const pauseMs = Math.min(500, 20 * 2 ** (number - 1)) * (0.5 + Math.random() / 2)
      if (reasonOf(error) !== 'no-reply' || call.signal.aborted || pauseMs >= remainingMs(call)) throw error
      await sleep(call.clock, pauseMs, call.signal)
    }
  }
}
