/**
 * Sending again, within the call's budget. What cannot have arrived (nobody listens, not connected) is sent again with
 * backoff, whatever the method. What may have arrived is sent again only if the method has no side effects; such a method is
 * also asked once more after each third of its budget, the first answer counting, since a responder killed in
 * mid-request says nothing at all. A failure that came as an answer is the caller's to judge.
 */
import { type Call, HeddleError, remainingMs, sleep } from '@heddle/core'
import { Undelivered } from '../wire.ts'
import type { Interceptor, Next } from './onion.ts'

const firstDelayMs = 5
const maxDelayMs = 250
const asks = 3
/** With less left a further attempt could only turn "nobody answers" into "it took too long", which says less. */
const leastMs = 10

export const resend: Interceptor = (exchange, call, next) =>
  exchange.method.options.idempotencyLevel === 'NO_SIDE_EFFECTS' ? ask(call, next) : deliver(call, next, false)

async function deliver(call: Call, next: Next, repeatable: boolean): Promise<unknown> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await next(call)
    } catch (error) {
      if (!(error instanceof Undelivered) || (error.arrived === 'maybe' && !repeatable)) throw error
      // Full jitter (a fleet that lost its responder must not come back in step), but never no wait at all.
      const delayMs = 1 + Math.random() * Math.min(maxDelayMs, firstDelayMs * 2 ** attempt)
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
function ask(call: Call, next: Next): Promise<unknown> {
  const others = new AbortController()
  const patient: Call = { ...call, signal: others.signal }
  const intervalMs = remainingMs(call) / asks
  let cancelTimer = () => {}
  return new Promise<unknown>((resolve, reject) => {
    const onAbort = () => reject(call.signal.reason)
    const settle = () => call.signal.removeEventListener('abort', onAbort)
    call.signal.addEventListener('abort', onAbort, { once: true })
    const start = (count: number) => {
      deliver(patient, next, true).then(resolve, reject).finally(settle)
      if (count < asks) cancelTimer = call.clock.after(intervalMs, () => start(count + 1))
    }
    if (call.signal.aborted) onAbort()
    else start(1)
  }).finally(() => {
    cancelTimer()
    others.abort(new HeddleError('cancelled', 'another attempt was answered'))
  })
}
