/**
 * The tracer behind OpenTelemetry's API. It keeps of each span what the gateway keeps; the SDK's own, which copies and checks
 * every attribute and asks sampler, limits and processors about every span, costs more than much of what our spans measure.
 */
import { randomFillSync } from 'node:crypto'
import { originMember, originOf, originState, serviceOf, spanTimeMs } from '@heddle/core'
import {
  type Attributes,
  type AttributeValue,
  type Context,
  INVALID_TRACEID,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  type SpanStatus,
  SpanStatusCode,
  type TimeInput,
  TraceFlags,
  type Tracer,
  type TraceState,
  trace,
} from '@opentelemetry/api'

const unset: SpanStatus = { code: SpanStatusCode.UNSET }

/** Times are Unix milliseconds with fractions. Events, links and exceptions are not kept: Heddle's spans have none. */
export class RecordedSpan implements Span {
  name: string
  readonly kind: SpanKind
  readonly parent: SpanContext | undefined
  readonly service: string
  readonly startMs: number
  endMs = Number.NaN
  readonly attributes: Attributes
  status = unset
  readonly #context: SpanContext
  readonly #onEnd: (span: RecordedSpan) => void

  constructor(
    of: Pick<RecordedSpan, 'name' | 'parent' | 'service'> & { readonly context: SpanContext },
    options: SpanOptions,
    onEnd: (span: RecordedSpan) => void,
  ) {
    this.name = of.name
    this.kind = options.kind ?? SpanKind.INTERNAL
    this.parent = of.parent
    this.service = of.service
    this.startMs = milliseconds(options.startTime)
    this.attributes = { ...options.attributes }
    this.#context = of.context
    this.#onEnd = onEnd
  }

  spanContext(): SpanContext {
    return this.#context
  }

  setAttribute(name: string, value: AttributeValue): this {
    this.attributes[name] = value
    return this
  }

  setAttributes(attributes: Attributes): this {
    Object.assign(this.attributes, attributes)
    return this
  }

  setStatus(status: SpanStatus): this {
    this.status = status
    return this
  }

  updateName(name: string): this {
    this.name = name
    return this
  }

  end(time?: TimeInput): void {
    if (!this.isRecording()) return
    this.endMs = milliseconds(time)
    this.#onEnd(this)
  }

  isRecording(): boolean {
    return Number.isNaN(this.endMs)
  }

  addEvent(): this {
    return this
  }

  addLink(): this {
    return this
  }

  addLinks(): this {
    return this
  }

  recordException(): void {}
}

/** What a span takes where its context says nothing: the process's host and service. */
export interface Home {
  readonly name: string
  readonly host: string
}

export function createTracer(home: () => Home | undefined, onEnd: (span: RecordedSpan) => void): Tracer {
  return {
    startSpan(name, options = {}, context) {
      const above = context && trace.getSpanContext(context)
      const parent = above?.traceId === INVALID_TRACEID ? undefined : above
      const traceState = stateOf(parent?.traceState, context, home)
      const spanContext: SpanContext = {
        traceId: parent?.traceId ?? randomHex(16),
        spanId: randomHex(8),
        traceFlags: TraceFlags.SAMPLED,
        ...(traceState && { traceState }),
      }
      const service = (context && serviceOf(context)) ?? home()?.name ?? ''
      return new RecordedSpan({ name, parent, service, context: spanContext }, options, onEnd)
    },
    startActiveSpan() {
      throw new Error('Heddle has no active span: the Call carries it')
    },
  }
}

/** A trace that does not say yet which host keeps it is given one. */
function stateOf(parent: TraceState | undefined, context: Context | undefined, home: () => Home | undefined): TraceState | undefined {
  if (parent?.get(originMember) !== undefined) return parent
  const origin = (context && originOf(context)) ?? home()?.host
  return origin === undefined ? parent : originState(origin, parent)
}

function milliseconds(time: TimeInput | undefined): number {
  return typeof time === 'number' ? time : spanTimeMs()
}

/** Random bytes are made a few hundred ids at a time. */
const pool = Buffer.alloc(4_096)
let used = pool.length

function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += bytes
  return pool.toString('hex', used - bytes, used)
}
