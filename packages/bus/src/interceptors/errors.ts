/** Only errors of the catalogue leave the bus, on either side. */
import { HeddleError } from '@heddle/core'
import type { BusLogger } from '../types.ts'
import type { Interceptor } from './onion.ts'

export const errorsClient: Interceptor = async (_exchange, call, next) => {
  try {
    return await next(call)
  } catch (error) {
    throw HeddleError.from(error)
  }
}

/** What a handler throws that is not of the catalogue is a defect: logged here with its stack, `internal` for the caller. */
export function errorsServer(logger: BusLogger): Interceptor {
  return async (exchange, call, next) => {
    try {
      return await next(call)
    } catch (error) {
      const failure = HeddleError.from(error)
      if (failure.code === 'internal') logger.error({ err: error, subject: exchange.subject, key: call.key }, 'a bus handler failed')
      throw failure
    }
  }
}
