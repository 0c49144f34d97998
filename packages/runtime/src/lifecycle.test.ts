import { setTimeout as pause } from 'node:timers/promises'
import test from 'ava'
import { createRuntime, type RuntimeControl } from './index.ts'

function runtimeWithLog(): { runtime: RuntimeControl; log: string[]; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = []
  const logSink = { write: (line: string) => void lines.push(JSON.parse(line)) }
  const runtime = createRuntime({ name: 'test', host: 'h1', version: '0.1.0', log: { level: 'debug', pretty: false }, logSink })
  return { runtime, log: [], lines }
}

function part(runtime: RuntimeControl, log: string[], name: string, start: () => Promise<void> = async () => {}): void {
  runtime.hook({
    name,
    start: async () => {
      log.push(`start ${name}`)
      await start()
    },
    stop: async () => void log.push(`stop ${name}`),
  })
}

test('hooks start in order and stop in reverse, once however often it is asked for', async (t) => {
  const { runtime, log } = runtimeWithLog()
  for (const name of ['store', 'bus', 'door']) part(runtime, log, name)
  t.false(runtime.health().ready)
  await Promise.all([runtime.start(), runtime.start()])
  t.is(runtime.phase, 'running')
  t.true(runtime.health().ready)
  t.throws(() => part(runtime, log, 'late'), { message: /too late/ })
  const stopped = runtime.stop()
  t.false(runtime.health().ready, 'unready as soon as it begins to stop')
  await Promise.all([stopped, runtime.stop()])
  t.deepEqual(log, ['start store', 'start bus', 'start door', 'stop door', 'stop bus', 'stop store'])
  t.is(runtime.phase, 'stopped')
})

test('a failed start stops what had started, and its jobs, and tells why', async (t) => {
  const { runtime, log } = runtimeWithLog()
  let aborted = false
  runtime.hook({
    name: 'follower',
    start: async () =>
      runtime.jobs.once('follow', async (signal) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        aborted = true
      }),
    stop: async () => void log.push(`stop follower, its job ${aborted ? 'ended' : 'runs'}`),
  })
  part(runtime, log, 'broken', async () => {
    throw new Error('port taken')
  })
  part(runtime, log, 'never')
  await t.throwsAsync(runtime.start(), { message: 'port taken' })
  t.deepEqual(log, ['start broken', 'stop follower, its job ended'])
})

test('stopping in the middle of a start aborts it and stops what had started', async (t) => {
  const { runtime, log } = runtimeWithLog()
  const waiting = Promise.withResolvers<void>()
  part(runtime, log, 'store')
  runtime.hook({
    name: 'patient',
    start: (signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason))
        waiting.resolve()
      }),
  })
  const starting = t.throwsAsync(runtime.start(), { message: 'the process stops' })
  await waiting.promise
  await runtime.stop()
  await starting
  t.deepEqual(log, ['start store', 'stop store'])
})

test('a part that is starting and deaf to its signal holds up the stop no longer than the grace', async (t) => {
  const { runtime, log } = runtimeWithLog()
  const waiting = Promise.withResolvers<void>()
  part(runtime, log, 'store')
  part(runtime, log, 'deaf', () => {
    waiting.resolve()
    return new Promise<never>(() => {})
  })
  void runtime.start()
  await waiting.promise
  await runtime.stop(50)
  t.deepEqual(log, ['start store', 'start deaf', 'stop store'])
  t.is(runtime.phase, 'stopped')
})

test('a part that fails or hangs while stopping does not keep the others from it', async (t) => {
  const { runtime, log, lines } = runtimeWithLog()
  part(runtime, log, 'first')
  runtime.hook({ name: 'hanging', stop: () => new Promise<never>(() => {}) })
  runtime.hook({
    name: 'failing',
    stop: async () => {
      throw new Error('no')
    },
  })
  await runtime.start()
  await runtime.stop(50)
  t.deepEqual(log, ['start first', 'stop first'])
  t.true(lines.some((line) => line['hook'] === 'failing' && line['msg'] === 'a part did not stop cleanly'))
  t.true(lines.some((line) => line['hook'] === 'hanging' && line['msg'] === 'a part did not stop within the grace'))
})

test('a slow hook is logged where a quick one is not', async (t) => {
  const { runtime, log, lines } = runtimeWithLog()
  part(runtime, log, 'slow', () => pause(600))
  part(runtime, log, 'quick')
  await runtime.start()
  await runtime.stop()
  const level = (hook: string) => lines.find((line) => line['msg'] === `${hook} started`)?.['level']
  t.is(level('slow'), 30)
  t.is(level('quick'), 20)
})

test('health names every check; one that fails or throws makes the process unready', async (t) => {
  const { runtime } = runtimeWithLog()
  let ok = true
  runtime.check('store', () => ({ ok, message: 'etcd' }))
  t.throws(() => runtime.check('store', () => ({ ok, message: '' })), { message: /already/ })
  await runtime.start()
  t.true(runtime.health().ready)
  t.true(runtime.health().checks['event-loop']?.ok)
  ok = false
  t.false(runtime.health().ready)
  ok = true
  runtime.check('broken', () => {
    throw new Error('why')
  })
  t.like(runtime.health(), { ready: false, checks: { broken: { ok: false, message: 'why' }, store: { ok: true, message: 'etcd' } } })
  await runtime.stop()
})

test('metrics have the defaults of the process', async (t) => {
  const { runtime } = runtimeWithLog()
  const text = await runtime.metrics.metrics()
  t.regex(text, /nodejs_eventloop_lag_p99_seconds/)
  t.is(runtime.metrics, runtime.metrics)
})
