import type { Span } from '@heddle/contract'
import { type Call, HeddleError, rootContext, withSpan } from '@heddle/core'
import { createRuntime } from '@heddle/runtime'
import test from 'ava'
import { failureOf, handlersOf, ipam, onNats, until, wiring, within } from './testing/index.ts'

const seen: { readonly origin: string; readonly span: Span }[] = []

const runtime = createRuntime({ name: 'gateway', host: 'here', version: '0.1.0', log: { level: 'silent', pretty: false } })
runtime.onSpans((origin, spans) => void seen.push(...spans.map((span) => ({ origin, span }))))
test.before(() => runtime.start())
test.after.always(() => runtime.stop())

const found = (traceId: string) => seen.filter(({ span }) => span.traceId === traceId)
const named = (traceId: string, name: string) => found(traceId).find(({ span }) => span.name === name)?.span

test('a request over NATS is one trace from the root to the handler, kept by the host where it began', async (t) => {
  const { bus } = await onNats(t)
  await (await bus()).serve(ipam, handlersOf(ipam, { allocate: (_request, call) => withSpan(call, 'in the handler', { answer: 42 }, async () => ({})) }))
  const client = (await bus()).client(ipam)
  const ask = (call: Call) =>
    withSpan(call, 'root', {}, async (inner, span) => {
      await client.allocate({}, inner)
      return span.spanContext().traceId
    })
  const traceId = await within(5_000, ask, { context: rootContext('host-of-origin') })
  await until(() => found(traceId).length === 4, 'four spans were handed over')
  const [root, asked, answered, inside] = ['root', 'bus Ipam.Allocate', 'Ipam.Allocate', 'in the handler'].map((name) => named(traceId, name))
  t.is(root?.parentSpanId, '')
  t.is(asked?.parentSpanId, root?.spanId)
  t.is(answered?.parentSpanId, asked?.spanId)
  t.is(inside?.parentSpanId, answered?.spanId)
  t.deepEqual([root?.service, asked?.service, answered?.service, inside?.service], ['gateway', 'gateway', 'ipam', 'ipam'])
  t.like(inside, { host: 'here', failed: false, attributes: { answer: '42' } })
  t.true((inside?.endUnixNs ?? 0n) >= (inside?.startUnixNs ?? 1n))
  for (const { origin } of found(traceId)) t.is(origin, 'host-of-origin')
})

test('the trace of somebody else is continued, and delivery inside the process makes the same spans', async (t) => {
  const { bus } = await onNats(t)
  const host = await bus({ host: 'h1' })
  await host.serve(wiring, handlersOf(wiring, { prepare: async () => ({}) }), { host: 'h1' })
  const traceId = '0af7651916cd43dd8448eb211c80319c'
  const context = rootContext('h1', { traceparent: `00-${traceId}-b7ad6b7169203331-01`, tracestate: 'vendor=1' })
  await within(5_000, (call) => host.client(wiring, 'h1').prepare({}, call), { context })
  await until(() => found(traceId).length === 2, 'two spans were handed over')
  t.is(named(traceId, 'bus Wiring.Prepare')?.parentSpanId, 'b7ad6b7169203331')
  t.is(named(traceId, 'Wiring.Prepare')?.parentSpanId, named(traceId, 'bus Wiring.Prepare')?.spanId)
  t.is(named(traceId, 'Wiring.Prepare')?.service, 'netns-wiring')
  t.deepEqual([...new Set(found(traceId).map(({ origin }) => origin))], ['h1'])
})

test('a failure marks the spans on both sides with its code', async (t) => {
  const { bus } = await onNats(t)
  await (await bus()).serve(
    ipam,
    handlersOf(ipam, {
      allocate: async () => {
        throw new HeddleError('pool-exhausted', 'no address is left')
      },
    }),
  )
  const client = (await bus()).client(ipam)
  const traceId = '1af7651916cd43dd8448eb211c80319c'
  const context = rootContext('h1', { traceparent: `00-${traceId}-b7ad6b7169203331-01` })
  await failureOf(within(5_000, (call) => client.allocate({}, call), { context }))
  await until(() => found(traceId).length === 2, 'two spans were handed over')
  for (const { span } of found(traceId)) t.like(span, { failed: true, failure: 'no address is left', attributes: { 'heddle.error.code': 'pool-exhausted' } })
})

test('a malformed traceparent starts a trace of its own', async (t) => {
  for (const traceparent of [
    '',
    'x',
    `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
    `ff-${'1'.repeat(32)}-b7ad6b7169203331-01`,
    `00-${'1'.repeat(32)}-b7ad6b7169203331`,
  ]) {
    const traceId = await within(1_000, (call) => withSpan(call, 'root', {}, async (_call, span) => span.spanContext().traceId), {
      context: rootContext('h1', { traceparent }),
    })
    await until(() => found(traceId).length === 1, 'the span was handed over')
    t.like(found(traceId)[0], { origin: 'h1', span: { parentSpanId: '' } })
  }
})
