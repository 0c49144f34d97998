import { type Clock, withCall } from '@heddle/core'
import { type Span, trace } from '@opentelemetry/api'
import test from 'ava'
import pino from 'pino'
import { type EtcdPort, etcdFailure } from './port.ts'
import { EtcdStore } from './store.ts'

const logger = pino({ level: 'silent' })

/** An etcd that says yes to everything, or nothing. */
function fakePort() {
  const state = { silent: false }
  const answer = async <T>(reply: T): Promise<T> => {
    if (state.silent) throw etcdFailure('no-reply', 'unavailable', 'silence')
    return reply
  }
  const port: EtcdPort = {
    range: () => answer({ clusterId: '1', revision: 1n, records: [], more: false }),
    transact: (transactions) => answer(transactions.map(() => ({ succeeded: true, revision: 7n }))),
    grantLease: () => answer({ id: 1n, ttlSeconds: 5 }),
    keepLeaseAlive: () => answer(5),
    revokeLease: () => answer(undefined),
    watch: () => ({ cancel() {} }),
    close() {},
  }
  return { port, state }
}

function manualClock(): Clock & { advance(ms: number): Promise<void> } {
  let nowMs = 0
  const timers = new Set<{ atMs: number; callback: () => void }>()
  return {
    monotonicMs: () => nowMs,
    wallMs: () => nowMs,
    timestamp: () => new Date(nowMs).toISOString(),
    after(delayMs, callback) {
      const timer = { atMs: nowMs + delayMs, callback }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    async advance(ms) {
      for (const endMs = nowMs + ms; nowMs < endMs; ) {
        nowMs = Math.min(endMs, nowMs + 100)
        for (const timer of timers) if (timer.atMs <= nowMs && timers.delete(timer)) timer.callback()
        await new Promise((resolve) => setImmediate(resolve))
      }
    },
  }
}

// Alone, as the tracer is the process's.
test.serial('each caller of a group commit has its own span, with the size of the batch', async (t) => {
  const spans: { name: string; attributes: Record<string, unknown>; ended: boolean }[] = []
  const startSpan = (name: string, options?: { attributes?: Record<string, unknown> }): Span => {
    const record = { name, attributes: { ...options?.attributes }, ended: false }
    spans.push(record)
    const span = {
      setAttribute: (key: string, value: unknown) => Object.assign(record.attributes, { [key]: value }) && span,
      setAttributes: (values: object) => Object.assign(record.attributes, values) && span,
      setStatus: () => span,
      end: () => {
        record.ended = true
      },
    } as unknown as Span
    return span
  }
  trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan, startActiveSpan: () => undefined as never }) })
  t.teardown(() => trace.disable())
  const store = new EtcdStore(fakePort().port, logger, manualClock())
  await Promise.all(['a', 'b', 'c'].map((key) => withCall({ timeoutMs: 5_000 }, (call) => store.commit({ when: [], write: [{ put: key, value: 'v' }] }, call))))
  await store.close()
  t.is(spans.length, 3)
  for (const { name, attributes, ended } of spans) {
    t.is(name, 'etcd txn')
    t.like(attributes, { 'heddle.etcd.batch': 3, 'heddle.etcd.revision': '7', 'heddle.etcd.succeeded': true })
    t.true(ended)
  }
})

test('a store is healthy while etcd answers, also when nobody asks, and no longer when it does not', async (t) => {
  const clock = manualClock()
  const { port, state } = fakePort()
  const store = new EtcdStore(port, logger, clock)
  await clock.advance(60_000)
  t.true(store.healthy)
  state.silent = true
  await clock.advance(10_000)
  t.false(store.healthy)
  state.silent = false
  await clock.advance(3_100)
  t.true(store.healthy)
  await store.close()
})

test('a store that etcd has not answered for long says so at once, and works again when etcd does', async (t) => {
  const clock = manualClock()
  const { port, state } = fakePort()
  const store = new EtcdStore(port, logger, clock)
  const get = () => withCall({ timeoutMs: 60_000, clock }, (call) => store.get('k', call))
  state.silent = true
  const patient = get()
  await clock.advance(3_000)
  state.silent = false
  await clock.advance(1_000)
  await t.notThrowsAsync(patient, 'a short silence is waited out')
  state.silent = true
  await clock.advance(10_000)
  await t.throwsAsync(get(), { message: /has not answered this replica/ })
  state.silent = false
  await t.notThrowsAsync(get())
  await store.close()
})

test('a closed store refuses', async (t) => {
  const store = new EtcdStore(fakePort().port, logger, manualClock())
  await store.close()
  await t.throwsAsync(
    withCall({ timeoutMs: 1_000 }, (call) => store.get('k', call)),
    { message: /closed/ },
  )
  t.throws(() => store.watch('k', { onSnapshot() {}, onBatch() {} }), { message: /closed/ })
})
