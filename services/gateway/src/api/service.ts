/** gRPC dialect: each unary method as a call with a deadline; a failure as its status, the whole of it in the trailer. */

import { Metadata, type Server, type ServerUnaryCall, type ServiceError, type sendUnaryData } from '@grpc/grpc-js'
import { Failure, type HeddleServer, HeddleService } from '@heddle/contract'
import { type Call, HeddleError, toFailure } from '@heddle/core'
import { pluginCall } from '../door.ts'
import type { FlowParts } from '../flows/parts.ts'

/** Trailer that carries the encoded Failure. */
export const failureTrailer = 'heddle-failure-bin'

type RequestOf<M extends keyof HeddleServer> = HeddleServer[M] extends (call: ServerUnaryCall<infer Request, infer _>, callback: never) => void
  ? Request
  : never
type ResponseOf<M extends keyof HeddleServer> = HeddleServer[M] extends (call: ServerUnaryCall<infer _, infer Response>, callback: never) => void
  ? Response
  : never

export type ApiHandlers = {
  readonly [M in keyof HeddleServer as string extends M ? never : number extends M ? never : M]: (request: RequestOf<M>, call: Call) => Promise<ResponseOf<M>>
}

export function addApi(server: Server, parts: FlowParts, handlers: ApiHandlers, timeoutMs: number): void {
  const implementation = Object.fromEntries(
    Object.entries(handlers).map(([method, handle]) => [
      method,
      (unary: ServerUnaryCall<never, never>, callback: sendUnaryData<never>) => {
        const gone = new AbortController()
        unary.on('cancelled', () => gone.abort(new HeddleError('cancelled', 'the client ended its call')))
        const options = { name: `api ${method}`, attributes: {}, timeoutMs: budgetMs(unary, timeoutMs), key: '', signal: gone.signal, trace: traceOf(unary) }
        pluginCall(parts, options, (call) => (handle as (request: never, call: Call) => Promise<never>)(unary.request, call)).then(
          (response) => callback(null, response),
          (error: unknown) => callback(asServiceError(error)),
        )
      },
    ]),
  )
  server.addService(HeddleService, implementation)
}

/** The client's own deadline if it is shorter. */
function budgetMs(unary: ServerUnaryCall<never, never>, timeoutMs: number): number {
  const deadline = unary.getDeadline()
  const leftMs = (deadline instanceof Date ? deadline.getTime() : deadline) - Date.now()
  return Math.max(1, Math.min(timeoutMs, Number.isFinite(leftMs) ? leftMs : timeoutMs))
}

function traceOf(unary: ServerUnaryCall<never, never>) {
  const read = (key: string) => String(unary.metadata.get(key)[0] ?? '')
  return { traceparent: read('traceparent'), tracestate: read('tracestate') }
}

function asServiceError(error: unknown): Partial<ServiceError> {
  const failure = HeddleError.from(error)
  const metadata = new Metadata()
  metadata.set(failureTrailer, Buffer.from(Failure.encode(toFailure(failure)).finish()))
  return { name: 'HeddleError', message: failure.message, code: failure.kind.grpc, details: failure.sentence, metadata }
}
