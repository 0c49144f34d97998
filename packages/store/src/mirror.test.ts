import { withCall } from '@heddle/core'
import test from 'ava'
import fc from 'fast-check'
import { type Listing, MemoryStore, Mirror, type Store, type StoredRecord, type WatchListener } from './index.ts'

/** A store whose watch says what the test makes it say. */
function scripted(): { store: Store; watch: WatchListener } {
  const memory = new MemoryStore()
  let listener: WatchListener | undefined
  memory.watch = (_prefix, given) => {
    listener = given
    return { ready: Promise.resolve(), revision: 0n, close: async () => {} }
  }
  const heard = () => listener as WatchListener
  return { store: memory, watch: { onSnapshot: (...args) => heard().onSnapshot(...args), onBatch: (batch) => heard().onBatch(batch) } }
}

const record = (key: string, value: string, revision: bigint, createRevision = revision): StoredRecord => ({
  key,
  value,
  createRevision,
  modRevision: revision,
})
const listing = (revision: bigint, ...records: StoredRecord[]): Listing => ({ revision, records })

test('an own write is read at once, and an older event does not undo it', (t) => {
  const { store, watch } = scripted()
  const heard: string[] = []
  const mirror = new Mirror(store, 'p/', (key, after, before) => heard.push(`${key} ${before?.value} -> ${after?.value}`))
  watch.onSnapshot(listing(5n, record('p/a', 'old', 3n)), 'e')
  mirror.wrote([{ put: 'p/a', value: 'mine' }, { delete: 'p/b' }], 8n)
  t.is(mirror.get('p/a')?.value, 'mine')
  t.is(mirror.get('p/a')?.createRevision, 3n)
  watch.onBatch({ revision: 7n, puts: [record('p/a', 'theirs', 7n, 3n), record('p/b', 'theirs', 7n)], deletes: [] })
  t.is(mirror.get('p/a')?.value, 'mine')
  t.is(mirror.get('p/b'), undefined)
  watch.onBatch({ revision: 8n, puts: [record('p/a', 'mine', 8n, 3n)], deletes: [{ key: 'p/b', modRevision: 8n }] })
  watch.onBatch({ revision: 9n, puts: [record('p/a', 'later', 9n, 3n)], deletes: [] })
  t.is(mirror.get('p/a')?.value, 'later')
  mirror.wrote([{ put: 'p/a', value: 'mine again' }], 8n)
  t.is(mirror.get('p/a')?.value, 'later', 'a write the watch has passed says nothing new')
  t.deepEqual(heard, ['p/a undefined -> old', 'p/a old -> mine', 'p/a mine -> later'])
})

test('a new history forgets writes of the old one', (t) => {
  const { store, watch } = scripted()
  const mirror = new Mirror(store, 'p/')
  watch.onSnapshot(listing(5n), 'e1')
  mirror.wrote([{ put: 'p/a', value: 'mine' }], 90n)
  watch.onSnapshot(listing(6n), 'e1')
  t.is(mirror.get('p/a')?.value, 'mine')
  watch.onSnapshot(listing(2n), 'e2')
  t.is(mirror.get('p/a'), undefined)
})

test('a listener that fails on one key hears of the others all the same', (t) => {
  const { store, watch } = scripted()
  const heard: string[] = []
  const mirror = new Mirror(store, 'p/', (key, after) => {
    if (after?.value === 'unreadable') throw new SyntaxError(key)
    heard.push(key)
  })
  const records = [record('p/a', 'unreadable', 2n), record('p/b', 'v', 3n), record('p/c', 'unreadable', 4n), record('p/d', 'v', 5n)]
  const error = t.throws(() => watch.onSnapshot(listing(5n, ...records), 'e'), { instanceOf: AggregateError })
  t.deepEqual(error?.errors.map(String), ['SyntaxError: p/a', 'SyntaxError: p/c'])
  t.notThrows(() => watch.onSnapshot(listing(5n, ...records), 'e'), 'the listing that follows finds nothing new')
  t.deepEqual(heard, ['p/b', 'p/d'])
  t.is(mirror.get('p/a')?.value, 'unreadable')
})

test('what is not here is looked for in the store before it is called missing', async (t) => {
  const { store, watch } = scripted()
  const mirror = new Mirror(store, 'p/')
  watch.onSnapshot(listing(1n), 'e')
  await withCall({ timeoutMs: 1_000 }, async (call) => {
    t.is(await mirror.find('p/a', call), undefined)
    await store.commit({ when: [], write: [{ put: 'p/a', value: 'theirs' }] }, call)
    t.is((await mirror.find('p/a', call))?.value, 'theirs')
    t.is(mirror.get('p/a')?.value, 'theirs')
  })
})

test('in whatever order own writes and the watch arrive, the mirror ends equal to the store and its listener with it', async (t) => {
  const change = fc.record({
    key: fc.constantFrom('p/a', 'p/b', 'p/c'),
    value: fc.option(fc.string({ maxLength: 3 })),
    own: fc.boolean(),
    lag: fc.nat({ max: 3 }),
    relist: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 30 }), async (changes) => {
      const { store, watch } = scripted()
      const followed = new Map<string, string>()
      const mirror = new Mirror(store, 'p/', (key, after, before) => {
        t.is(followed.get(key), before?.value)
        if (after === undefined) followed.delete(key)
        else followed.set(key, after.value)
      })
      watch.onSnapshot(listing(1n), 'e')
      const truth = new Map<string, StoredRecord>()
      const pending: (() => void)[] = []
      let revision = 1n
      for (const { key, value, own, lag, relist } of changes) {
        const at = ++revision
        const before = truth.get(key)
        if (value === null) truth.delete(key)
        else truth.set(key, record(key, value, at, before?.createRevision ?? at))
        const now = [...truth.values()]
        if (relist) pending.splice(0, pending.length, () => watch.onSnapshot(listing(at, ...now), 'e'))
        else if (value !== null) pending.push(() => watch.onBatch({ revision: at, puts: now.filter((entry) => entry.key === key), deletes: [] }))
        else if (before !== undefined) pending.push(() => watch.onBatch({ revision: at, puts: [], deletes: [{ key, modRevision: at }] }))
        if (own) {
          mirror.wrote([value === null ? { delete: key } : { put: key, value }], at)
          t.is(mirror.get(key)?.value, value ?? undefined)
        }
        while (pending.length > lag) pending.shift()?.()
      }
      for (const deliver of pending) deliver()
      watch.onBatch({ revision: revision + 1n, puts: [], deletes: [] })
      for (const key of ['p/a', 'p/b', 'p/c']) {
        t.deepEqual(mirror.get(key), truth.get(key))
        t.is(followed.get(key), truth.get(key)?.value)
      }
    }),
  )
})
