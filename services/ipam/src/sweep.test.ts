// What the sweep frees, and what it leaves alone.
import { type Clock, HeddleError, swarmOwner, withCall } from '@heddle/core'
import { MemoryStore } from '@heddle/store'
import test from 'ava'
import { sweep } from './sweep.ts'
import { allocate, call, createPool, type Replica, startReplica } from './testing/cluster.ts'

const claims = async (ipam: Replica) => (await call(ipam, 'listClaims', {})).claims ?? []
const pools = async (ipam: Replica) => ((await call(ipam, 'listPools', {})).pools ?? []).map(({ pool }) => pool?.id)

interface Networks {
  readonly recorded: Set<string>
  /** Networks by name, with their pools. */
  readonly networks: Map<string, readonly string[]>
  readonly asked: string[]
  readonly client: Parameters<typeof sweep>[1]
  unfenceable: Set<string>
}

function fakeNetworks(): Networks {
  const recorded = new Set<string>()
  const all = new Map<string, readonly string[]>()
  const asked: string[] = []
  const network = (name: string) => ({ name, pools: all.get(name)?.map((poolId) => ({ poolId })) }) as never
  const networks: Networks = {
    recorded,
    networks: all,
    asked,
    unfenceable: new Set(),
    client: {
      listEndpoints: async () => ({ endpoints: [...recorded].map((id) => ({ id })) as never, nextPageToken: '' }),
      listNetworks: async () => ({ networks: [...all.keys()].map(network), nextPageToken: '' }),
      async getNetwork({ name = '' }) {
        if (!all.has(name)) throw new HeddleError('network-unknown', `there is no network ${name}`)
        return { network: network(name) }
      },
      async fence({ owners = [] }) {
        asked.push(...owners.map(({ owner = '' }) => owner))
        return { fencedOwners: owners.map(({ owner = '' }) => owner).filter((owner) => !recorded.has(owner) && !networks.unfenceable.has(owner)) }
      },
    },
  }
  return networks
}

async function aged(): Promise<{ ipam: Replica; clock: Clock & { nowMs: number }; store: MemoryStore }> {
  const clock = {
    nowMs: 0,
    monotonicMs: () => clock.nowMs,
    wallMs: () => clock.nowMs,
    timestamp: () => new Date(clock.nowMs).toISOString(),
    after: () => () => {},
  }
  const store = new MemoryStore()
  return { ipam: await startReplica(store, clock), clock, store }
}

const limits = { graceMs: 60_000, provisionalGraceMs: 120_000 }
const sweepNow = (ipam: Replica, networks: Networks) => withCall({ timeoutMs: 5_000 }, (within) => sweep(ipam.repo, networks.client, limits, within))

test('the sweep frees an old claim without an endpoint once it is fenced, and leaves the young, the recorded and the unfenced alone', async (t) => {
  const { ipam, clock } = await aged()
  const id = await createPool(ipam, '10.1.0.0/24')
  for (const owner of ['lost', 'recorded', 'attaching']) await allocate(ipam, owner, [id])
  const networks = fakeNetworks()
  networks.recorded.add('recorded')
  networks.unfenceable.add('attaching')
  clock.nowMs = limits.graceMs - 1
  t.is((await sweepNow(ipam, networks)).claims, 0)
  t.deepEqual(networks.asked, [])
  clock.nowMs = limits.graceMs
  await allocate(ipam, 'young', [id])
  t.is((await sweepNow(ipam, networks)).claims, 1)
  t.deepEqual(networks.asked.sort(), ['attaching', 'lost'])
  t.deepEqual((await claims(ipam)).map(({ owner }) => owner).sort(), ['attaching', 'recorded', 'young'])
})

test('the sweep frees provisional claims and pools that Docker never confirmed', async (t) => {
  const { ipam, clock } = await aged()
  const id = await createPool(ipam, '10.1.0.0/24', { provisionalHost: 'h1' })
  await allocate(ipam, 'docker:h1:n', [id], { provisional: true })
  clock.nowMs = limits.provisionalGraceMs
  const networks = fakeNetworks()
  t.is((await sweepNow(ipam, networks)).provisionalClaims, 1)
  await sweepNow(ipam, networks)
  t.deepEqual((await call(ipam, 'listPools', {})).pools, [])
  t.deepEqual(networks.asked, [], 'a provisional owner is never an endpoint')
})

test('when networks does not answer, nothing is freed', async (t) => {
  const { ipam, clock } = await aged()
  await allocate(ipam, 'lost', [await createPool(ipam, '10.1.0.0/24')])
  clock.nowMs = limits.graceMs
  const networks = fakeNetworks()
  const away = { ...networks, client: { ...networks.client, listEndpoints: async () => Promise.reject(new HeddleError('unavailable', 'networks is away')) } }
  await t.throwsAsync(sweepNow(ipam, away))
  t.is((await claims(ipam)).length, 1)
})

test('a host that cannot be compared does not keep the claims of the others', async (t) => {
  const { ipam, clock } = await aged()
  const id = await createPool(ipam, '10.1.0.0/24')
  await allocate(ipam, 'lost-1', [id], { host: 'h1' })
  await allocate(ipam, 'lost-2', [id], { host: 'h2' })
  clock.nowMs = limits.graceMs
  const networks = fakeNetworks()
  const oversized = {
    ...networks.client,
    listEndpoints: async ({ host = '' }) => (host === 'h1' ? Promise.reject(new Error('too big')) : { endpoints: [], nextPageToken: '' }),
  }
  await t.throwsAsync(sweepNow(ipam, { ...networks, client: oversized }), { message: 'too big' })
  t.deepEqual(
    (await claims(ipam)).map(({ owner }) => owner),
    ['lost-1'],
  )
})

test("a claim that its owner's record does not list is freed with its owner", async (t) => {
  const { ipam, clock, store } = await aged()
  const id = await createPool(ipam, '10.1.0.0/24')
  await allocate(ipam, 'lost', [[id, '10.1.0.7']])
  await withCall({ timeoutMs: 1_000 }, (within) => store.commit({ when: [], write: [{ delete: 'heddle/ipam/owner/lost' }] }, within))
  clock.nowMs = limits.graceMs
  t.is((await sweepNow(ipam, fakeNetworks())).claims, 1)
  t.deepEqual(await claims(ipam), [])
})

test('the sweep deletes an old pool that no network has, so that its name can be used again', async (t) => {
  const { ipam, clock } = await aged()
  const [orphan, used] = [await createPool(ipam, '10.1.0.0/24'), await createPool(ipam, '10.2.0.0/24', { space: 'green' })]
  const claimed = await createPool(ipam, '10.3.0.0/24', { space: 'red' })
  await allocate(ipam, 'recorded', [claimed])
  const networks = fakeNetworks()
  networks.recorded.add('recorded')
  networks.networks.set('green', [used])
  clock.nowMs = limits.provisionalGraceMs - 1
  t.is((await sweepNow(ipam, networks)).pools, 0)
  clock.nowMs = limits.provisionalGraceMs
  const young = await createPool(ipam, '10.4.0.0/24', { space: 'young' })
  t.is((await sweepNow(ipam, networks)).pools, 1)
  t.deepEqual(await pools(ipam), [used, claimed, young].toSorted())
  t.is(await createPool(ipam, '10.1.0.0/24', { ranges: [{ first: '10.1.0.9', last: '10.1.0.19' }] }), orphan)
})

test('a pool left over that somebody makes a network of is kept', async (t) => {
  const { ipam, clock } = await aged()
  const id = await createPool(ipam, '10.1.0.0/24')
  clock.nowMs = limits.provisionalGraceMs
  t.is(await createPool(ipam, '10.1.0.0/24'), id)
  t.is((await sweepNow(ipam, fakeNetworks())).pools, 0)
  t.deepEqual(await pools(ipam), [id])
})

test('a pool is kept when the list of networks is behind', async (t) => {
  const { ipam, clock } = await aged()
  const id = await createPool(ipam, '10.1.0.0/24')
  clock.nowMs = limits.provisionalGraceMs
  const networks = fakeNetworks()
  networks.networks.set('blue', [id])
  const behind = { ...networks, client: { ...networks.client, listNetworks: async () => ({ networks: [], nextPageToken: '' }) } }
  t.is((await sweepNow(ipam, behind)).pools, 0)
  t.deepEqual(await pools(ipam), [id])
})

test('what the manager of a swarm holds is its own until it releases it, however old and without an endpoint', async (t) => {
  const { ipam, clock } = await aged()
  const poolId = await createPool(ipam, '10.1.0.0/24')
  await allocate(ipam, swarmOwner(poolId, '10.1.0.9'), [[poolId, '10.1.0.9']])
  const networks = fakeNetworks()
  clock.nowMs += 10 * limits.provisionalGraceMs
  t.deepEqual(await sweepNow(ipam, networks), { claims: 0, provisionalClaims: 0, pools: 0 })
  t.deepEqual(networks.asked, [])
  t.is((await claims(ipam)).length, 1)
})
