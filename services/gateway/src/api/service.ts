/** gRPC dialect: each unary method as a call with a deadline; a failure as its status, the whole of it in the trailer. */

import { Metadata, type Server, type ServerUnaryCall, type ServiceError, type sendUnaryData, type UntypedServiceImplementation } from '@grpc/grpc-js'
import { Failure, type HeddleDefinition, HeddleService, type RequestOf, type ResponseOf } from '@heddle/contract'
import { type Call, HeddleError, toFailure } from '@heddle/core'
import { pluginCall } from '../door.ts'
import type { FlowParts } from '../flows/parts.ts'

/** What changes something is worth a place among the last traces; `heddle trace show last` must not show itself. */
const kept: ReadonlySet<string> = new Set(['createNetwork', 'deleteNetwork', 'setVfs', 'repairVfs', 'putVfPool', 'deleteVfPool'])

/** Drivers make and put back VFs one after the other, of some cards for minutes: how long that is waited for, the client says. */
const slow: ReadonlySet<string> = new Set(['setVfs', 'repairVfs'])
const slowTimeoutMs = 600_000

/** Trailer that carries the encoded Failure. */
export const failureTrailer = 'heddle-failure-bin'

type Methods = typeof HeddleDefinition.methods

export type ApiHandlers = {
  readonly [M in keyof Methods]: (request: RequestOf<Methods[M]>, call: Call) => Promise<ResponseOf<Methods[M]>>
}

type AnyHandler = (request: unknown, call: Call) => Promise<unknown>
type AnyCall = ServerUnaryCall<unknown, unknown>

export function addApi(server: Server, parts: FlowParts, handlers: ApiHandlers, timeoutMs: number): void {
  const implementation: UntypedServiceImplementation = Object.fromEntries(
    Object.entries(handlers).map(([method, handle]) => [
      method,
      (unary: AnyCall, callback: sendUnaryData<unknown>) => {
        const gone = new AbortController()
        unary.on('cancelled', () => gone.abort(new HeddleError('cancelled', 'the client ended its call')))
        const options = {
          name: `api ${method}`,
          attributes: {},
          timeoutMs: budgetMs(unary, slow.has(method) ? slowTimeoutMs : timeoutMs),
          key: '',
          signal: gone.signal,
          trace: traceOf(unary),
          kept: kept.has(method),
        }
        const answer = async (call: Call) => {
          await parts.endpoints.freed(call)
          return (handle as AnyHandler)(unary.request, call)
        }
        pluginCall(parts, options, answer).then(
          (response) => callback(null, response),
          (error: unknown) => callback(asServiceError(error)),
        )
      },
    ]),
  )
  server.addService(HeddleService, implementation)
}

/** The client's own deadline if it is shorter. */
export function budgetMs(unary: Pick<AnyCall, 'getDeadline'>, timeoutMs: number): number {
  const deadline = unary.getDeadline()
  const leftMs = (deadline instanceof Date ? deadline.getTime() : deadline) - Date.now()
  return Math.max(1, Math.min(timeoutMs, Number.isFinite(leftMs) ? leftMs : timeoutMs))
}

function traceOf(unary: AnyCall) {
  const read = (key: string) => String(unary.metadata.get(key)[0] ?? '')
  return { traceparent: read('traceparent'), tracestate: read('tracestate') }
}

/** As its gRPC status; the whole of the failure in the trailer. */
export function asServiceError(error: unknown): Partial<ServiceError> {
  const failure = HeddleError.from(error)
  const metadata = new Metadata()
  metadata.set(failureTrailer, Buffer.from(Failure.encode(toFailure(failure)).finish()))
  return { name: 'HeddleError', message: failure.message, code: failure.kind.grpc, details: failure.sentence, metadata }
}
