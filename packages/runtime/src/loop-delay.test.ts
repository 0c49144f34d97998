import { setTimeout as pause } from 'node:timers/promises'
import { type Clock, systemClock } from '@heddle/core'
import test from 'ava'
import { createRuntime } from './index.ts'

test('an event loop that is held up is told once, and is seen in health; so is its end', async (t) => {
  let endWindow = () => {}
  const clock: Clock = {
    ...systemClock,
    after(_delayMs, callback) {
      endWindow = callback
      return () => {}
    },
  }
  const lines: { msg: string; level: number; p99Ms?: number }[] = []
  const logSink = { write: (line: string) => void lines.push(JSON.parse(line)) }
  const runtime = createRuntime({ name: 'test', host: 'h1', version: '0.1.0', log: { level: 'info', pretty: false }, clock, logSink })
  await runtime.start()
  const holdUp = async () => {
    for (let round = 0; round < 10; round++) {
      for (const endMs = performance.now() + 60; performance.now() < endMs; );
      await pause(1)
    }
    endWindow()
  }
  await holdUp()
  await holdUp()
  const told = lines.filter(({ msg }) => msg.startsWith('the event loop is held up'))
  t.is(told.length, 1)
  t.is(told[0]?.level, 40)
  t.true((told[0]?.p99Ms ?? 0) > 20)
  t.regex(runtime.health().checks['event-loop']?.message ?? '', /delayed by [2-9]\d/)
  endWindow()
  t.is(lines.at(-1)?.msg, 'the event loop keeps up again')
  await runtime.stop()
})
