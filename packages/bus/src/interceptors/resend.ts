/**
 * Sending again, within the call's budget. What cannot have arrived (nobody listens, not connected) is sent again with
 * backoff, whatever the method. What may have arrived is sent again only if the method has no side effects; such a method is
 * also asked once more after each third of its budget, the first answer counting, since a responder killed in
 * mid-request says nothing at all. Who answers for the cluster and says `unavailable` is one of several, cut off from its
 * store perhaps while another is not, and does twice what it does once: it is asked again too. Any other failure that
 * came as an answer is the caller's to judge.
 */
import type { Scope } from '@heddle/contract'
import { type Call, HeddleError, remainingMs, sleep } from '@heddle/core'
import { Undelivered } from '../wire.ts'
import type { Interceptor, Next } from './onion.ts'

const firstDelayMs = 5
const maxDelayMs = 250
/** When all of them are unavailable, the fleet that waits must not be what keeps them busy. */
const maxDelayAfterAnswerMs = 1_000
const asks = 3
/** With less left a further attempt could only turn "nobody answers" into "it took too long", which says less. */
const leastMs = 10

export function resend(scope: Scope): Interceptor {
  const isOneOfSeveral = scope === 'cluster'
  return (exchange, call, next) => {
    const isRepeatable = exchange.method.options.idempotencyLevel === 'NO_SIDE_EFFECTS'
    const longestDelayMs = (error: unknown): number | undefined => {
      if (error instanceof Undelivered) return error.arrived === 'no' || isRepeatable ? maxDelayMs : undefined
      return isOneOfSeveral && HeddleError.is(error) && error.code === 'unavailable' ? maxDelayAfterAnswerMs : undefined
    }
    return isRepeatable ? ask(call, next, longestDelayMs) : deliver(call, next, longestDelayMs)
  }
}

/** `longestDelayMs`: of the wait after a failure; undefined when nothing is sent again after it. */
async function deliver(call: Call, next: Next, longestDelayMs: (error: unknown) => number | undefined): Promise<unknown> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await next(call)
    } catch (error) {
      const longestMs = longestDelayMs(error)
      if (longestMs === undefined) throw error
      // Full jitter (a fleet that lost its responder must not come back in step), but never no wait at all.
      const delayMs = 1 + Math.random() * Math.min(longestMs, firstDelayMs * 2 ** attempt)
      if (remainingMs(call) - delayMs < leastMs) throw error
      await sleep(call.clock, delayMs, call.signal).catch(() => {})
      if (remainingMs(call) < leastMs || isOverdue(call)) throw error
      call.signal.throwIfAborted()
    }
  }
}

function isOverdue({ signal }: Call): boolean {
  return signal.aborted && HeddleError.is(signal.reason) && signal.reason.code === 'deadline-exceeded'
}

/** Several deliveries side by side, each later than the one before; what is still open when one ends is given up. */
function ask(call: Call, next: Next, longestDelayMs: (error: unknown) => number | undefined): Promise<unknown> {
  const others = new AbortController()
  const patient: Call = { ...call, signal: others.signal }
  const intervalMs = remainingMs(call) / asks
  let cancelTimer = () => {}
  return new Promise<unknown>((resolve, reject) => {
    const onAbort = () => reject(call.signal.reason)
    const settle = () => call.signal.removeEventListener('abort', onAbort)
    call.signal.addEventListener('abort', onAbort, { once: true })
    const start = (count: number) => {
      deliver(patient, next, longestDelayMs).then(resolve, reject).finally(settle)
      if (count < asks) cancelTimer = call.clock.after(intervalMs, () => start(count + 1))
    }
    if (call.signal.aborted) onAbort()
    else start(1)
  }).finally(() => {
    cancelTimer()
    others.abort(new HeddleError('cancelled', 'another attempt was answered'))
  })
}
