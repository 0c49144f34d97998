/**
 * The caller's remaining budget travels with the request, and bounds the responder's work. A request that waited out its
 * budget (in a queue, in a stalled process) is dropped: nobody waits for the answer.
 */
import { HeddleError, raceCall, remainingMs, withCall } from '@heddle/core'
import type { Interceptor } from './onion.ts'

export const deadlineClient: Interceptor = async (exchange, call, next) => {
  const budgetMs = remainingMs(call)
  // The call's own timer is due in this very moment: it ends with its own sentence, whichever of its questions it was at.
  if (budgetMs === 0) await raceCall(new Promise<never>(() => {}), call)
  call.signal.throwIfAborted()
  exchange.headers.budgetMs = Math.ceil(budgetMs)
  exchange.headers.key = call.key
  return next(call)
}

export const deadlineServer: Interceptor = async (exchange, call, next) => {
  const timeoutMs = remainingMs(call)
  if (timeoutMs === 0) throw overdue(exchange.subject)
  // A handler deaf to its signal must not hold its place, or the stopping of the process, for longer than anybody waits for it.
  return withCall({ timeoutMs, key: call.key, context: call.context, clock: call.clock }, (bounded) => raceCall(next(bounded), bounded))
}

function overdue(subject: string): HeddleError {
  return new HeddleError('deadline-exceeded', `the time for ${subject} was over before it began`)
}
