/** The store against a real etcd that is cut off, silent, killed or gone back in time. */
import { spawn } from 'node:child_process'
import { type Call, HeddleError } from '@heddle/core'
import test from 'ava'
import { decide, type Question, type Transaction } from './index.ts'
import { claim, commit, get, loseAndHeal, pause, setUp, until, within } from './testing/faulty.ts'

test('a claim whose reply was lost is reported as ours', async (t) => {
  const { proxy, store, direct } = await setUp(t)
  proxy.swallowReplies()
  const claiming = commit(store, claim('k', 'us'))
  await until(async () => (await get(direct, 'k')) !== undefined)
  loseAndHeal(proxy)
  const done = await claiming
  t.true(done.succeeded)
  t.is((await get(direct, 'k'))?.modRevision, done.revision)
})

test('a reply that just never comes, on a connection that looks alive, is given up in time to find out', async (t) => {
  let swallow = false
  const { store, direct } = await setUp(t, () => (swallow ? 'swallow' : 'pass'))
  swallow = true
  const claiming = commit(store, claim('k', 'us'))
  await until(async () => (await get(direct, 'k')) !== undefined)
  swallow = false
  t.true((await claiming).succeeded)
})

test('a claim whose reply was lost is reported as ours although somebody has overwritten it since', async (t) => {
  const { proxy, store, direct } = await setUp(t)
  proxy.swallowReplies()
  const claiming = commit(store, claim('k', 'us'))
  await until(async () => (await get(direct, 'k')) !== undefined)
  const ours = await get(direct, 'k')
  await commit(direct, { write: [{ put: 'k', value: 'later' }] })
  loseAndHeal(proxy)
  const done = await claiming
  t.true(done.succeeded)
  t.is(ours?.modRevision, done.revision)
})

test("a claim whose reply was lost is reported as refused when the key is somebody else's, with whose", async (t) => {
  const { proxy, store, direct } = await setUp(t)
  proxy.blackHole()
  const claiming = commit(store, claim('k', 'us'))
  await commit(direct, claim('k', 'them'))
  loseAndHeal(proxy)
  const done = await claiming
  t.false(done.succeeded)
  t.is(done.succeeded || done.found.get('k')?.value, 'them')
})

test('a lost reply to a write that could happen twice is read back, not repeated', async (t) => {
  const { proxy, store, direct } = await setUp(t)
  await commit(direct, { write: [{ put: 'host', value: 'up' }] })
  const put: Transaction = { when: [{ key: 'host', is: 'present' }], write: [{ put: 'k', value: 'us' }] }
  proxy.swallowReplies()
  const writing = commit(store, put)
  await until(async () => (await get(direct, 'k')) !== undefined)
  const before = await get(direct, 'k')
  loseAndHeal(proxy)
  t.deepEqual(await writing, { succeeded: true, revision: before?.modRevision as bigint })
  t.deepEqual(await get(direct, 'k'), before)

  proxy.swallowReplies()
  const deleted = commit(store, { when: [{ key: 'host', is: 'present' }], write: [{ put: 'k', value: 'us again' }] })
  const outcome = t.throwsAsync(deleted)
  await until(async () => (await get(direct, 'k'))?.value === 'us again')
  await commit(direct, { write: [{ delete: 'k' }] })
  loseAndHeal(proxy)
  const error = await outcome
  t.true(HeddleError.is(error) && error.code === 'unavailable')
  t.is(await get(direct, 'k'), undefined)
})

test('a decision that nothing is to be written, or that it is refused, survives the loss of the reply that confirms it', async (t) => {
  let swallow = false
  let swallowed = 0
  const { proxy, store, direct } = await setUp(t, () => {
    if (swallow) swallowed++
    return swallow ? 'swallow' : 'pass'
  })
  await commit(direct, claim('taken', 'them'))
  const taken = await get(direct, 'taken')
  const claimed = (key: string): Question<string> => ({
    keys: () => [key],
    guess: () => (key === 'taken' ? taken : undefined),
    decide: (known) => {
      if (known.has(key)) throw new HeddleError('address-taken', 'it is there')
      return { write: [], result: 'free' }
    },
  })
  const lose = async (key: string) => {
    swallow = true
    swallowed = 0
    const deciding = within((call) => decide(store, claimed(key), call)).then(
      ({ result }) => result,
      (error: HeddleError) => error.code,
    )
    await until(() => swallowed > 0)
    swallow = false
    proxy.cut()
    return deciding
  }
  t.is(await lose('not there'), 'free')
  t.is(await lose('taken'), 'address-taken')
})

test('whose a lost deletion was cannot be told, and is not guessed', async (t) => {
  const { proxy, store, direct } = await setUp(t)
  const { revision } = await commit(direct, { write: [{ put: 'k', value: 'v' }] })
  proxy.swallowReplies()
  const deleting = t.throwsAsync(commit(store, { when: [{ key: 'k', is: 'at', modRevision: revision }], write: [{ delete: 'k' }] }))
  await until(async () => (await get(direct, 'k')) === undefined)
  loseAndHeal(proxy)
  const error = await deleting
  t.true(HeddleError.is(error) && error.code === 'unavailable' && error.retryable)
})

test('every operation on an etcd that swallows everything fails inside its deadline with a retryable error, and works again afterwards', async (t) => {
  const { proxy, store } = await setUp(t)
  proxy.blackHole()
  const operations: ((call: Call) => Promise<unknown>)[] = [
    (call) => store.get('k', call),
    (call) => store.list('k', call),
    (call) => store.commit(claim('k', 'us'), call),
    (call) => store.grantLease(5_000, call),
    (call) => store.renewLease(1n, call),
    (call) => store.revokeLease(1n, call),
  ]
  for (const outcome of await Promise.allSettled(operations.map((operation) => within(operation, 600)))) {
    const error = outcome.status === 'rejected' ? outcome.reason : undefined
    t.true(HeddleError.is(error) && error.retryable && ['unavailable', 'deadline-exceeded'].includes(error.code), String(error))
  }
  proxy.pass()
  t.true((await commit(store, claim('other', 'us'))).succeeded)
})

test('a lease that was lost while nobody could renew it is known to be lost, and takes no record any more', async (t) => {
  const { proxy, store, direct } = await setUp(t)
  const lease = await within((call) => store.grantLease(2_000, call))
  await commit(store, { write: [{ put: 'live', value: 'us', lease }] })
  proxy.blackHole()
  const error = await t.throwsAsync(within((call) => store.renewLease(lease, call), 600))
  t.true(HeddleError.is(error) && error.retryable, 'not to have heard is not to have lost')
  await until(async () => (await get(direct, 'live')) === undefined)
  proxy.pass()
  t.false(await within((call) => store.renewLease(lease, call)))
  const refused = await t.throwsAsync(commit(store, { write: [{ put: 'live', value: 'us', lease }] }))
  t.true(HeddleError.is(refused) && refused.retryable)
  t.regex(String(refused), /lease not found/)
})

test('what was acknowledged while etcd was killed and restarted is there, and nothing that was refused as foreign is ours', async (t) => {
  const { etcd, store, direct } = await setUp(t)
  const acknowledged: string[] = []
  const refused: string[] = []
  const failed: unknown[] = []
  let stop = false
  const caller = async (worker: number) => {
    for (let index = 0; !stop; index++) {
      const key = `k/${worker}/${index}`
      try {
        const done = await commit(store, claim(key, key))
        ;(done.succeeded ? acknowledged : refused).push(key)
      } catch (error) {
        failed.push(error)
      }
    }
  }
  const callers = Array.from({ length: 32 }, (_, worker) => caller(worker))
  for (let round = 0; round < 3; round++) {
    await pause(300)
    await etcd.restart()
  }
  await pause(300)
  stop = true
  await Promise.all(callers)
  const { records } = await within((call) => direct.list('k/', call), 30_000)
  const present = new Set(records.map(({ key }) => key))
  t.true(acknowledged.length > 1_000)
  t.deepEqual(
    acknowledged.filter((key) => !present.has(key)),
    [],
  )
  t.deepEqual(refused, [])
  for (const error of failed) t.true(HeddleError.is(error) && error.retryable)
})

test('a listing far above a gRPC message is complete and of one revision although others write', async (t) => {
  const { store, direct } = await setUp(t)
  const value = 'x'.repeat(2_000)
  await Promise.all(
    Array.from({ length: 100 }, (_, batch) => commit(direct, { write: Array.from({ length: 60 }, (_, index) => ({ put: `big/${batch}/${index}`, value })) })),
  )
  let stop = false
  const churn = (async () => {
    for (let index = 0; !stop; index++)
      await commit(direct, {
        write: [
          { put: `big/${index % 100}/0`, value: `changed ${index}` },
          { put: `big/new/${index}`, value },
        ],
      })
  })()
  const listing = await within((call) => store.list('big/', call))
  stop = true
  await churn
  t.true(listing.records.every(({ modRevision }) => modRevision <= listing.revision))
  const fresh = listing.records.filter(({ key }) => key.startsWith('big/new/')).length
  t.is(listing.records.length, 6_000 + fresh)
})

test('close lets the process end with a watch and calls in flight', async (t) => {
  const { etcd } = await setUp(t)
  const source = `
    const { connectStore } = await import(${JSON.stringify(new URL('./index.ts', import.meta.url).href)})
    const { withCall } = await import(${JSON.stringify(import.meta.resolve('@heddle/core'))})
    const logger = { warn() {}, info() {} }
    const store = connectStore({ endpoints: [${JSON.stringify(etcd.url)}], logger })
    const watching = store.watch('w/', { onSnapshot() {}, onBatch() {} })
    await watching.ready
    const flying = withCall({ timeoutMs: 5000 }, (call) => store.get('k', call)).catch(() => {})
    await store.close()
    await flying
    console.log('closed')`
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'inherit'], timeout: 20_000, killSignal: 'SIGKILL' })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => child.once('close', (...ended) => resolve(ended)))
  t.deepEqual([code, signal, output.trim()], [0, null, 'closed'])
})
