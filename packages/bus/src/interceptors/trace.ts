/** One client and one server span a request, in one trace; W3C Trace Context in the headers. */
import { extractTrace, failSpan, injectTrace, spanTimeMs, withService } from '@heddle/core'
import { type Span, SpanKind, trace } from '@opentelemetry/api'
import type { Interceptor, Next } from './onion.ts'

const tracer = trace.getTracer('heddle')

export const traceClient: Interceptor = (exchange, call, next) => {
  const attributes = { 'heddle.key': call.key, 'heddle.subject': exchange.subject }
  const span = tracer.startSpan(`bus ${exchange.service}.${exchange.method.name}`, { kind: SpanKind.CLIENT, attributes, startTime: spanTimeMs() }, call.context)
  const context = trace.setSpan(call.context, span)
  Object.assign(exchange.headers, injectTrace(context))
  return finish(span, next({ ...call, context }))
}

/** Starts from the headers alone: whatever context is ambient where the message is read belongs to somebody else. */
export const traceServer: Interceptor = (exchange, call, next) => {
  const parent = withService(extractTrace(exchange.headers), exchange.responder)
  const attributes = { 'heddle.key': call.key }
  const span = tracer.startSpan(`${exchange.service}.${exchange.method.name}`, { kind: SpanKind.SERVER, attributes, startTime: spanTimeMs() }, parent)
  return finish(span, next({ ...call, context: trace.setSpan(parent, span) }))
}

async function finish(span: Span, outcome: ReturnType<Next>): Promise<unknown> {
  try {
    return await outcome
  } catch (error) {
    failSpan(span, error)
    throw error
  } finally {
    span.end(spanTimeMs())
  }
}
