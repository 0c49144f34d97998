/** Interceptors wrap a request on both of its sides; the first of a list is the outermost. */
import type { Call } from '@heddle/core'
import type { AnyMethod } from '../types.ts'
import type { RequestHeaders } from '../wire.ts'

/** One request, on the side of the caller or of the responder. */
export interface Exchange {
  /** `Ipam`. */
  readonly service: string
  /** Workspace service that answers: `ipam`. */
  readonly responder: string
  readonly method: AnyMethod
  readonly subject: string
  /** As the caller wrote it, or as the responder decoded it. */
  readonly request: unknown
  /** Filled by the caller's interceptors, read by the responder's. */
  readonly headers: RequestHeaders
}

export type Next = (call: Call) => Promise<unknown>
export type Interceptor = (exchange: Exchange, call: Call, next: Next) => Promise<unknown>
export type Handle = (exchange: Exchange, call: Call) => Promise<unknown>

export function onion(interceptors: readonly Interceptor[], innermost: Handle): Handle {
  return interceptors.reduceRight<Handle>((next, interceptor) => (exchange, call) => interceptor(exchange, call, (inner) => next(exchange, inner)), innermost)
}
