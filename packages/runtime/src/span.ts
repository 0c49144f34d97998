/** A finished span of the SDK as a message of the contract. */
import type { Span } from '@heddle/contract'
import { type HrTime, SpanStatusCode } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'

/** Names the workspace service that made a span; processes hold several. */
export const serviceAttribute = 'heddle.service'

export function toSpan(span: ReadableSpan, host: string): Span {
  const { traceId, spanId } = span.spanContext()
  const attributes: Record<string, string> = {}
  for (const name in span.attributes) if (name !== serviceAttribute) attributes[name] = String(span.attributes[name])
  return {
    traceId,
    spanId,
    parentSpanId: span.parentSpanContext?.spanId ?? '',
    name: span.name,
    service: String(span.attributes[serviceAttribute] ?? ''),
    host,
    startUnixNs: nanoseconds(span.startTime),
    endUnixNs: nanoseconds(span.endTime),
    failed: span.status.code === SpanStatusCode.ERROR,
    failure: span.status.message ?? '',
    attributes,
  }
}

function nanoseconds([seconds, fraction]: HrTime): bigint {
  return BigInt(seconds) * 1_000_000_000n + BigInt(Math.round(fraction))
}
