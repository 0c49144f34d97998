import { HeddleError, withCall } from '@heddle/core'
import test from 'ava'
import { decide, MemoryStore, type Question, type StoredRecord } from './index.ts'

/** Adds one to a number under a key. */
const increment = (key: string): Question<number> => ({
  keys: () => [key],
  decide: (known) => {
    const next = Number(known.get(key)?.value ?? 0) + 1
    return { write: [{ put: key, value: String(next) }], result: next }
  },
})

const stale = (key: string, value: string): StoredRecord => ({ key, value, createRevision: 1n, modRevision: 1n })

test('decisions made at the same time are made one after the other', async (t) => {
  const store = new MemoryStore()
  const results = await withCall({ timeoutMs: 5_000 }, (call) => Promise.all(Array.from({ length: 20 }, () => decide(store, increment('n'), call))))
  t.deepEqual(
    results.map(({ result }) => result).toSorted((a, b) => a - b),
    Array.from({ length: 20 }, (_, index) => index + 1),
  )
})

test('a wrong guess costs a second round and never decides', async (t) => {
  const store = new MemoryStore()
  await withCall({ timeoutMs: 5_000 }, async (call) => {
    await decide(store, increment('n'), call)
    const { result } = await decide(store, { ...increment('n'), guess: (key) => stale(key, '41') }, call)
    t.is(result, 2)
    const refuseIfThere: Question<string> = {
      keys: () => ['other'],
      guess: (key) => stale(key, 'x'),
      decide: (known) => {
        if (known.has('other')) throw new HeddleError('conflict', 'it is there')
        return { write: [], result: 'free' }
      },
    }
    t.is((await decide(store, refuseIfThere, call)).result, 'free', 'what a stale guess refuses is not refused')
    await store.commit({ when: [], write: [{ put: 'other', value: 'y' }] }, call)
    t.true(HeddleError.is(await t.throwsAsync(decide(store, { ...refuseIfThere, guess: () => undefined }, call))))
  })
})

test('a record may name the next key, in the guess and in what was found', async (t) => {
  const store = new MemoryStore()
  const follow: Question<string | undefined> = {
    keys: (known) => ['name', ...(known.has('name') ? [`id/${known.get('name')?.value}`] : [])],
    decide: (known) => ({ write: [], result: known.get(`id/${known.get('name')?.value}`)?.value }),
  }
  await withCall({ timeoutMs: 5_000 }, async (call) => {
    t.is((await decide(store, follow, call)).result, undefined)
    await store.commit(
      {
        when: [],
        write: [
          { put: 'name', value: '7' },
          { put: 'id/7', value: 'seven' },
        ],
      },
      call,
    )
    t.is((await decide(store, follow, call)).result, 'seven')
    t.is((await decide(store, { ...follow, guess: (key) => stale(key, key === 'name' ? '8' : 'eight') }, call)).result, 'seven')
  })
})
