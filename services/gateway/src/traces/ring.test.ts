import { Span } from '@heddle/contract'
import test from 'ava'
import { TraceRing } from './ring.ts'

const span = (traceId: string, spanId: string, parentSpanId: string, startUnixNs: bigint, more: object = {}) =>
  Span.fromPartial({ traceId, spanId, parentSpanId, startUnixNs, endUnixNs: startUnixNs + 10n, name: spanId, ...more })

test('traces are listed newest first with the name and time of their roots', (t) => {
  const ring = new TraceRing(10)
  for (const id of ['aa1', 'aa2']) ring.expect(id)
  ring.add([span('aa1', 'child', 'root', 102n), span('aa1', 'root', '', 100n, { endUnixNs: 150n, failed: true })])
  ring.add([span('aa2', 'CreateEndpoint', 'elsewhere', 200n), span('aa2', 'Join', 'elsewhere', 300n)])
  t.deepEqual(
    ring.list(10).map((one) => [one.traceId, one.name, one.durationNs, one.spans, one.failed]),
    [
      ['aa2', 'CreateEndpoint, Join', 110n, 2, false],
      ['aa1', 'root', 50n, 2, true],
    ],
  )
})

test('a trace is found by id, by a unique beginning, or as the last', (t) => {
  const ring = new TraceRing(10)
  for (const [index, id] of ['aa1', 'aa2', 'bb1'].entries()) {
    ring.expect(id)
    ring.add([span(id, 's', '', BigInt(index))])
  }
  t.is(ring.get('aa1')[0]?.traceId, 'aa1')
  t.is(ring.get('b')[0]?.traceId, 'bb1')
  t.is(ring.get('last')[0]?.traceId, 'bb1')
  t.throws(() => ring.get('aa'), { message: /2 traces begin/ })
  for (const id of ['cc', '']) t.throws(() => ring.get(id), { message: /no trace/ })
})

test('only announced traces are kept, and of those the last', (t) => {
  const ring = new TraceRing(2)
  ring.add([span('heartbeat', 's', '', 0n)])
  for (const id of ['a', 'b', 'c']) {
    ring.expect(id)
    ring.add([span(id, 's', '', 1n)])
  }
  t.deepEqual(
    ring
      .list(10)
      .map((one) => one.traceId)
      .sort(),
    ['b', 'c'],
  )
  t.throws(() => ring.get('heartbeat'))
})
