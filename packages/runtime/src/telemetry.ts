/**
 * Tracing of a process. Every trace is recorded; each finished span goes, in small batches, to whoever listens, together
 * with the host whose gateway keeps its trace (`heddle=` of its tracestate), and to an OTLP collector when one is configured.
 * There is one tracer provider a process, for good: tracers of the API keep the first one they saw.
 */
import type { Span } from '@heddle/contract'
import { originMember, originOf, serviceOf } from '@heddle/core'
import { type Span as ApiSpan, type Context, createTraceState, trace } from '@opentelemetry/api'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { type ReadableSpan, SamplingDecision, type SamplingResult, type SpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import type { Logger } from 'pino'
import { serviceAttribute, toSpan } from './span.ts'

export interface TelemetryOptions {
  /** Service of spans made outside any service's context. */
  readonly name: string
  readonly host: string
  readonly version: string
  readonly logger: Logger
  /** Base address of an OTLP/HTTP collector, `http://host:4318`; without one nothing is loaded for it. */
  readonly otlpEndpoint?: string | undefined
}

export type SpanListener = (originHost: string, spans: readonly Span[]) => void

const batchDelayMs = 10
const batchSpans = 512
/** Spans kept until the exporter is loaded. */
const backlogSpans = 2048

/** Those started and not stopped; more than one only where a test plays several hosts in one process. */
const active = new Set<Telemetry>()
let installed = false

export class Telemetry {
  readonly #options: TelemetryOptions
  readonly #listeners: SpanListener[] = []
  #finished: ReadableSpan[] = []
  #timer: NodeJS.Timeout | undefined
  #exporter: SpanProcessor | undefined
  readonly #backlog: ReadableSpan[] = []

  constructor(options: TelemetryOptions) {
    this.#options = options
    active.add(this)
    if (installed) return
    installed = true
    const resource = resourceFromAttributes({ 'service.name': options.name, 'service.version': options.version, 'host.name': options.host })
    trace.setGlobalTracerProvider(new TracerProvider({ resource, sampler: { shouldSample, toString: () => 'heddle' }, spanProcessors: [fanOut] }))
  }

  get name(): string {
    return this.#options.name
  }

  get host(): string {
    return this.#options.host
  }

  onSpans(listener: SpanListener): void {
    this.#listeners.push(listener)
  }

  /** Loads the exporter if one is wanted. A collector that is away costs its spans, nothing else. */
  async start(): Promise<void> {
    if (this.#options.otlpEndpoint === undefined) return
    const { createExporter } = await import('./otlp.ts')
    this.#exporter = createExporter(this.#options.otlpEndpoint, this.#options.logger)
    for (const span of this.#backlog.splice(0)) this.#exporter.onEnd(span)
  }

  /** Hands over and exports what has finished, and ends. */
  async stop(): Promise<void> {
    this.#flush()
    active.delete(this)
    await this.#exporter?.shutdown().catch((error: unknown) => this.#options.logger.warn({ err: error }, 'the last spans could not be exported'))
  }

  ended(span: ReadableSpan): void {
    if (this.#exporter !== undefined) this.#exporter.onEnd(span)
    else if (this.#options.otlpEndpoint !== undefined && this.#backlog.length < backlogSpans) this.#backlog.push(span)
    if (this.#listeners.length === 0) return
    this.#finished.push(span)
    if (this.#finished.length >= batchSpans) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), batchDelayMs).unref()
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const finished = this.#finished
    this.#finished = []
    for (const [origin, spans] of Map.groupBy(finished, (span) => originOfSpan(span) ?? this.host)) {
      const batch = spans.map((span) => toSpan(span, this.host))
      for (const listener of this.#listeners) this.#tell(listener, origin, batch)
    }
  }

  #tell(listener: SpanListener, origin: string, batch: readonly Span[]): void {
    try {
      listener(origin, batch)
    } catch (error) {
      this.#options.logger.error({ err: error }, 'a listener of spans failed')
    }
  }
}

const fanOut: SpanProcessor = {
  onStart(span: ApiSpan, parentContext: Context) {
    const service = serviceOf(parentContext) ?? first()?.name
    if (service !== undefined) span.setAttribute(serviceAttribute, service)
  },
  onEnd(span: ReadableSpan) {
    for (const telemetry of active) telemetry.ended(span)
  },
  async forceFlush() {},
  async shutdown() {},
}

/** Records everything; a trace that does not say yet which host keeps it is given one. */
function shouldSample(context: Context): SamplingResult {
  const parentState = trace.getSpanContext(context)?.traceState
  if (parentState?.get(originMember) !== undefined) return { decision: SamplingDecision.RECORD_AND_SAMPLED }
  const origin = originOf(context) ?? first()?.host
  if (origin === undefined) return { decision: SamplingDecision.RECORD_AND_SAMPLED }
  return { decision: SamplingDecision.RECORD_AND_SAMPLED, traceState: (parentState ?? createTraceState()).set(originMember, origin) }
}

function originOfSpan(span: ReadableSpan): string | undefined {
  return span.spanContext().traceState?.get(originMember)
}

function first(): Telemetry | undefined {
  for (const telemetry of active) return telemetry
  return undefined
}
