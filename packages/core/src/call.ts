/**
 * What travels with every operation: when it must be done, how it is cancelled, which trace it belongs to, and the key
 * under which doing it twice is doing it once. Passed last, always; nothing invents its own timer or trace.
 */

import { type Attributes, type Context, type Span, SpanStatusCode, trace } from '@opentelemetry/api'
import { type Clock, systemClock } from './clock.ts'
import { HeddleError } from './errors.ts'
import { emptyContext } from './trace-context.ts'

export interface Call {
  /** Aborts with a HeddleError as reason: deadline-exceeded or cancelled. */
  readonly signal: AbortSignal
  /** On `clock.monotonicMs()`. */
  readonly deadlineMs: number
  readonly context: Context
  /** Idempotency key: the endpoint id where there is one. */
  readonly key: string
  readonly clock: Clock
}

export interface CallOptions {
  readonly timeoutMs: number
  readonly key?: string
  /** Trace to continue; a new one starts otherwise. Never the ambient one. */
  readonly context?: Context
  /** The caller's own cancellation (a closed connection, a process that stops). */
  readonly signal?: AbortSignal
  readonly clock?: Clock
}

/** Milliseconds left, never negative. */
export function remainingMs(call: Call): number {
  return Math.max(0, call.deadlineMs - call.clock.monotonicMs())
}

/** Runs `body` with a fresh call and frees its timer afterwards. */
export async function withCall<T>(options: CallOptions, body: (call: Call) => Promise<T>): Promise<T> {
  const clock = options.clock ?? systemClock
  const controller = new AbortController()
  const stop = clock.after(options.timeoutMs, () =>
    controller.abort(new HeddleError('deadline-exceeded', `no result within ${Math.round(options.timeoutMs)} ms`)),
  )
  const parent = options.signal
  const onParentAbort = () => controller.abort(HeddleError.is(parent?.reason) ? parent.reason : new HeddleError('cancelled', 'the caller went away'))
  if (parent?.aborted) onParentAbort()
  else parent?.addEventListener('abort', onParentAbort, { once: true })
  try {
    return await body({
      signal: controller.signal,
      deadlineMs: clock.monotonicMs() + options.timeoutMs,
      context: options.context ?? emptyContext,
      key: options.key ?? '',
      clock,
    })
  } finally {
    stop()
    parent?.removeEventListener('abort', onParentAbort)
  }
}

/** Rejects as soon as the call is aborted; the promise's own late outcome is then ignored. */
export function raceCall<T>(promise: Promise<T>, call: Call): Promise<T> {
  if (call.signal.aborted) {
    promise.catch(() => {})
    return Promise.reject(call.signal.reason as Error)
  }
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(call.signal.reason as Error)
    call.signal.addEventListener('abort', onAbort, { once: true })
    const settle = () => call.signal.removeEventListener('abort', onAbort)
    promise.then(
      (value) => {
        settle()
        resolve(value)
      },
      (error: unknown) => {
        settle()
        reject(error as Error)
      },
    )
  })
}

const tracer = trace.getTracer('heddle')

/** Runs `body` in a child span; the body's call carries it. Failures end the span as failed and are thrown on. */
export async function withSpan<T>(call: Call, name: string, attributes: Attributes, body: (call: Call, span: Span) => Promise<T>): Promise<T> {
  const span = tracer.startSpan(name, { attributes, startTime: spanTimeMs() }, call.context)
  try {
    return await body({ ...call, context: trace.setSpan(call.context, span) }, span)
  } catch (error) {
    failSpan(span, error)
    throw error
  } finally {
    span.end(spanTimeMs())
  }
}

/** Now, as times of spans are given: Unix milliseconds with fractions. The SDK's own clock counts whole milliseconds. */
export const spanTimeMs = (): number => performance.timeOrigin + performance.now()

/** A finished child span with known times (kernel operations are timed on their worker). Unix milliseconds, fractions kept. */
export function recordSpan(call: Call, name: string, startMs: number, endMs: number, attributes: Attributes, failure?: string): void {
  const span = tracer.startSpan(name, { attributes, startTime: startMs }, call.context)
  if (failure !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: failure })
  span.end(endMs)
}

export function failSpan(span: Span, error: unknown): void {
  const failure = HeddleError.from(error)
  span.setAttribute('heddle.error.code', failure.code)
  span.setStatus({ code: SpanStatusCode.ERROR, message: failure.message })
}

/** The same call without its deadline's end: for undo, which must run although the call that needs it has failed. */
export function undoCall(call: Call, timeoutMs: number): CallOptions {
  return { timeoutMs, key: call.key, context: call.context, clock: call.clock }
}
