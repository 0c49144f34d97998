/**
 * Tracing of a process. Every trace is recorded; each finished span goes, in small batches, to whoever listens, together
 * with the host whose gateway keeps its trace (`heddle=` of its tracestate), and to an OTLP collector when one is configured.
 * There is one tracer provider a process, for good: tracers of the API keep the first one they saw.
 */
import type { Span } from '@heddle/contract'
import { originMember } from '@heddle/core'
import { trace } from '@opentelemetry/api'
import type { Logger } from 'pino'
import type { Exporter } from './otlp.ts'
import { toSpan } from './span.ts'
import { createTracer, type RecordedSpan } from './tracer.ts'

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
  #finished: RecordedSpan[] = []
  #timer: NodeJS.Timeout | undefined
  #exporter: Exporter | undefined
  readonly #backlog: RecordedSpan[] = []

  constructor(options: TelemetryOptions) {
    this.#options = options
    active.add(this)
    if (installed) return
    installed = true
    const tracer = createTracer(first, (span) => {
      for (const telemetry of active) telemetry.ended(span)
    })
    trace.setGlobalTracerProvider({ getTracer: () => tracer })
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
    const { otlpEndpoint: endpoint, ...options } = this.#options
    if (endpoint === undefined) return
    const { createExporter } = await import('./otlp.ts')
    this.#exporter = createExporter({ ...options, endpoint })
    for (const span of this.#backlog.splice(0)) this.#exporter.export(span)
  }

  /** Hands over and exports what has finished, and ends. */
  async stop(): Promise<void> {
    this.#flush()
    active.delete(this)
    await this.#exporter?.shutdown().catch((error: unknown) => this.#options.logger.warn({ err: error }, 'the last spans could not be exported'))
  }

  ended(span: RecordedSpan): void {
    if (this.#exporter !== undefined) this.#exporter.export(span)
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

function originOfSpan(span: RecordedSpan): string | undefined {
  return span.spanContext().traceState?.get(originMember)
}

function first(): Telemetry | undefined {
  for (const telemetry of active) return telemetry
  return undefined
}
