// Watches against a real etcd: cut, compacted, idle, behind, and after its history went back.
import { execFile } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { promisify } from 'node:util'
import test from 'ava'
import type { Store } from './index.ts'
import { commit, pause, setUp, until } from './testing/faulty.ts'

const run = promisify(execFile)

test('a watch cut again and again right after it was created loses no event', async (t) => {
  // WatchResponse: watch_id (field 2) = 1, created (field 3) = true.
  const created = Buffer.from([0x10, 0x01, 0x18, 0x01])
  let cuts = 0
  const { proxy, store, direct } = await setUp(t, (chunk) => {
    if (cuts >= 8 || !chunk.includes(created)) return 'pass'
    cuts++
    return 'cut-after'
  })
  const seen: string[] = []
  let snapshots = 0
  const watching = store.watch('w/', { onSnapshot: () => snapshots++, onBatch: ({ puts }) => seen.push(...puts.map(({ key }) => key)) })
  await watching.ready
  const written: string[] = []
  for (let index = 0; cuts < 8 || index < 20; index++) {
    const key = `w/${String(index).padStart(5, '0')}`
    await commit(direct, { write: [{ put: key, value: 'v' }] })
    written.push(key)
    if (index % 5 === 0) proxy.cut()
    await pause(5)
  }
  await until(() => seen.length >= written.length)
  t.deepEqual(seen, written)
  t.is(snapshots, 1)
})

test('a watch whose place was compacted lists again', async (t) => {
  const { etcd, proxy, store, direct } = await setUp(t)
  const snapshots: string[][] = []
  const epochs = new Set<string>()
  const seen: string[] = []
  const watching = store.watch('w/', {
    onSnapshot: ({ records }, epoch) => {
      snapshots.push(records.map(({ key }) => key))
      epochs.add(epoch)
    },
    onBatch: ({ puts }) => seen.push(...puts.map(({ key }) => key)),
  })
  await watching.ready
  proxy.refuse()
  await commit(direct, { write: [{ put: 'w/a', value: '1' }] })
  const { revision } = await commit(direct, { write: [{ put: 'w/b', value: '1' }] })
  await run('etcdctl', ['--endpoints', etcd.url, 'compact', String(revision)], { env: { ...process.env, ETCDCTL_API: '3' } })
  proxy.pass()
  await until(() => snapshots.length > 1)
  t.deepEqual(snapshots, [[], ['w/a', 'w/b']])
  t.is(epochs.size, 1)
  await commit(direct, { write: [{ put: 'w/c', value: '1' }] })
  await until(() => seen.length > 0)
  t.deepEqual(seen, ['w/c'])
})

test('a watch whose connection has fallen silent without a word goes on by another', async (t) => {
  // The transport finds a dead peer after about 15 s.
  t.timeout(120_000)
  const { proxy, store, direct } = await setUp(t)
  const seen: string[] = []
  const watching = store.watch('w/', { onSnapshot: () => {}, onBatch: ({ puts }) => seen.push(...puts.map(({ key }) => key)) })
  await watching.ready
  await commit(direct, { write: [{ put: 'w/a', value: '1' }] })
  await until(() => seen.length > 0)
  proxy.silence()
  await commit(direct, { write: [{ put: 'w/b', value: '1' }] })
  while (seen.length < 2) await pause(50)
  t.deepEqual(seen, ['w/a', 'w/b'])
})

test('an idle watch moves on with what etcd says about its progress', async (t) => {
  const { store, direct } = await setUp(t)
  const watching = store.watch('w/', { onSnapshot: () => {}, onBatch: () => {} })
  await watching.ready
  const { revision } = await commit(direct, { write: [{ put: 'elsewhere', value: '1' }] })
  await until(() => watching.revision >= revision)
  t.true(watching.revision >= revision)
})

test('a backlog too large for one reply arrives as whole revisions', async (t) => {
  const { proxy, store, direct } = await setUp(t)
  const revisions: bigint[] = []
  let count = 0
  const watching = store.watch('w/', {
    onSnapshot: () => {},
    onBatch: ({ revision, puts }) => {
      revisions.push(revision)
      count += puts.length
    },
  })
  await watching.ready
  proxy.refuse()
  const value = 'x'.repeat(8_000)
  const put = (index: number) => ({ put: `w/${index}`, value })
  for (let round = 0; round < 12; round++) await commit(direct, { write: Array.from({ length: 60 }, (_, index) => put(round * 60 + index)) })
  proxy.pass()
  await until(() => count >= 720)
  t.is(count, 720)
  t.is(revisions.length, 12)
  t.is(new Set(revisions).size, 12)
})

test('when etcd goes back to an older history all watchers get a new epoch and a snapshot, also those that began after', async (t) => {
  const { etcd, proxy, store, direct } = await setUp(t)
  const histories: { epoch: string; keys: string[] }[][] = [[], []]
  const follow = (each: Store, index: number) =>
    each.watch('w/', {
      onSnapshot: ({ records }, epoch) => histories[index]?.push({ epoch, keys: records.map(({ key }) => key) }),
      onBatch: () => {},
    })
  const watching = follow(store, 0)
  await watching.ready
  await commit(store, { write: [{ put: 'w/old', value: '1' }] })
  await etcd.kill()
  cpSync(`${etcd.dataDir}/data`, `${etcd.dataDir}/backup`, { recursive: true })
  await etcd.restart()
  const lost = await commit(store, { write: [{ put: 'w/lost', value: '1' }] })
  await until(() => watching.revision >= lost.revision)
  proxy.refuse()
  await etcd.kill()
  rmSync(`${etcd.dataDir}/data`, { recursive: true })
  cpSync(`${etcd.dataDir}/backup`, `${etcd.dataDir}/data`, { recursive: true })
  await etcd.restart()
  // Other writes take the revisions of the lost one before the watcher who knew it is back.
  for (let index = 0; index < 5; index++) await commit(direct, { write: [{ put: 'elsewhere', value: String(index) }] })
  await follow(direct, 1).ready
  t.is(histories[1]?.[0]?.epoch, histories[0]?.[0]?.epoch)
  proxy.pass()
  await until(() => histories.every((history) => history.length > 1))
  const [ours, theirs] = histories.map((history) => history.at(-1))
  t.deepEqual(ours?.keys, ['w/old'])
  t.deepEqual(theirs, ours)
  t.not(ours?.epoch, histories[0]?.[0]?.epoch)
})
