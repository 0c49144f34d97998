/** Export to an OTLP/HTTP collector. Loaded only when one is configured: with the SDK's batches it costs about 14 MiB. */
import { DiagLogLevel, diag, type HrTime } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources'
import { BatchSpanProcessor, type ReadableSpan } from '@opentelemetry/sdk-trace'
import type { Logger } from 'pino'
import type { RecordedSpan } from './tracer.ts'

export interface ExporterOptions {
  /** Base address, `http://host:4318`. */
  readonly endpoint: string
  readonly name: string
  readonly version: string
  readonly host: string
  readonly logger: Logger
}

export interface Exporter {
  export(span: RecordedSpan): void
  /** Sends what is left. */
  shutdown(): Promise<void>
}

export function createExporter({ endpoint, name, version, host, logger }: ExporterOptions): Exporter {
  const say = (message: string) => logger.warn({ endpoint }, `OTLP export: ${message}`)
  diag.setLogger({ error: say, warn: say, info() {}, debug() {}, verbose() {} }, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true })
  const resource = resourceFromAttributes({ 'service.name': name, 'service.version': version, 'host.name': host })
  const exporter = new OTLPTraceExporter({ url: `${endpoint.replace(/\/$/, '')}/v1/traces` })
  const batches = new BatchSpanProcessor({ exporter, scheduledDelayMillis: 1_000 })
  return { export: (span) => batches.onEnd(toReadable(span, resource)), shutdown: () => batches.shutdown() }
}

function toReadable(span: RecordedSpan, resource: Resource): ReadableSpan {
  return {
    name: span.name,
    kind: span.kind,
    spanContext: () => span.spanContext(),
    ...(span.parent && { parentSpanContext: span.parent }),
    startTime: toHrTime(span.startMs),
    endTime: toHrTime(span.endMs),
    duration: toHrTime(span.endMs - span.startMs),
    status: span.status,
    // Names the workspace service that made a span; processes hold several.
    attributes: { ...span.attributes, 'heddle.service': span.service },
    links: [],
    events: [],
    ended: true,
    resource,
    instrumentationScope: { name: 'heddle' },
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  }
}

function toHrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1_000)
  return [seconds, Math.round((ms - seconds * 1_000) * 1_000_000)]
}
