import type { Clock } from '@heddle/core'
import test from 'ava'
import { pino } from 'pino'
import { JobGroup } from './jobs.ts'

/** Time that passes when told. */
class ManualClock implements Clock {
  #nowMs = 0
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>()

  monotonicMs = () => this.#nowMs
  wallMs = () => this.#nowMs
  timestamp = () => new Date(this.#nowMs).toISOString()

  after(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, callback }
    this.#timers.add(timer)
    return () => void this.#timers.delete(timer)
  }

  async pass(ms: number): Promise<void> {
    this.#nowMs += ms
    for (const timer of this.#timers) {
      if (timer.atMs > this.#nowMs) continue
      this.#timers.delete(timer)
      timer.callback()
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function group(random = () => 0.5) {
  const clock = new ManualClock()
  const lines: string[] = []
  const jobs = new JobGroup(clock, pino({ level: 'trace' }, { write: (line: string) => void lines.push(JSON.parse(line).msg) }), random)
  return { clock, jobs, lines }
}

test('a job runs every interval, at once only when asked to', async (t) => {
  const { clock, jobs } = group()
  let late = 0
  let early = 0
  jobs.start()
  jobs.every('late', 100, async () => void late++)
  jobs.every('early', 100, async () => void early++, { immediately: true })
  await clock.pass(0)
  t.deepEqual([late, early], [0, 1])
  await clock.pass(100)
  await clock.pass(100)
  t.deepEqual([late, early], [2, 3])
  await jobs.stop()
  await clock.pass(1_000)
  t.deepEqual([late, early], [2, 3])
})

test('intervals differ by up to a tenth', async (t) => {
  for (const [random, expectedMs] of [
    [0, 90],
    [1, 110],
  ] as const) {
    const { clock, jobs } = group(() => random)
    let runs = 0
    jobs.start()
    jobs.every('job', 100, async () => void runs++)
    await clock.pass(expectedMs - 1)
    t.is(runs, 0)
    await clock.pass(1)
    t.is(runs, 1)
    await jobs.stop()
  }
})

test('a job never overlaps itself, and its failure is logged and not its end', async (t) => {
  const { clock, jobs, lines } = group()
  const gate = Promise.withResolvers<void>()
  let runs = 0
  jobs.start()
  jobs.every('job', 100, async () => {
    runs++
    await gate.promise
    throw new Error('no')
  })
  await clock.pass(100)
  await clock.pass(500)
  t.is(runs, 1)
  gate.resolve()
  await clock.pass(0)
  t.deepEqual(lines, ['a background job failed'])
  await clock.pass(100)
  t.is(runs, 2)
  await jobs.stop()
})

test('what is asked for before the process starts waits until it has; while it starts nothing waits', async (t) => {
  const { clock, jobs } = group()
  const log: string[] = []
  jobs.once('built', async () => void log.push('built'))
  await clock.pass(0)
  t.deepEqual(log, [])
  jobs.open()
  jobs.once('starting', async () => void log.push('starting'))
  await clock.pass(0)
  t.deepEqual(log, ['starting'])
  jobs.start()
  await clock.pass(0)
  t.deepEqual(log, ['starting', 'built'])
  await jobs.stop()
})

test('stopping aborts what runs, waits for it, and starts nothing new', async (t) => {
  const { clock, jobs, lines } = group()
  const log: string[] = []
  jobs.start()
  jobs.once('long', (signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))))
  jobs.once('cleaning up', async (signal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    await new Promise((resolve) => setImmediate(resolve))
    log.push('cleaned up')
  })
  await jobs.stop()
  t.deepEqual(log, ['cleaned up'])
  jobs.once('too late', async () => void log.push('too late'))
  await clock.pass(0)
  t.deepEqual(log, ['cleaned up'])
  t.deepEqual(lines, [], 'ending because the process ends is no failure')
})
