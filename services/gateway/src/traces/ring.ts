/**
 * The last plugin calls of this host as traces, for `heddle trace`. Spans arrive late and from several processes; those of
 * traces that no door announced (heartbeats, sweeps) are not kept.
 */
import { type Span, SpanBatch, type TraceSummary } from '@heddle/contract'
import { HeddleError, invalid } from '@heddle/core'

const maxSpansPerTrace = 2000

/** Spans as they came, encoded: as objects, thousands that live for a second each, they would cost the collector more than the calls. */
interface Kept {
  readonly batches: Uint8Array[]
  count: number
}

export class TraceRing {
  readonly #keep: number
  /** By trace id, in the order in which they were last announced. */
  readonly #traces = new Map<string, Kept>()

  constructor(keep: number) {
    this.#keep = keep
  }

  /** A door starts a plugin call in this trace. */
  expect(traceId: string): void {
    const trace = this.#traces.get(traceId) ?? { batches: [], count: 0 }
    this.#traces.delete(traceId)
    this.#traces.set(traceId, trace)
    const [oldest] = this.#traces.keys()
    if (this.#traces.size > this.#keep && oldest !== undefined) this.#traces.delete(oldest)
  }

  add(spans: readonly Span[]): void {
    for (const [traceId, its] of Map.groupBy(spans, (span) => span.traceId)) {
      const trace = this.#traces.get(traceId)
      if (trace === undefined || trace.count >= maxSpansPerTrace) continue
      trace.batches.push(SpanBatch.encode({ spans: its }).finish())
      trace.count += its.length
    }
  }

  /** Newest first. */
  list(limit: number): TraceSummary[] {
    return [...this.#traces.values()]
      .filter((trace) => trace.count > 0)
      .map((trace) => summarize(spansOf(trace)))
      .sort((a, b) => (a.startUnixNs < b.startUnixNs ? 1 : -1))
      .slice(0, limit)
  }

  /** By id, a unique beginning of one, or "last"; in order of start. Fails with trace-unknown. */
  get(id: string): Span[] {
    const wanted = id === 'last' ? this.list(1)[0]?.traceId : id
    const exact = wanted === undefined ? undefined : this.#traces.get(wanted)
    const matching = exact === undefined && id !== 'last' && id !== '' ? [...this.#traces].filter(([traceId]) => traceId.startsWith(id)) : []
    if (matching.length > 1) throw invalid('traceId', `${matching.length} traces begin with ${JSON.stringify(id.slice(0, 32))}`, 'give more of the id')
    const trace = exact ?? matching[0]?.[1]
    if (trace === undefined) {
      throw new HeddleError('trace-unknown', `no trace ${JSON.stringify(id.slice(0, 40))} is kept on this host`, {
        field: 'traceId',
        remedy: `list those that are with \`heddle trace ls\`; the last ${this.#keep} are kept`,
      })
    }
    return spansOf(trace).sort(byStart)
  }
}

/** Each once, whatever came twice. */
function spansOf({ batches }: Kept): Span[] {
  const spans = batches.flatMap((batch) => SpanBatch.decode(batch).spans)
  return [...new Map(spans.map((span) => [span.spanId, span])).values()]
}

/** Named after its first root; an attachment by Docker has one for each plugin call. */
function summarize(spans: readonly Span[]): TraceSummary {
  const ids = new Set(spans.map((span) => span.spanId))
  const roots = spans.filter((span) => !ids.has(span.parentSpanId)).sort(byStart)
  const ends = roots.map((span) => span.endUnixNs)
  const [first] = roots
  const start = first?.startUnixNs ?? 0n
  return {
    traceId: first?.traceId ?? '',
    name: [...new Set(roots.map((span) => span.name))].slice(0, 4).join(', '),
    startUnixNs: start,
    durationNs: ends.reduce((latest, end) => (end - start > latest ? end - start : latest), 0n),
    spans: spans.length,
    failed: roots.some((span) => span.failed),
    attributes: first?.attributes ?? {},
  }
}

/** A child that started with its parent ended no later. */
function byStart(a: Span, b: Span): number {
  if (a.startUnixNs !== b.startUnixNs) return a.startUnixNs < b.startUnixNs ? -1 : 1
  return a.endUnixNs === b.endUnixNs ? 0 : a.endUnixNs > b.endUnixNs ? -1 : 1
}
