import { type Call, HeddleError, withCall } from '@heddle/core'
import { connectStore, MemoryStore, type Store } from '@heddle/store'
import { startEtcd } from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'
import pino from 'pino'
import { overlayConfig } from './config.ts'
import { OverlayRepo } from './repo.ts'
import { eventually } from './testing/receiver.ts'

const logger = pino({ level: 'silent' })
const config = overlayConfig.parse({ vniRestMs: 1_000 })
const etcd = await startEtcd()
const opened: { close(): Promise<void> }[] = []
test.after.always('stop what was started', async () => {
  for (const part of opened.toReversed()) await part.close()
  await etcd.stop()
})

async function repoOn(store: Store, random?: () => number): Promise<OverlayRepo> {
  const repo = new OverlayRepo(store, config, logger, { putHost() {}, deleteHost() {} }, random)
  opened.push(repo)
  await repo.ready
  return repo
}

type Body = (
  t: ExecutionContext,
  open: (random?: () => number) => Promise<OverlayRepo>,
  id: (name: string) => string,
  call: Call,
  store: Store,
) => Promise<void>
let lastNumber = 0
/** Tests share one etcd: each takes VNIs and addresses of its own. */
function fresh(): number {
  lastNumber++
  return lastNumber
}

/** Every behaviour on the memory store and on etcd; `open` opens a replica, `id` makes a network id of this test alone. */
function behaves(sentence: string, body: Body): void {
  for (const kind of ['memory', 'etcd']) {
    test(`${sentence} (${kind})`, async (t) => {
      const store = kind === 'memory' ? new MemoryStore() : connectStore({ endpoints: [etcd.url], logger })
      opened.push(store)
      await withCall({ timeoutMs: 30_000 }, (call) =>
        body(
          t,
          (random) => repoOn(store, random),
          (name) => `${name}-${sentence.length}`,
          call,
          store,
        ),
      )
    })
  }
}

async function refused(t: ExecutionContext, code: string, promise: Promise<unknown>): Promise<void> {
  const error = await t.throwsAsync(promise)
  t.true(HeddleError.is(error) && error.code === code, `${code} expected: ${error?.message}`)
}

behaves('a network gets one VNI, however often and wherever it is claimed', async (t, open, id, call) => {
  const [one, two] = [await open(), await open()]
  const vnis = await Promise.all(Array.from({ length: 20 }, (_, index) => (index % 2 ? one : two).claimVni(id('blue'), 0, call)))
  t.is(new Set(vnis).size, 1)
  const [vni = 0] = vnis
  t.is(await one.claimVni(id('blue'), vni, call), vni)
  await refused(t, 'vni-taken', two.claimVni(id('blue'), vni === 5000 ? 5001 : 5000, call))
  await refused(t, 'vni-taken', two.claimVni(id('red'), vni, call))
  await refused(t, 'invalid-argument', one.claimVni(id('red'), 4095, call))
})

behaves('many networks claiming at once never share a VNI, also when all try the same ones', async (t, open, id, call) => {
  const from = 4096 + 1_000 * fresh()
  // Every replica probes the same small range.
  const narrow = () => (from - 4096 + Math.floor(Math.random() * 60)) / (2 ** 24 - 4096)
  const repos = await Promise.all([open(narrow), open(narrow), open(narrow)])
  const vnis = await Promise.all(Array.from({ length: 40 }, (_, index) => (repos[index % 3] as OverlayRepo).claimVni(id(`n${index}`), 0, call)))
  t.is(new Set(vnis).size, 40)
})

behaves('a freed VNI rests before it may be used again', async (t, open, id, call) => {
  const repo = await open()
  const vni = 4096 + 1_000 * fresh()
  t.is(await repo.claimVni(id('blue'), vni, call), vni)
  t.true(await repo.releaseVni(id('blue'), call))
  t.false(await repo.releaseVni(id('blue'), call))
  await refused(t, 'vni-taken', repo.claimVni(id('red'), vni, call))
  for (;;) {
    try {
      t.is(await repo.claimVni(id('red'), vni, call), vni)
      break
    } catch (error) {
      if (!HeddleError.is(error) || error.code !== 'vni-taken') throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
})

behaves('a VNI is only freed as the claim it was judged by', async (t, open, id, call) => {
  const [one, two] = [await open(), await open()]
  await one.claimVni(id('blue'), 0, call)
  const judged = one.claims.find(({ networkId }) => networkId === id('blue'))
  await two.releaseVni(id('blue'), call)
  const vni = await two.claimVni(id('blue'), 0, call)
  t.false(await one.releaseVni(id('blue'), call, judged?.revision))
  t.is(await one.claimVni(id('blue'), 0, call), vni)
})

behaves('two hosts that want one VTEP address at once: one gets it', async (t, open, id, call) => {
  const [one, two] = [await open(), await open()]
  const host = (name: string) => ({
    name: id(name),
    vtep: `192.0.2.${fresh()}`,
    underlayMtu: 1500,
    epoch: 'e',
    registeredAt: 'now',
    alive: true,
    version: '',
  })
  const [first, second] = [host('h1'), host('h2')]
  const outcomes = await Promise.allSettled([one.registerHost(first, call), two.registerHost({ ...second, vtep: first.vtep }, call)])
  t.deepEqual(outcomes.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
  const names = one.hosts.concat(two.hosts).filter(({ vtep }) => vtep === first.vtep)
  t.is(new Set(names.map(({ name }) => name)).size, 1)
})

behaves('registering again gives up the old lease, the old address and keeps the time of the first', async (t, open, id, call, store) => {
  const repo = await open()
  const host = { name: id('h1'), vtep: `198.51.100.${fresh()}`, underlayMtu: 1500, epoch: 'e1', registeredAt: 'first', alive: true, version: '' }
  await repo.registerHost(host, call)
  const before = await store.get(`heddle/overlay/live/${host.name}`, call)
  await repo.registerHost({ ...host, vtep: '203.0.113.9', epoch: 'e2', registeredAt: 'second' }, call)
  t.false(await store.renewLease(BigInt(JSON.parse(before?.value ?? '{}').lease), call))
  t.is(await store.get(`heddle/overlay/vtep/${host.vtep}`, call), undefined)
  t.like(
    repo.hosts.find(({ name }) => name === host.name),
    { vtep: '203.0.113.9', epoch: 'e2', registeredAt: 'first', alive: true },
  )
  await refused(t, 'host-unknown', repo.heartbeat(host.name, 'e1', call))
  await repo.heartbeat(host.name, 'e2', call)
  await repo.removeHost(host.name, call)
  await repo.removeHost(host.name, call)
  const left = (await store.list('heddle/overlay/', call)).records.filter(({ key, value }) => `${key}${value}`.includes(host.name))
  t.deepEqual(left, [])
})

behaves('a host whose lease is gone is told so, and is alive again when it registers again', async (t, open, id, call, store) => {
  const [one, two] = [await open(), await open()]
  const host = { name: id('h1'), vtep: `198.51.100.${fresh()}`, underlayMtu: 1500, epoch: 'e1', registeredAt: 'first', alive: true, version: '' }
  await one.registerHost(host, call)
  await two.heartbeat(host.name, 'e1', call)
  const live = await store.get(`heddle/overlay/live/${host.name}`, call)
  await store.revokeLease(BigInt(JSON.parse(live?.value ?? '{}').lease), call)
  for (const repo of [one, two]) await refused(t, 'host-unknown', repo.heartbeat(host.name, 'e1', call))
  await two.registerHost(host, call)
  for (const repo of [two, one]) await repo.heartbeat(host.name, 'e1', call)
  const told = () => two.hosts.some(({ name, alive }) => name === host.name && alive)
  await eventually(told, () => 'the watch should bring what the other replica wrote')
  t.like(
    two.hosts.find(({ name }) => name === host.name),
    { vtep: host.vtep, registeredAt: 'first', alive: true },
  )
})
