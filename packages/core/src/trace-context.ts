/**
 * The trace of a Call on the wire: W3C Trace Context (https://www.w3.org/TR/trace-context/) to and from an OTel context,
 * and two facts that travel inside a process with it: which service is at work, and which host's gateway keeps the trace.
 */
import {
  type Context,
  createContextKey,
  createTraceState,
  INVALID_SPANID,
  INVALID_TRACEID,
  ROOT_CONTEXT,
  type SpanContext,
  type TraceState,
  trace,
} from '@opentelemetry/api'

/** The list-member of `tracestate` that names the host whose gateway keeps the trace. */
export const originMember = 'heddle'

const serviceKey = createContextKey('heddle.service')
const originKey = createContextKey('heddle.origin')
const traceparentSyntax = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)/

/** A context is a chain of what was added: the API's own copies everything it holds for each value. */
class Chain implements Context {
  readonly #rest: Context
  readonly #key: symbol
  readonly #value: unknown

  constructor(rest: Context, key: symbol, value: unknown) {
    this.#rest = rest
    this.#key = key
    this.#value = value
  }

  getValue(key: symbol): unknown {
    return key === this.#key ? this.#value : this.#rest.getValue(key)
  }

  setValue(key: symbol, value: unknown): Context {
    return new Chain(this, key, value)
  }

  deleteValue(key: symbol): Context {
    return new Chain(this, key, undefined)
  }
}

/** Where every context of ours begins. */
export const emptyContext: Context = new Chain(ROOT_CONTEXT, originKey, undefined)

export interface TraceHeaders {
  /** Empty when there is no trace. */
  readonly traceparent: string
  readonly tracestate: string
}

const noTrace: TraceHeaders = { traceparent: '', tracestate: '' }

export function injectTrace(context: Context): TraceHeaders {
  const span = trace.getSpanContext(context)
  if (span === undefined || span.traceId === INVALID_TRACEID) return noTrace
  return {
    traceparent: `00-${span.traceId}-${span.spanId}-${(span.traceFlags & 0xff).toString(16).padStart(2, '0')}`,
    tracestate: span.traceState === undefined ? '' : serialized(span.traceState),
  }
}

/** A context from headers alone, never from the ambient one; what is malformed counts as absent (W3C section 3.2.2). */
export function extractTrace(headers: TraceHeaders): Context {
  const span = parseTraceparent(headers.traceparent)
  if (span === undefined) return emptyContext
  return trace.setSpanContext(emptyContext, headers.tracestate === '' ? span : { ...span, traceState: parsed(headers.tracestate) })
}

/**
 * Where a trace starts or enters Heddle. Spans made under it carry `originHost` in their tracestate; `headers` continues
 * somebody else's trace (TRACEPARENT and TRACESTATE of the CNI environment).
 */
export function rootContext(originHost: string, headers: Partial<TraceHeaders> = noTrace): Context {
  const span = parseTraceparent(headers.traceparent ?? '')
  const root = emptyContext.setValue(originKey, originHost)
  if (span === undefined) return root
  return trace.setSpanContext(root, { ...span, traceState: originState(originHost, createTraceState(headers.tracestate ?? '')) })
}

/** The host given to `rootContext`, for the sampler that puts it into a new trace. */
export function originOf(context: Context): string | undefined {
  return context.getValue(originKey) as string | undefined
}

/** Spans made under the returned context are this service's. */
export function withService(context: Context, service: string): Context {
  return context.setValue(serviceKey, service)
}

export function serviceOf(context: Context): string | undefined {
  return context.getValue(serviceKey) as string | undefined
}

function parseTraceparent(traceparent: string): SpanContext | undefined {
  const parts = traceparentSyntax.exec(traceparent)
  if (parts === null) return undefined
  const [, traceId = '', spanId = '', flags = ''] = parts
  // The syntax has made sure of everything else.
  if (traceId === INVALID_TRACEID || spanId === INVALID_SPANID) return undefined
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
}

/** The trace state of a trace that this host keeps: what others wrote into it stays. */
export function originState(originHost: string, others?: TraceState): TraceState {
  if (others !== undefined) return others.set(originMember, originHost)
  if (originHost !== lastOrigin.host) lastOrigin = { host: originHost, state: createTraceState().set(originMember, originHost) }
  return lastOrigin.state
}

/** Nearly every request carries one of a few trace states (one a host), and they never change: the last of each kind is kept. */
let lastOrigin = { host: '', state: createTraceState() }
let lastParsed = { text: '', state: createTraceState() }
let lastSerialized = { state: createTraceState(), text: '' }

function parsed(text: string): TraceState {
  if (text !== lastParsed.text) lastParsed = { text, state: createTraceState(text) }
  return lastParsed.state
}

function serialized(state: TraceState): string {
  if (state !== lastSerialized.state) lastSerialized = { state, text: state.serialize() }
  return lastSerialized.text
}
