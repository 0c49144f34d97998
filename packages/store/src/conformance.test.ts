import { type Call, HeddleError, withCall } from '@heddle/core'
import { type ServerHandle, startEtcd } from '@heddle/testkit'
import test from 'ava'
import fc from 'fast-check'
import pino from 'pino'
import {
  type Committed,
  type Compare,
  connectStore,
  type Listing,
  MemoryStore,
  type Store,
  type StoredRecord,
  type Transaction,
  type WatchBatch,
  type Write,
} from './index.ts'

const logger = pino({ level: 'silent' })
let etcd: ServerHandle
const stores: Record<string, Store> = { memory: new MemoryStore() }
let prefixes = 0

test.before(async () => {
  etcd = await startEtcd()
  stores['etcd'] = connectStore({ endpoints: [etcd.url], logger })
})

test.after.always(async () => {
  await stores['etcd']?.close()
  await etcd?.stop()
})

const within = <T>(body: (call: Call) => Promise<T>): Promise<T> => withCall({ timeoutMs: 10_000 }, body)
const commit = (store: Store, transaction: Partial<Transaction>) => within((call) => store.commit({ when: [], write: [], ...transaction }, call))
const get = (store: Store, key: string) => within((call) => store.get(key, call))
const list = (store: Store, prefix: string) => within((call) => store.list(prefix, call))

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition() && tries < 2_000; tries++) await new Promise((resolve) => setTimeout(resolve, 5))
}

/** The same test on both stores, each with a prefix of its own. */
function both(title: string, body: (t: import('ava').ExecutionContext, store: Store, prefix: string) => Promise<void>): void {
  for (const name of ['memory', 'etcd']) test(`${name}: ${title}`, (t) => body(t, stores[name] as Store, `test/${prefixes++}/`))
}

both('a record carries the revisions of its creation and its last change', async (t, store, p) => {
  t.is(await get(store, `${p}a`), undefined)
  const first = await commit(store, { write: [{ put: `${p}a`, value: 'one' }] })
  t.deepEqual(await get(store, `${p}a`), { key: `${p}a`, value: 'one', createRevision: first.revision, modRevision: first.revision })
  const second = await commit(store, { write: [{ put: `${p}a`, value: 'zwei ü' }] })
  t.true(second.revision > first.revision)
  t.deepEqual(await get(store, `${p}a`), { key: `${p}a`, value: 'zwei ü', createRevision: first.revision, modRevision: second.revision })
  await commit(store, { write: [{ delete: `${p}a` }] })
  t.is(await get(store, `${p}a`), undefined)
})

both('each kind of condition holds when it should and only then', async (t, store, p) => {
  const { revision } = await commit(store, { write: [{ put: `${p}a`, value: 'v' }] })
  const changed = await commit(store, { write: [{ put: `${p}a`, value: 'w' }] })
  const holds = async (compare: Compare) => (await commit(store, { when: [compare] })).succeeded
  t.deepEqual(
    await Promise.all([
      holds({ key: `${p}a`, is: 'absent' }),
      holds({ key: `${p}b`, is: 'absent' }),
      holds({ key: `${p}a`, is: 'present' }),
      holds({ key: `${p}b`, is: 'present' }),
      holds({ key: `${p}a`, is: 'at', modRevision: revision }),
      holds({ key: `${p}a`, is: 'at', modRevision: changed.revision }),
      holds({ key: `${p}b`, is: 'at', modRevision: 0n }),
      holds({ key: `${p}a`, is: 'created-at', createRevision: revision }),
      holds({ key: `${p}a`, is: 'created-at', createRevision: changed.revision }),
      holds({ key: `${p}a`, is: 'valued', value: 'w' }),
      holds({ key: `${p}a`, is: 'valued', value: 'v' }),
      holds({ key: `${p}b`, is: 'valued', value: '' }),
    ]),
    [false, true, true, false, false, true, true, true, false, true, false, false],
  )
})

both('nothing below a prefix is a condition too, and holds among transactions that travel together', async (t, store, p) => {
  const free = (prefix: string) => commit(store, { when: [{ key: prefix, is: 'none-below' }], write: [{ put: `${prefix}mine`, value: 'v' }] })
  const outcomes = await Promise.all(Array.from({ length: 10 }, () => free(`${p}pool/`)))
  t.is(outcomes.filter(({ succeeded }) => succeeded).length, 1)
  t.true((await free(`${p}pool0`)).succeeded)
})

both('a transaction whose conditions fail writes nothing and reads what was asked', async (t, store, p) => {
  await commit(store, { write: [{ put: `${p}a`, value: 'mine' }] })
  const refused = await commit(store, {
    when: [
      { key: `${p}a`, is: 'absent' },
      { key: `${p}b`, is: 'absent' },
    ],
    write: [
      { put: `${p}a`, value: 'theirs' },
      { put: `${p}b`, value: 'theirs' },
    ],
    otherwiseRead: [`${p}a`, `${p}b`],
  })
  t.false(refused.succeeded)
  if (refused.succeeded) return
  t.deepEqual([...refused.found.keys()], [`${p}a`])
  t.is(refused.found.get(`${p}a`)?.value, 'mine')
  t.deepEqual(
    (await list(store, p)).records.map(({ value }) => value),
    ['mine'],
  )
})

both('of many who claim one key at once exactly one gets it, and the others see whose it is', async (t, store, p) => {
  const claims = await Promise.all(
    Array.from({ length: 50 }, (_, owner) =>
      commit(store, { when: [{ key: `${p}k`, is: 'absent' }], write: [{ put: `${p}k`, value: String(owner) }], otherwiseRead: [`${p}k`] }),
    ),
  )
  const winner = claims.findIndex(({ succeeded }) => succeeded)
  t.is(claims.filter(({ succeeded }) => succeeded).length, 1)
  for (const claim of claims) if (!claim.succeeded) t.is(claim.found.get(`${p}k`)?.value, String(winner))
})

both('transactions that travel together see each other: no write skew', async (t, store, p) => {
  const outcomes = await Promise.all(
    ['l', 'r'].map((mine) => {
      const other = mine === 'l' ? 'r' : 'l'
      return commit(store, { when: [{ key: `${p}${other}`, is: 'absent' }], write: [{ put: `${p}${mine}`, value: mine }] })
    }),
  )
  t.is(outcomes.filter(({ succeeded }) => succeeded).length, 1)
})

both('a transaction that can never be valid fails alone, with a message, among others that succeed', async (t, store, p) => {
  const good = Array.from({ length: 20 }, (_, index) => commit(store, { write: [{ put: `${p}${index}`, value: 'v' }] }))
  const gone = commit(store, { write: [{ put: `${p}leased`, value: 'v', lease: 987_654_321n }] })
  const twice = commit(store, {
    write: [{ put: `${p}x`, value: 'v' }, { delete: `${p}x` }],
  })
  const huge = commit(store, { write: Array.from({ length: 128 }, (_, index) => ({ put: `${p}huge${index}`, value: 'v' })) })
  const lost = await t.throwsAsync(gone, { message: /lease/ })
  t.true(HeddleError.is(lost) && lost.retryable && lost.remedy !== undefined)
  await t.throwsAsync(twice, { message: /one key twice/ })
  await t.throwsAsync(huge, { message: /limit/ })
  t.true((await Promise.all(good)).every(({ succeeded }) => succeeded))
  t.is((await list(store, p)).records.length, 20)
})

both('a list is a prefix in byte order at one revision, without its neighbours', async (t, store, p) => {
  const keys = ['a/1', 'a/10', 'a/2', 'a/B', 'a/ü', 'a/€', 'a0', 'b/1']
  for (const key of keys.toReversed()) await commit(store, { write: [{ put: `${p}${key}`, value: key }] })
  const listing = await list(store, `${p}a/`)
  t.deepEqual(
    listing.records.map(({ value }) => value),
    ['a/1', 'a/10', 'a/2', 'a/B', 'a/ü', 'a/€'],
  )
  t.true(listing.records.every(({ modRevision }) => modRevision <= listing.revision))
})

both('a list can be read part by part, also from a key that is gone or outside the prefix', async (t, store, p) => {
  for (const key of ['a/1', 'a/2', 'a/3', 'a/4', 'b/1']) await commit(store, { write: [{ put: `${p}${key}`, value: key }] })
  const part = async (after: string, limit: number) =>
    (await within((call) => store.list(`${p}a/`, call, { after: `${p}${after}`, limit }))).records.map(({ value }) => value)
  t.deepEqual(await part('', 2), ['a/1', 'a/2'])
  t.deepEqual(await part('a/2', 2), ['a/3', 'a/4'])
  t.deepEqual(await part('a/25', 1), ['a/3'])
  t.deepEqual(await part('a/4', 2), [])
  t.deepEqual(await part('b/1', 2), [])
})

both('deleting what is not there succeeds', async (t, store, p) => {
  t.true((await commit(store, { write: [{ delete: `${p}never` }] })).succeeded)
})

both('a watch gives a snapshot, then every revision of its prefix once and whole, and nothing after it is closed', async (t, store, p) => {
  await commit(store, { write: [{ put: `${p}w/old`, value: '0' }] })
  const snapshots: Listing[] = []
  const batches: WatchBatch[] = []
  const watching = store.watch(`${p}w/`, { onSnapshot: (listing) => snapshots.push(listing), onBatch: (batch) => batches.push(batch) })
  await watching.ready
  t.deepEqual(
    snapshots.map(({ records }) => records.map(({ key }) => key)),
    [[`${p}w/old`]],
  )
  const first = await commit(store, {
    write: [{ put: `${p}w/a`, value: '1' }, { put: `${p}w/b`, value: '1' }, { delete: `${p}w/old` }, { put: `${p}elsewhere`, value: '1' }],
  })
  await commit(store, { write: [{ put: `${p}elsewhere`, value: '2' }] })
  const third = await commit(store, { write: [{ delete: `${p}w/a` }] })
  await until(() => batches.length >= 2)
  const record = (key: string, value: string): StoredRecord => ({ key, value, createRevision: first.revision, modRevision: first.revision })
  t.deepEqual(batches, [
    { revision: first.revision, puts: [record(`${p}w/a`, '1'), record(`${p}w/b`, '1')], deletes: [{ key: `${p}w/old`, modRevision: first.revision }] },
    { revision: third.revision, puts: [], deletes: [{ key: `${p}w/a`, modRevision: third.revision }] },
  ])
  t.is(watching.revision, third.revision)
  await watching.close()
  await commit(store, { write: [{ put: `${p}w/late`, value: '3' }] })
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.is(batches.length, 2)
})

both('a snapshot and its batches add up to the list, however many write', async (t, store, p) => {
  const state = new Map<string, string>()
  const watching = store.watch(p, {
    onSnapshot: ({ records }) => {
      state.clear()
      for (const { key, value } of records) state.set(key, value)
    },
    onBatch: ({ puts, deletes }) => {
      for (const { key } of deletes) state.delete(key)
      for (const { key, value } of puts) state.set(key, value)
    },
  })
  let revision = 0n
  await Promise.all(
    Array.from({ length: 300 }, async (_, index) => {
      const key = `${p}${index % 40}`
      const done = await commit(store, { write: index % 3 === 0 ? [{ delete: key }] : [{ put: key, value: String(index) }] })
      if (done.revision > revision) revision = done.revision
    }),
  )
  const last = await commit(store, { write: [{ put: `${p}last`, value: 'x' }] })
  await until(() => watching.revision >= last.revision)
  t.deepEqual(new Map([...state].sort()), new Map((await list(store, p)).records.map(({ key, value }) => [key, value] as const).sort()))
  await watching.close()
})

both('a lease takes its records with it when it is revoked, and is then unknown', async (t, store, p) => {
  const id = await within((call) => store.grantLease(30_000, call))
  await commit(store, { write: [{ put: `${p}a`, value: 'v', lease: id }] })
  t.true(await within((call) => store.renewLease(id, call)))
  await within((call) => store.revokeLease(id, call))
  t.is(await get(store, `${p}a`), undefined)
  t.false(await within((call) => store.renewLease(id, call)))
  await t.notThrowsAsync(within((call) => store.revokeLease(id, call)))
})

both('a lease nobody renews runs out, one that is renewed does not', async (t, store, p) => {
  const held = await within((call) => store.grantLease(2_000, call))
  const left = await within((call) => store.grantLease(2_000, call))
  await commit(store, { write: [{ put: `${p}held`, value: 'v', lease: held }] })
  await commit(store, { write: [{ put: `${p}left`, value: 'v', lease: left }] })
  const deleted: string[] = []
  const watching = store.watch(p, { onSnapshot: () => {}, onBatch: ({ deletes }) => deleted.push(...deletes.map(({ key }) => key)) })
  await watching.ready
  while (deleted.length === 0) {
    t.true(await within((call) => store.renewLease(held, call)))
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  t.deepEqual(deleted, [`${p}left`])
  await until(() => deleted.length > 1)
  t.deepEqual(deleted, [`${p}left`, `${p}held`])
  await watching.close()
})

both('a call that has ended is refused', async (t, store, p) => {
  const error = await t.throwsAsync(withCall({ timeoutMs: 1_000, signal: AbortSignal.abort() }, (call) => store.get(p, call)))
  t.true(HeddleError.is(error) && error.code === 'cancelled')
})

test('whatever is asked of both stores in whatever order, both answer the same', async (t) => {
  const memory = new MemoryStore()
  const real = stores['etcd'] as Store
  const name = fc.constantFrom('a', 'b', 'c')
  const value = fc.constantFrom('1', '2')
  const compare = fc.oneof(
    fc.record({ key: name, is: fc.constantFrom('absent' as const, 'present' as const) }),
    fc.record({ key: name, is: fc.constant('valued' as const), value }),
    fc.record({ key: name, is: fc.constant('current' as const), stale: fc.boolean() }),
  )
  const write = fc.oneof(fc.record({ put: name, value }), fc.record({ delete: name }))
  const step = fc.record({
    when: fc.array(compare, { maxLength: 2 }),
    write: fc.uniqueArray(write, { maxLength: 3, selector: (item) => ('put' in item ? item.put : item.delete) }),
  })

  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
      const prefix = `model/${prefixes++}/`
      const run = async (store: Store) => {
        const seen: unknown[] = []
        const keys = ['a', 'b', 'c'].map((key) => prefix + key)
        for (const { when, write } of steps) {
          const known = new Map((await list(store, prefix)).records.map((record) => [record.key, record]))
          const done: Committed = await commit(store, {
            when: when.map((item): Compare => {
              const key = prefix + item.key
              return item.is === 'current' ? { key, is: 'at', modRevision: (known.get(key)?.modRevision ?? 0n) + (item.stale ? 1n : 0n) } : { ...item, key }
            }),
            write: write.map((item): Write => ('put' in item ? { ...item, put: prefix + item.put } : { delete: prefix + item.delete })),
            otherwiseRead: keys,
          })
          const after = (await list(store, prefix)).records
          const put = new Set(write.map((item) => ('put' in item ? prefix + item.put : '')))
          seen.push({
            succeeded: done.succeeded,
            found: done.succeeded ? [] : [...done.found.values()].map(({ key, value }) => [key, value]),
            after: after.map(({ key, value, createRevision, modRevision }) => [
              key,
              value,
              createRevision === modRevision,
              !done.succeeded || !put.has(key) || modRevision === done.revision,
            ]),
          })
        }
        return seen
      }
      const [first, second] = await Promise.all([run(memory), run(real)])
      t.deepEqual(first, second)
    }),
    { numRuns: 60 },
  )
})
