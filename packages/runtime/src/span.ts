/** A finished span as a message of the contract. */
import type { Span } from '@heddle/contract'
import { SpanStatusCode } from '@opentelemetry/api'
import type { RecordedSpan } from './tracer.ts'

export function toSpan(span: RecordedSpan, host: string): Span {
  const { traceId, spanId } = span.spanContext()
  const attributes: Record<string, string> = {}
  for (const name in span.attributes) attributes[name] = String(span.attributes[name])
  return {
    traceId,
    spanId,
    parentSpanId: span.parent?.spanId ?? '',
    name: span.name,
    service: span.service,
    host,
    startUnixNs: nanoseconds(span.startMs),
    endUnixNs: nanoseconds(span.endMs),
    failed: span.status.code === SpanStatusCode.ERROR,
    failure: span.status.message ?? '',
    attributes,
  }
}

/** In two parts: a number cannot hold nanoseconds since 1970. */
function nanoseconds(ms: number): bigint {
  const whole = Math.floor(ms)
  return BigInt(whole) * 1_000_000n + BigInt(Math.round((ms - whole) * 1_000_000))
}
