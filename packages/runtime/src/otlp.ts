/** Export to an OTLP/HTTP collector. Loaded only when one is configured: it costs about 4 MiB. */
import { DiagLogLevel, diag } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { BatchSpanProcessor, type SpanProcessor } from '@opentelemetry/sdk-trace'
import type { Logger } from 'pino'

export function createExporter(endpoint: string, logger: Logger): SpanProcessor {
  const say = (message: string) => logger.warn({ endpoint }, `OTLP export: ${message}`)
  diag.setLogger({ error: say, warn: say, info() {}, debug() {}, verbose() {} }, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true })
  const exporter = new OTLPTraceExporter({ url: `${endpoint.replace(/\/$/, '')}/v1/traces` })
  return new BatchSpanProcessor({ exporter, scheduledDelayMillis: 1_000 })
}
