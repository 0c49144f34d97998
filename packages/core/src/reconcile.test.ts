import test from 'ava'
import fc from 'fast-check'
import { DeltaTracker, KeyedQueue, SetDigest } from './index.ts'

test('after applying what the tracker asks for, actual equals desired', (t) => {
  const table = fc.dictionary(fc.string({ maxLength: 3 }), fc.integer({ min: 0, max: 3 }))
  fc.assert(
    fc.property(table, table, (desired, actual) => {
      const tracker = new DeltaTracker<string, number>((a, b) => a === b)
      tracker.replaceDesired(Object.entries(desired))
      tracker.replaceActual(Object.entries(actual))
      const { put, remove } = tracker.changes()
      for (const [key, value] of put) tracker.setActual(key, value)
      for (const key of remove) tracker.deleteActual(key)
      t.deepEqual([...tracker.actual].sort(), [...tracker.desired].sort())
      t.deepEqual(tracker.changes(), { put: [], remove: [] })
    }),
  )
})

test('a digest depends on the set and not on the order or the path to it', (t) => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string()), fc.string(), (entries, extra) => {
      const forward = new SetDigest()
      for (const entry of entries) forward.add(entry)
      const backward = new SetDigest()
      backward.add(extra)
      for (const entry of entries.toReversed()) backward.add(entry)
      t.not(forward.toString(), backward.toString())
      backward.remove(extra)
      t.is(forward.toString(), backward.toString())
    }),
  )
})

test('tasks of one key run one after another, those of different keys side by side, and a failure frees the key', async (t) => {
  const queue = new KeyedQueue()
  const log: string[] = []
  const gate = Promise.withResolvers<void>()
  const slow = queue.run('a', async () => {
    await gate.promise
    log.push('a1')
    throw new Error('a1 failed')
  })
  const next = queue.run('a', async () => void log.push('a2'))
  await queue.run('b', async () => void log.push('b'))
  gate.resolve()
  await t.throwsAsync(slow, { message: 'a1 failed' })
  await next
  t.deepEqual(log, ['b', 'a1', 'a2'])
  await new Promise((resolve) => setImmediate(resolve))
  t.is(queue.size, 0)
})
