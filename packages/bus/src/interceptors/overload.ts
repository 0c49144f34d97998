/**
 * Bounds what a responder does at once. NATS pushes without limit and the client buffers without limit, so what is too
 * much has to be refused here, while the caller still has budget to ask another replica.
 */
import { HeddleError } from '@heddle/core'
import type { Interceptor } from './onion.ts'

export const defaultConcurrency = 256
const waitingPerRunning = 4

export function overload(concurrency: number = defaultConcurrency): Interceptor {
  const waiting: (() => void)[] = []
  let running = 0
  return async (exchange, call, next) => {
    if (running < concurrency) running++
    else if (waiting.length < concurrency * waitingPerRunning) await new Promise<void>((resolve) => waiting.push(resolve))
    else
      throw new HeddleError('overloaded', `${exchange.responder} has more requests than it can answer`, { remedy: 'try again later, or start another replica' })
    try {
      return await next(call)
    } finally {
      // The place is handed on, so that nobody who comes later overtakes who waits.
      const successor = waiting.shift()
      if (successor === undefined) running--
      else successor()
    }
  }
}
