/** Spans of one trace as a tree: name, where it ran, when it began after the root, how long it took, and a bar to scale. */
import type { Span } from '@heddle/contract'
import { duration } from './output.ts'

const barWidth = 32

interface Node {
  readonly span: Span
  readonly children: Node[]
}

export function traceTree(spans: readonly Span[]): string {
  if (spans.length === 0) return 'no spans\n'
  const roots = buildTree(spans)
  const [startNs, endNs] = extent(spans)
  const totalNs = endNs - startNs
  const lines: { readonly label: string; readonly where: string; readonly span: Span }[] = []
  const walk = (node: Node, lead: string, below: string) => {
    lines.push({ label: `${lead}${titleOf(node.span)}`, where: whereOf(node.span), span: node.span })
    for (const [index, child] of node.children.entries()) {
      const last = index === node.children.length - 1
      walk(child, `${below}${last ? '└─ ' : '├─ '}`, `${below}${last ? '   ' : '│  '}`)
    }
  }
  for (const root of roots) walk(root, '', '')

  const labelWidth = Math.max(...lines.map((line) => line.label.length))
  const whereWidth = Math.max(...lines.map((line) => line.where.length))
  const rows = lines.map(({ label, where, span }) => {
    const offset = duration(milliseconds(span.startUnixNs - startNs)).padStart(9)
    const took = duration(milliseconds(span.endUnixNs - span.startUnixNs)).padStart(9)
    const failure = span.failed ? `  FAILED: ${span.failure}` : ''
    return `${label.padEnd(labelWidth)}  ${where.padEnd(whereWidth)}  +${offset}  ${took}  ${bar(span, startNs, totalNs)}${failure}`.trimEnd()
  })
  const traceId = spans[0]?.traceId ?? ''
  return `trace ${traceId}  ${duration(milliseconds(totalNs))}  ${spans.length} spans\n${rows.map((row) => `${row}\n`).join('')}`
}

/** Children in order of their beginning; a span whose parent is not there (not kept, or the caller's own) is a root. */
function buildTree(spans: readonly Span[]): Node[] {
  const nodes = new Map(spans.map((span) => [span.spanId, { span, children: [] as Node[] }]))
  const roots: Node[] = []
  const ordered = [...nodes.values()].sort((a, b) => Number(a.span.startUnixNs - b.span.startUnixNs) || Number(b.span.endUnixNs - a.span.endUnixNs))
  for (const node of ordered) (nodes.get(node.span.parentSpanId)?.children ?? roots).push(node)
  return roots
}

function titleOf(span: Span): string {
  const link = span.attributes['heddle.link'] ?? ''
  return link === '' || span.name.includes(link) ? span.name : `${span.name} ${link}`
}

function whereOf(span: Span): string {
  return span.host === '' ? span.service : `${span.service}@${span.host}`
}

/** Eighths of a cell are drawn on the left edge only at the end, so a short step still shows as a thin mark. */
function bar(span: Span, startNs: bigint, totalNs: bigint): string {
  const scale = totalNs === 0n ? 0 : (barWidth * 8) / Number(totalNs)
  const from = Math.min(Math.floor((Number(span.startUnixNs - startNs) * scale) / 8), barWidth - 1)
  const eighths = Math.max(1, Math.round(Number(span.endUnixNs - span.startUnixNs) * scale))
  const whole = Math.min(Math.floor(eighths / 8), barWidth - from)
  const rest = from + whole < barWidth ? (['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8] ?? '') : ''
  return ' '.repeat(from) + '█'.repeat(whole) + rest
}

function milliseconds(nanoseconds: bigint): number {
  return Number(nanoseconds) / 1e6
}

function extent(spans: readonly Span[]): [first: bigint, last: bigint] {
  let [first, last] = [spans[0]?.startUnixNs ?? 0n, 0n]
  for (const { startUnixNs, endUnixNs } of spans) {
    if (startUnixNs < first) first = startUnixNs
    if (endUnixNs > last) last = endUnixNs
  }
  return [first, last]
}
