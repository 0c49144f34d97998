import { HeddleError, systemClock, withCall } from '@heddle/core'
import test from 'ava'
import fc from 'fast-check'
import { defaultLimits, GroupCommit, keyOf, measure, takeBatch } from './group-commit.ts'
import { etcdFailure } from './port.ts'
import type { Committed, Compare, Transaction, Write } from './types.ts'

const ok: Committed = { succeeded: true, revision: 1n }
const put = (key: string): Transaction => ({ when: [], write: [{ put: key, value: 'v' }] })

const key = fc.constantFrom('a', 'b', 'c', 'd', 'e')
const transaction = fc.record({
  when: fc.array(
    key.map((name): Compare => ({ key: name, is: 'absent' })),
    { maxLength: 3 },
  ),
  write: fc.uniqueArray(
    key.map((name): Write => ({ put: name, value: 'v' })),
    { maxLength: 3, selector: keyOf },
  ),
})

test('batches cover the queue, keep to the limits, and none writes or compares what an earlier one in it writes', (t) => {
  const limits = { ...defaultLimits, maxOps: 8, maxBytes: 600 }
  fc.assert(
    fc.property(fc.array(fc.tuple(transaction, fc.boolean()), { maxLength: 40 }), (items) => {
      let queue = items.map(([each, alone], index) => ({ transaction: each, ...measure(each), alone: alone && index % 5 === 0, index }))
      const sent: number[] = []
      while (queue.length > 0) {
        const { batch, rest } = takeBatch(queue, limits)
        t.is(batch.length + rest.length, queue.length)
        t.true(batch.length > 0)
        t.is(batch[0], queue[0])
        t.true(batch.length === 1 || batch.length + Math.max(...batch.map(({ ops }) => ops)) <= limits.maxOps)
        t.true(batch.length === 1 || batch.reduce((sum, { bytes }) => sum + bytes, 0) <= limits.maxBytes)
        t.true(batch.length === 1 || batch.every(({ alone }) => !alone))
        const written = new Set<string>()
        for (const entry of batch) {
          t.false([...entry.transaction.when.map((compare) => compare.key), ...entry.transaction.write.map(keyOf)].some((name) => written.has(name)))
          for (const write of entry.transaction.write) written.add(keyOf(write))
        }
        sent.push(...batch.map(({ index }) => index))
        queue = rest
      }
      t.deepEqual(
        sent.toSorted((a, b) => a - b),
        items.map((_, index) => index),
      )
    }),
  )
})

test('what arrives together leaves together, what arrives meanwhile waits for the next request', async (t) => {
  const sizes: number[] = []
  const open: (() => void)[] = []
  const port = {
    transact: (transactions: readonly Transaction[]) => {
      sizes.push(transactions.length)
      return new Promise<Committed[]>((resolve) => open.push(() => resolve(transactions.map(() => ok))))
    },
  }
  let moment: (() => void) | undefined
  const clock = {
    ...systemClock,
    after: (_delayMs: number, callback: () => void) => {
      moment = callback
      return () => {}
    },
  }
  const group = new GroupCommit(port, clock)
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  await withCall({ timeoutMs: 10_000 }, async (call) => {
    const first = Array.from({ length: 10 }, (_, index) => group.submit(put(`a${index}`), call))
    await turn()
    const second = Array.from({ length: 5 }, (_, index) => group.submit(put(`b${index}`), call))
    await turn()
    t.deepEqual(sizes, [10])
    open[0]?.()
    t.true((await Promise.all(first)).every(({ batchSize }) => batchSize === 10))
    // Those answered may ask again in a moment.
    const third = group.submit(put('c'), call)
    await turn()
    t.deepEqual(sizes, [10])
    moment?.()
    const fourth = Array.from({ length: 6 }, (_, index) => group.submit(put(`d${index}`), call))
    open[1]?.()
    await Promise.all([...second, third])
    await turn()
    // As many wait as were carried: nothing is waited for.
    t.deepEqual(sizes, [10, 6, 6])
    open[2]?.()
    await Promise.all(fourth)
  })
})

test('a lone transaction waits for nothing, and nothing waits after it', async (t) => {
  const clock = { ...systemClock, after: () => t.fail('a moment was waited for') as never }
  const group = new GroupCommit({ transact: async (transactions) => transactions.map(() => ok) }, clock)
  await withCall({ timeoutMs: 10_000 }, async (call) => {
    for (const name of ['a', 'b', 'c']) t.is((await group.submit(put(name), call)).batchSize, 1)
  })
})

test('what is no longer wanted when its turn comes is never sent', async (t) => {
  const sent: Transaction[] = []
  const group = new GroupCommit(
    {
      transact: async (transactions) => {
        sent.push(...transactions)
        return transactions.map(() => ok)
      },
    },
    systemClock,
  )
  const caller = new AbortController()
  const dropped = withCall({ timeoutMs: 10_000, signal: caller.signal }, (call) => group.submit(put('dropped'), call))
  const kept = withCall({ timeoutMs: 10_000 }, (call) => group.submit(put('kept'), call))
  caller.abort()
  const error = await t.throwsAsync(dropped)
  t.true(HeddleError.is(error) && error.code === 'cancelled')
  await kept
  t.deepEqual(sent, [put('kept')])
})

test('a request that is refused as a whole is split, one that was lost is not repeated here', async (t) => {
  const sizes: number[] = []
  const group = new GroupCommit(
    {
      transact: async (transactions) => {
        sizes.push(transactions.length)
        if (transactions.some(({ write }) => write.some((item) => keyOf(item) === 'bad'))) throw etcdFailure('malformed', 'internal', 'no')
        if (transactions.some(({ write }) => write.some((item) => keyOf(item) === 'lost'))) throw etcdFailure('no-reply', 'unavailable', 'silence')
        return transactions.map(() => ok)
      },
    },
    systemClock,
  )
  await withCall({ timeoutMs: 10_000 }, async (call) => {
    const outcomes = await Promise.allSettled(['a', 'bad', 'b'].map((name) => group.submit(put(name), call)))
    t.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    t.deepEqual(sizes, [3, 1, 1, 1])
    sizes.length = 0
    const lost = await Promise.allSettled(['a', 'lost'].map((name) => group.submit(put(name), call)))
    t.deepEqual(
      lost.map(({ status }) => status),
      ['rejected', 'rejected'],
    )
    t.deepEqual(sizes, [2])
  })
})
