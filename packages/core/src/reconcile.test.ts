import test from 'ava'
import fc from 'fast-check'
import { Batcher, DeltaTracker, KeyedQueue, SetDigest } from './index.ts'

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

test('what arrives during a flush leaves with the next one, and each item gets its own outcome', async (t) => {
  const flushed: number[][] = []
  const batcher = new Batcher<number, string>({
    maxItems: 3,
    async flush(items) {
      flushed.push([...items])
      await new Promise((resolve) => setImmediate(resolve))
      return items.map((item) => (item === 4 ? { status: 'rejected', reason: new Error('four') } : { status: 'fulfilled', value: `n${item}` }))
    },
  })
  const outcomes = await Promise.allSettled([1, 2, 3, 4, 5].map((item) => batcher.add(item)))
  t.deepEqual(flushed, [
    [1, 2, 3],
    [4, 5],
  ])
  t.deepEqual(
    outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : (outcome.reason as Error).message)),
    ['n1', 'n2', 'n3', 'four', 'n5'],
  )
})

test('a flush that throws fails every item of its batch and no other', async (t) => {
  let first = true
  const batcher = new Batcher<number, number>({
    maxItems: 2,
    async flush(items) {
      if (first) {
        first = false
        throw new Error('etcd went away')
      }
      return items.map((value) => ({ status: 'fulfilled', value }))
    },
  })
  const outcomes = await Promise.allSettled([1, 2, 3].map((item) => batcher.add(item)))
  t.deepEqual(
    outcomes.map((outcome) => outcome.status),
    ['rejected', 'rejected', 'fulfilled'],
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
