import { Span } from '@heddle/contract'
import test from 'ava'
import { traceTree } from './trace-tree.ts'

const ms = (value: number) => 1_700_000_000_000_000_000n + BigInt(Math.round(value * 1e6))

function span(spanId: string, parentSpanId: string, name: string, fromMs: number, toMs: number, more: Partial<Span> = {}): Span {
  return Span.fromPartial({
    traceId: 'ab'.repeat(16),
    spanId,
    parentSpanId,
    name,
    service: 'gateway',
    host: 'h1',
    startUnixNs: ms(fromMs),
    endUnixNs: ms(toMs),
    ...more,
  })
}

test('children stand below their parent in the order in which they began, with offset and duration', (t) => {
  const tree = traceTree([span('c', 'a', 'second', 4, 10), span('a', '', 'cni ADD', 0, 10), span('b', 'a', 'first', 1, 3), span('d', 'b', 'inner', 1.5, 2)])
  const lines = tree.trimEnd().split('\n')
  t.regex(lines[0] ?? '', /^trace abab.*10\.0 ms {2}4 spans$/)
  t.deepEqual(
    lines.slice(1).map((line) => line.slice(0, 9)),
    ['cni ADD  ', '├─ first ', '│  └─ inn', '└─ second'],
  )
  t.regex(lines[2] ?? '', /gateway@h1 {2}\+ {2}1\.00 ms {4}2\.00 ms {2} +█/)
})

test('bars are to scale and stay inside their column', (t) => {
  const lines = traceTree([span('a', '', 'root', 0, 100), span('b', 'a', 'half', 50, 100), span('c', 'a', 'blink', 99.999, 100)])
    .trimEnd()
    .split('\n')
  const bars = lines.slice(1).map((line) => line.slice(line.indexOf('ms  ', line.indexOf('+') + 12) + 4))
  t.is(bars[0], '█'.repeat(32))
  t.is(bars[1], `${' '.repeat(16)}${'█'.repeat(16)}`)
  t.is(bars[2], `${' '.repeat(31)}▏`)
})

test('a span whose parent is not kept is a root of its own', (t) => {
  const lines = traceTree([span('a', 'gone', 'one', 0, 1), span('b', 'gone too', 'two', 2, 3)])
    .trimEnd()
    .split('\n')
  t.deepEqual(
    lines.slice(1).map((line) => line.split(' ')[0]),
    ['one', 'two'],
  )
})

test('a failed step says why', (t) => {
  t.regex(traceTree([span('a', '', 'root', 0, 1, { failed: true, failure: 'no address is free' })]), /FAILED: no address is free\n$/)
})

test('a trace of no length and one without spans are printed too', (t) => {
  t.regex(traceTree([span('a', '', 'instant', 1, 1)]), /instant/)
  t.is(traceTree([]), 'no spans\n')
})
