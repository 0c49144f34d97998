import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Span } from '@heddle/contract'
import { recordSpan, rootContext, withCall, withService, withSpan } from '@heddle/core'
import test from 'ava'
import { callBindings, createRuntime } from './index.ts'

const log = { level: 'silent', pretty: false } as const

function rootSpan(origin: string, name: string): Promise<string> {
  return withCall({ timeoutMs: 5_000, context: rootContext(origin) }, (call) => withSpan(call, name, {}, async (_call, span) => span.spanContext().traceId))
}

test.serial('finished spans are handed over in batches, one for each host of origin, the rest when the process stops', async (t) => {
  const runtime = createRuntime({ name: 'gateway', host: 'here', version: '0.1.0', log })
  const batches: { origin: string; names: string[] }[] = []
  runtime.onSpans(() => {
    throw new Error('a listener that throws')
  })
  runtime.onSpans((origin, spans) => void batches.push({ origin, names: spans.map(({ name }) => name) }))
  await runtime.start()
  await rootSpan('h1', 'a')
  await rootSpan('h2', 'b')
  await rootSpan('h1', 'c')
  await runtime.stop()
  t.deepEqual(batches, [
    { origin: 'h1', names: ['a', 'c'] },
    { origin: 'h2', names: ['b'] },
  ])
  await rootSpan('h1', 'after')
  t.is(batches.length, 2)
})

test.serial('a span says whose it is, how long it took and how it failed; a trace without origin is this host’s', async (t) => {
  const runtime = createRuntime({ name: 'heddle', host: 'here', version: '0.1.0', log })
  const seen: { origin: string; span: Span }[] = []
  runtime.onSpans((origin, spans) => void seen.push(...spans.map((span) => ({ origin, span }))))
  await runtime.start()
  await withCall({ timeoutMs: 5_000, key: 'endpoint' }, (call) =>
    withSpan(call, 'outer', { count: 3 }, async (inner, span) => {
      t.deepEqual(callBindings(inner), { traceId: span.spanContext().traceId, spanId: span.spanContext().spanId, key: 'endpoint' })
      recordSpan({ ...inner, context: withService(inner.context, 'netns-wiring') }, 'veth.add', 1_700_000_000_000.25, 1_700_000_000_001.5, {}, 'EEXIST')
    }),
  )
  await runtime.stop()
  const outer = seen.find(({ span }) => span.name === 'outer')
  const inner = seen.find(({ span }) => span.name === 'veth.add')
  t.is(outer?.origin, 'here')
  t.like(outer?.span, { service: 'heddle', host: 'here', parentSpanId: '', failed: false, attributes: { count: '3' } })
  t.like(inner?.span, { service: 'netns-wiring', parentSpanId: outer?.span.spanId, traceId: outer?.span.traceId, failed: true, failure: 'EEXIST' })
  t.is((inner?.span.endUnixNs ?? 0n) - (inner?.span.startUnixNs ?? 0n), 1_250_000n)
})

test.serial('spans are exported by OTLP when a collector is configured, the last ones when the process stops', async (t) => {
  const bodies: string[] = []
  const collector = createServer((request, response) => {
    t.is(request.url, '/v1/traces')
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => void chunks.push(chunk))
    request.on('end', () => {
      bodies.push(Buffer.concat(chunks).toString())
      response.setHeader('content-type', 'application/json').end('{}')
    })
  })
  collector.listen(0, '127.0.0.1')
  await once(collector, 'listening')
  t.teardown(() => collector.close())
  const runtime = createRuntime({
    name: 'gateway',
    host: 'here',
    version: '0.1.0',
    log,
    otlp: { endpoint: `http://127.0.0.1:${(collector.address() as AddressInfo).port}` },
  })
  await rootSpan('h1', 'before the exporter is there')
  await runtime.start()
  const traceId = await rootSpan('h1', 'exported')
  await runtime.stop()
  const sent = bodies.join('')
  t.true(sent.includes('before the exporter is there'))
  t.true(sent.includes(traceId))
})

test.serial('a collector that is away costs nothing but its spans', async (t) => {
  const runtime = createRuntime({ name: 'gateway', host: 'here', version: '0.1.0', log, otlp: { endpoint: 'http://127.0.0.1:1' } })
  await runtime.start()
  await rootSpan('h1', 'lost')
  await runtime.stop(1_000)
  t.is(runtime.phase, 'stopped')
})
