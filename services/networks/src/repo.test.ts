import { Endpoint, Network } from '@heddle/contract'
import { type Call, HeddleError, randomId, sleep, withCall } from '@heddle/core'
import { connectStore, MemoryStore, type Store } from '@heddle/store'
import { startEtcd } from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'
import pino from 'pino'
import { NetworksRepo } from './repo.ts'

const logger = pino({ level: 'silent' })
const etcd = await startEtcd()
const opened: Store[] = []
const replicas: NetworksRepo[] = []
test.after.always('stop what was started', async () => {
  await Promise.all(replicas.map((repo) => repo.close()))
  await Promise.all(opened.map((store) => store.close()))
  await etcd.stop()
})

function openEtcd(): Store {
  const store = connectStore({ endpoints: [etcd.url], logger })
  opened.push(store)
  return store
}

async function replicaOn(store: Store): Promise<NetworksRepo> {
  const repo = new NetworksRepo(store, logger)
  replicas.push(repo)
  await repo.ready
  return repo
}

const any = { id: '', networkId: '', host: '' }
const now = new Date().toISOString()
const network = (name = `net-${randomId().slice(0, 8)}`): Network =>
  Network.fromPartial({ id: randomId(), name, kind: 'bridge', createdBy: 'cli', pools: [{ poolId: 'p', prefix: '10.1.0.0/16' }], createdAt: now })
const endpoint = (networkId: string, change: Partial<Endpoint> = {}): Endpoint =>
  Endpoint.fromPartial({
    id: randomId(),
    networkId,
    host: 'h1',
    state: 'reserved',
    runtime: 'cni',
    mac: `02:${randomId().slice(0, 10).match(/../g)?.join(':')}`,
    addresses: ['10.1.0.5/16'],
    ...change,
  })

async function refused(t: ExecutionContext, code: string, promise: Promise<unknown>): Promise<HeddleError> {
  const error = await t.throwsAsync(promise)
  t.true(HeddleError.is(error) && error.code === code, `${code} expected: ${error?.message}`)
  return error as HeddleError
}

type Body = (t: ExecutionContext, one: NetworksRepo, two: NetworksRepo, call: Call, store: Store) => Promise<void>

/** Every behaviour on the memory store and on etcd, with two replicas. */
function behaves(sentence: string, body: Body): void {
  const run = (open: () => [Store, Store]) => async (t: ExecutionContext) => {
    const [first, second] = open()
    const [one, two] = [await replicaOn(first), await replicaOn(second)]
    await withCall({ timeoutMs: 30_000 }, (call) => body(t, one, two, call, first))
  }
  test(
    `${sentence} (memory)`,
    run(() => {
      const store = new MemoryStore()
      opened.push(store)
      return [store, store]
    }),
  )
  test(
    `${sentence} (etcd)`,
    run(() => [openEtcd(), openEtcd()]),
  )
}

behaves('a network is created once; asking again answers it, another definition under its name is refused', async (t, one, two, call) => {
  const asked = network()
  const first = await one.createNetwork(asked, call)
  t.true(first.created)
  t.true(first.network.revision > 0n)
  const again = await two.createNetwork({ ...asked, id: randomId(), createdBy: 'docker' }, call)
  t.deepEqual(again, { created: false, network: first.network })
  const error = await refused(t, 'network-exists', two.createNetwork({ ...asked, id: randomId(), mtu: 1400 }, call))
  t.regex(error.message, /mtu \(0 there, 1400 asked for\)/)
  await refused(t, 'invalid-argument', one.createNetwork({ ...asked, name: 'other' }, call))
  t.deepEqual(await two.networkByName(asked.name, call), first.network)
})

behaves('what another replica wrote a moment ago is found by every name', async (t, one, two, call) => {
  const { network: made } = await one.createNetwork(network(), call)
  await one.bindAlias('docker:h1:abc', made.id, call)
  const put = await one.putEndpoint(endpoint(made.id), 1n, call)
  t.deepEqual(await two.networkByAlias('docker:h1:abc', call), made)
  t.deepEqual(await two.endpoints({ ...any, id: put.id }, call), [put])
  t.is(await two.networkById('unknown', call), undefined)
  t.is(await two.networkByName('unknown', call), undefined)
  t.is(await two.networkByAlias('docker:h1:unknown', call), undefined)
  t.deepEqual(await two.endpoints({ ...any, id: 'unknown' }, call), [])
  await one.unbindAlias('docker:h1:abc', call)
})

behaves('a replica reads what it wrote itself at once', async (t, one, _two, call) => {
  const { network: made } = await one.createNetwork(network(), call)
  for (let index = 0; index < 20; index++) {
    const put = await one.putEndpoint(endpoint(made.id), 1n, call)
    t.deepEqual(await one.endpoints({ ...any, id: put.id, networkId: made.id }, call), [put])
    await one.deleteEndpoint(put.id, call)
    t.deepEqual(await one.endpoints({ ...any, networkId: made.id }, call), [])
  }
})

behaves('an endpoint is recorded by its id: again is the same, a change keeps its birth', async (t, one, two, call) => {
  const { network: made } = await one.createNetwork(network(), call)
  const asked = endpoint(made.id)
  const first = await one.putEndpoint(asked, 1n, call)
  t.is(first.networkName, made.name)
  t.deepEqual(await two.putEndpoint(asked, 1n, call), first)
  const changed = await two.putEndpoint({ ...asked, state: 'wired', mac: '02:00:00:00:00:99' }, 0n, call)
  t.is(changed.createdAt, first.createdAt)
  t.true(changed.revision > first.revision)
  const reuser = await one.putEndpoint(endpoint(made.id, { mac: asked.mac }), 1n, call)
  t.is(reuser.mac, asked.mac, 'a MAC that was given up is free')
  const taken = await refused(t, 'mac-taken', one.putEndpoint(endpoint(made.id, { mac: '02:00:00:00:00:99' }), 1n, call))
  t.is(taken.details['endpointId'], asked.id)
  await refused(t, 'network-unknown', one.putEndpoint(endpoint('no-such'), 1n, call))
  await refused(t, 'address-outside-pool', one.putEndpoint(endpoint(made.id, { addresses: ['10.2.0.1/16'] }), 1n, call))
  const { network: other } = await one.createNetwork(network(), call)
  await refused(t, 'invalid-argument', two.putEndpoint({ ...asked, networkId: other.id }, 1n, call))
  t.is((await two.deleteEndpoint(asked.id, call))?.id, asked.id)
  t.is(await one.deleteEndpoint(asked.id, call), undefined)
  await one.putEndpoint({ ...asked, networkId: other.id }, 1n, call)
})

behaves('a network in use is kept and its users are named; an empty one goes with everything it left', async (t, one, two, call, store) => {
  const { network: made } = await one.createNetwork(network(), call)
  await one.bindAlias('docker:h1:deadbeef', made.id, call)
  const put = await one.putEndpoint(endpoint(made.id, { containerName: 'web' }), 1n, call)
  const error = await refused(t, 'network-in-use', two.deleteNetwork(made.id, call))
  t.regex(error.message, /web on h1, alias docker:h1:deadbeef/)
  await two.deleteEndpoint(put.id, call)
  await refused(t, 'network-in-use', two.deleteNetwork(made.id, call))
  await refused(t, 'network-exists', two.bindAlias('docker:h1:deadbeef', (await one.createNetwork(network(), call)).network.id, call))
  t.deepEqual(await two.unbindAlias('docker:h1:deadbeef', call), { network: made, aliasesLeft: 0 })
  t.deepEqual(await two.unbindAlias('docker:h1:deadbeef', call), { network: undefined, aliasesLeft: 0 })
  t.is((await two.deleteNetwork(made.id, call))?.id, made.id)
  t.is(await one.deleteNetwork(made.id, call), undefined)
  const left = (await store.list('heddle/networks/', call)).records.filter((record) => record.key.includes(made.id) || record.value.includes(made.id))
  t.deepEqual(left, [])
})

behaves('more than five users are counted', async (t, one, _two, call) => {
  const { network: made } = await one.createNetwork(network(), call)
  await Promise.all(Array.from({ length: 7 }, (_, index) => one.putEndpoint(endpoint(made.id, { containerName: `c${index}` }), 1n, call)))
  const error = await refused(t, 'network-in-use', one.deleteNetwork(made.id, call))
  t.regex(error.message, / and 2 more$/)
})

behaves('a fenced claim is never recorded, a newer one is', async (t, one, two, call) => {
  const { network: made } = await one.createNetwork(network(), call)
  const asked = endpoint(made.id)
  t.deepEqual(await one.fence([{ owner: asked.id, claimRevision: 10n }], call), [asked.id])
  t.deepEqual(await one.fence([{ owner: asked.id, claimRevision: 5n }], call), [asked.id], 'asking for less does not lower it')
  const error = await refused(t, 'claim-fenced', two.putEndpoint(asked, 10n, call))
  t.true(error.retryable)
  const put = await two.putEndpoint(asked, 11n, call)
  t.deepEqual(await one.fence([{ owner: asked.id, claimRevision: 11n }], call), [], 'what is recorded cannot be fenced')
  await two.putEndpoint({ ...asked, state: 'wired' }, 0n, call)
  await refused(t, 'claim-fenced', two.putEndpoint({ ...asked, state: 'wired', addresses: ['10.1.0.6/16'] }, 10n, call))
  t.is((await two.endpoints({ ...any, id: put.id }, call))[0]?.state, 'wired')
})

behaves('fencing races recording: exactly one of the two wins, whoever it is', async (t, one, two, call) => {
  const { network: made } = await one.createNetwork(network(), call)
  const outcomes = await Promise.all(
    Array.from({ length: 200 }, async (_, index) => {
      const asked = endpoint(made.id)
      // Often on the same replica, so that both travel in one etcd request.
      const [first, second] = index % 4 === 0 ? [one, two] : [one, one]
      const record = async () => {
        // Fencing begins with a lease, so the recording is held back by about as long.
        await sleep(call.clock, index % 8, call.signal)
        return first.putEndpoint(asked, 5n, call).then(
          () => true,
          (error: unknown) => {
            if (HeddleError.is(error) && error.code === 'claim-fenced') return false
            throw error
          },
        )
      }
      const bar = async () => (await second.fence([{ owner: asked.id, claimRevision: 5n }], call)).length === 1
      const [recorded, fenced] = await Promise.all([record(), bar()])
      return `${recorded ? 'recorded' : ''}${fenced ? 'fenced' : ''}`
    }),
  )
  t.deepEqual(
    [...new Set(outcomes)].filter((outcome) => outcome !== 'recorded' && outcome !== 'fenced'),
    [],
  )
})

behaves('deleting a network races recording endpoints and binding aliases: a network that is gone has none', async (t, one, two, call, store) => {
  const seen = new Set<string>()
  for (let round = 0; round < 25; round++) {
    const { network: made } = await one.createNetwork(network(), call)
    const tell = (promise: Promise<unknown>) =>
      promise.then(
        () => 'done',
        (error: unknown) => HeddleError.from(error).code,
      )
    const outcomes = await Promise.all([
      tell(two.putEndpoint(endpoint(made.id), 1n, call)),
      tell(one.deleteNetwork(made.id, call)),
      tell(one.putEndpoint(endpoint(made.id), 1n, call)),
      tell(two.deleteNetwork(made.id, call)),
      tell(two.bindAlias(`docker:h1:${made.id}`, made.id, call)),
    ])
    const record = await store.get(`heddle/networks/network/${made.id}`, call)
    const left = (await store.list('heddle/networks/', call)).records.filter(({ key, value }) => `${key}${value}`.includes(made.id))
    if (record === undefined) t.deepEqual(left, [], outcomes.join())
    for (const outcome of outcomes) {
      t.true(['done', 'network-unknown', 'network-in-use'].includes(outcome), outcome)
      seen.add(outcome)
    }
    t.is(record === undefined, !outcomes.includes('network-in-use') || outcomes[1] === 'done' || outcomes[3] === 'done', outcomes.join())
  }
  t.true(seen.has('done'))
})

behaves('what is added to a network after it was found empty keeps it', async (t, one, two, call, store) => {
  const add: ((networkId: string) => Promise<unknown>)[] = [
    (networkId) => two.putEndpoint(endpoint(networkId), 1n, call),
    (networkId) => two.bindAlias(`docker:h2:${networkId}`, networkId, call),
  ]
  const commit = store.commit.bind(store)
  for (const adding of add) {
    const { network: made } = await two.createNetwork(network(), call)
    await one.networkById(made.id, call)
    store.commit = async (transaction, within) => {
      store.commit = commit
      await adding(made.id)
      return commit(transaction, within)
    }
    await refused(t, 'network-in-use', one.deleteNetwork(made.id, call))
    t.deepEqual(await two.networkById(made.id, call), made)
  }
})

behaves('one MAC in one network is recorded once, however many ask', async (t, one, two, call) => {
  const { network: made } = await one.createNetwork(network(), call)
  const outcomes = await Promise.allSettled(
    Array.from({ length: 40 }, (_, index) => (index % 2 ? one : two).putEndpoint(endpoint(made.id, { mac: '02:00:00:00:00:01' }), 1n, call)),
  )
  t.is(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
})

behaves('one name is created once, however many ask, and all get the same network', async (t, one, two, call) => {
  const name = `net-${randomId().slice(0, 8)}`
  const outcomes = await Promise.all(Array.from({ length: 20 }, (_, index) => (index % 2 ? one : two).createNetwork(network(name), call)))
  t.is(new Set(outcomes.map(({ network: made }) => made.id)).size, 1)
  t.is(outcomes.filter(({ created }) => created).length, 1)
})

behaves('an endpoint is deleted at the revision that was judged, or not at all', async (t, one, two, call) => {
  const { network: made } = await one.createNetwork(network(), call)
  const first = await one.putEndpoint(endpoint(made.id), 1n, call)
  const second = await two.putEndpoint({ ...first, state: 'wired' }, 1n, call)
  t.is(await one.deleteEndpoint(first.id, call, first.revision), undefined)
  t.is((await one.deleteEndpoint(first.id, call, second.revision))?.id, first.id)
})

behaves('a VF whose claim was fenced is not recorded, one that is recorded stays', async (t, one, two, call) => {
  const { network: made } = await one.createNetwork({ ...network(), kind: 'sriov' }, call)
  const vf = { pci: '0000:3b:02.1', pf: '0000:3b:00.0', settings: undefined, baseline: undefined, driver: '', iommuGroup: '' }
  const late = endpoint(made.id, { vf, addresses: [] })
  t.deepEqual(await one.fence([{ owner: late.id, claimRevision: 7n }], call), [late.id])
  await refused(t, 'claim-fenced', two.putEndpoint(late, 7n, call))
  const recorded = await two.putEndpoint(late, 8n, call)
  t.is(recorded.vf?.pci, vf.pci)
  t.deepEqual(await one.fence([{ owner: late.id, claimRevision: 9n }], call), [])
  t.is((await one.putEndpoint({ ...late, state: 'wired' }, 0n, call)).state, 'wired')
  await refused(t, 'claim-fenced', one.putEndpoint({ ...late, vf: { ...vf, pci: '0000:3b:02.2' } }, 7n, call))
})
