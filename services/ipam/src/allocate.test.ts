import { HeddleError, withCall } from '@heddle/core'
import type { MemoryStore, Store, WatchListener } from '@heddle/store'
import test from 'ava'
import { allocate, call, createPool, single, startReplica } from './testing/cluster.ts'

const addresses = (got: readonly { address: string }[]) => got.map(({ address }) => address)

test('an address of each family is claimed at once, with the gateway beside it', async (t) => {
  const ipam = await single()
  const v4 = await createPool(ipam, '10.1.0.0/16', { gateway: '10.1.0.1' })
  const v6 = await createPool(ipam, 'fd00:1::/64')
  const got = await allocate(ipam, 'endpoint-1', [v4, v6])
  t.deepEqual(addresses(got), ['10.1.0.2', 'fd00:1::1'])
  t.deepEqual(
    got.map(({ gateway }) => gateway),
    ['10.1.0.1', ''],
  )
  t.true(got.every(({ revision }) => revision > 0n && revision === got[0]?.revision))
})

test('the same owner asking again gets the same, from any replica, also while both ask at once', async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/24')
  const first = await allocate(ipam, 'e1', [pool])
  const other = await startReplica(ipam.store)
  t.deepEqual(await allocate(ipam, 'e1', [pool]), first)
  t.deepEqual(await allocate(other, 'e1', [pool]), first)
  const [a, b] = await Promise.all([allocate(ipam, 'e2', [pool]), allocate(other, 'e2', [pool])])
  t.deepEqual(addresses(a), addresses(b))
  t.is((await withCall({ timeoutMs: 1_000 }, (within) => ipam.store.list('heddle/ipam/claim/', within))).records.length, 2)
})

test('an owner that wants more keeps what it has', async (t) => {
  const ipam = await single()
  const [v4, v6] = [await createPool(ipam, '10.1.0.0/24'), await createPool(ipam, 'fd00:1::/64')]
  const [first] = await allocate(ipam, 'e1', [v4])
  const both = await allocate(ipam, 'e1', [v6, v4])
  t.is(both[1]?.address, first?.address)
  t.deepEqual((await call(ipam, 'release', { owner: 'e1' })).released, 2)
})

test('all wants or none: one that cannot be met claims nothing', async (t) => {
  const ipam = await single()
  const [v4, v6] = [await createPool(ipam, '10.1.0.0/30'), await createPool(ipam, 'fd00:1::/64')]
  await allocate(ipam, 'e1', [v4])
  await allocate(ipam, 'e2', [v4])
  const error = await t.throwsAsync(allocate(ipam, 'e3', [v6, v4]), { instanceOf: HeddleError, code: 'pool-exhausted' })
  t.regex(error?.message ?? '', /2 claims, 2 addresses/)
  t.is((error as HeddleError).field, 'wants[1].poolIds')
  t.deepEqual((await call(ipam, 'listClaims', { poolId: v6 })).claims, [])
})

test('when the first pool of a want is full the next one serves', async (t) => {
  const ipam = await single()
  const [small, large] = [await createPool(ipam, '10.1.0.0/31'), await createPool(ipam, '10.2.0.0/24')]
  const got = []
  for (const owner of ['e1', 'e2', 'e3'])
    got.push(...((await call(ipam, 'allocate', { owner, host: 'h1', wants: [{ poolIds: [small, large] }] })).allocations ?? []))
  t.deepEqual(
    got.map(({ claim }) => claim?.address),
    ['10.1.0.0', '10.1.0.1', '10.2.0.1'],
  )
})

test('a static address may be anywhere in the prefix, outside the range for dynamic claims too, and chooses its pool', async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/16', { ranges: [{ first: '10.1.5.0', last: '10.1.5.9' }] })
  const v6 = await createPool(ipam, 'fd00:1::/64')
  t.is((await allocate(ipam, 'e1', [pool]))[0]?.address, '10.1.5.0')
  const { allocations } = await call(ipam, 'allocate', {
    owner: 'e2',
    host: 'h1',
    wants: [
      { poolIds: [pool, v6], address: 'FD00:1:0::9' },
      { poolIds: [pool], address: '10.1.200.7' },
    ],
  })
  t.deepEqual(
    (allocations ?? []).map(({ claim }) => claim?.address),
    ['fd00:1::9', '10.1.200.7'],
  )
})

test('a static and a dynamic want of one request never meet', async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/24')
  t.deepEqual(addresses(await allocate(ipam, 'e1', [pool, [pool, '10.1.0.1']])), ['10.1.0.2', '10.1.0.1'])
})

for (const [address, why] of [
  ['10.1.0.0', /is the network address/],
  ['10.1.255.255', /is the broadcast address/],
  ['10.1.0.1', /is its gateway/],
  ['10.1.0.9', /is set aside as router/],
  ['10.1.3.44', /is excluded by 10.1.3.0\/24/],
  ['10.1.7.7', /is held by e1 on host h1 since 2/],
] as const) {
  test(`${address} is refused as taken, because it ${why.source}`, async (t) => {
    const ipam = await single()
    const pool = await createPool(ipam, '10.1.0.0/16', { gateway: '10.1.0.1', auxiliary: { router: '10.1.0.9' }, excluded: ['10.1.3.0/24'] })
    await allocate(ipam, 'e1', [[pool, '10.1.7.7']])
    const error = await t.throwsAsync(allocate(ipam, 'e2', [[pool, address]]), { instanceOf: HeddleError, code: 'address-taken', message: why })
    t.is((error as HeddleError).field, 'wants[0].address')
    t.truthy((error as HeddleError).remedy)
  })
}

test("the subnet-router anycast address of IPv6 is nobody's", async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, 'fd00:1::/64')
  await t.throwsAsync(allocate(ipam, 'e1', [[pool, 'fd00:1::']]), { code: 'address-taken', message: /anycast/ })
})

test('an address outside every pool of the want is refused with their prefixes', async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/16')
  await t.throwsAsync(allocate(ipam, 'e1', [[pool, '10.2.0.1']]), { code: 'address-outside-pool', message: /10.2.0.1 is in none of the pools 10.1.0.0\/16/ })
  await t.throwsAsync(allocate(ipam, 'e1', [[pool, 'fd00::1']]), { code: 'address-outside-pool' })
})

test('dynamic claims avoid everything that is set aside', async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/28', { gateway: '10.1.0.1', auxiliary: { router: '10.1.0.4' }, excluded: ['10.1.0.8/30', '10.1.0.2'] })
  const got = []
  for (let n = 0; n < 7; n++) got.push(...addresses(await allocate(ipam, `e${n}`, [pool])))
  t.deepEqual(got, ['10.1.0.3', '10.1.0.5', '10.1.0.6', '10.1.0.7', '10.1.0.12', '10.1.0.13', '10.1.0.14'])
  await t.throwsAsync(allocate(ipam, 'e7', [pool]), { code: 'pool-exhausted' })
  const { pools } = await call(ipam, 'listPools', {})
  t.like(pools?.[0], { claimed: 7n, free: 0n })
})

test('what was released is handed out last, also by a replica that has just started', async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/29')
  for (const owner of ['e1', 'e2', 'e3']) await allocate(ipam, owner, [pool])
  await call(ipam, 'release', { owner: 'e1' })
  t.is((await allocate(ipam, 'e4', [pool]))[0]?.address, '10.1.0.4')
  const fresh = await startReplica(ipam.store)
  t.is((await allocate(fresh, 'e5', [pool]))[0]?.address, '10.1.0.5')
  t.is((await allocate(fresh, 'e6', [pool]))[0]?.address, '10.1.0.6')
  t.is((await allocate(fresh, 'e7', [pool]))[0]?.address, '10.1.0.1')
})

test('four replicas give a pool of 200 addresses to 200 owners at once, none twice, and the 201st is told', async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/24', { ranges: [{ first: '10.1.0.11', last: '10.1.0.210' }] })
  const replicas = [ipam, await startReplica(ipam.store), await startReplica(ipam.store), await startReplica(ipam.store)]
  const got = await Promise.all(Array.from({ length: 200 }, (_, n) => allocate(replicas[n % 4] ?? ipam, `e${n}`, [pool])))
  t.is(new Set(got.flatMap(addresses)).size, 200)
  await Promise.all(replicas.map((replica, n) => t.throwsAsync(allocate(replica, `late${n}`, [pool]), { code: 'pool-exhausted' })))
})

test('a pool is called exhausted only by what etcd says now, not by what a replica remembers', async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/31')
  await allocate(ipam, 'e1', [pool])
  await allocate(ipam, 'e2', [pool])
  const deaf = await startReplica(deafAfterStart(ipam.store))
  await call(ipam, 'release', { owner: 'e1' })
  t.is((await allocate(deaf, 'e3', [pool]))[0]?.address, '10.1.0.0')
})

test('a replica that no longer hears of others still claims nothing twice', async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/24')
  const deaf = await startReplica(deafAfterStart(ipam.store))
  const got: string[] = []
  for (let n = 0; n < 40; n++) got.push(...addresses(await allocate(n % 2 === 0 ? ipam : deaf, `e${n}`, [pool])))
  t.is(new Set(got).size, 40)
  t.deepEqual(addresses(await allocate(deaf, 'e0', [pool])), [got[0]])
})

test('an owner released by another replica is not told its old address', async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/24')
  const deaf = await startReplica(deafAfterStart(ipam.store))
  await allocate(deaf, 'e1', [pool])
  await call(ipam, 'release', { owner: 'e1' })
  await allocate(ipam, 'e2', [[pool, '10.1.0.1']])
  t.not((await allocate(deaf, 'e1', [pool]))[0]?.address, '10.1.0.1')
})

test('a replica that has heard of one claim of an owner releases all of them', async (t) => {
  const ipam = await single()
  const [v4, v6] = [await createPool(ipam, '10.1.0.0/24'), await createPool(ipam, 'fd00:1::/64')]
  const deaf = await startReplica(deafAfterStart(ipam.store))
  const [held] = await allocate(ipam, 'e1', [v4, v6])
  await t.throwsAsync(allocate(deaf, 'e2', [[v4, held?.address ?? '']]), { code: 'address-taken' })
  t.is((await call(deaf, 'release', { owner: 'e1' })).released, 2)
  t.deepEqual((await call(ipam, 'listClaims', {})).claims, [])
})

test('a replica that has heard of one claim of an owner answers it all it holds', async (t) => {
  const ipam = await single()
  const [v4, v6] = [await createPool(ipam, '10.1.0.0/24'), await createPool(ipam, 'fd00:1::/64')]
  const deaf = await startReplica(deafAfterStart(ipam.store))
  const held = await allocate(ipam, 'e1', [v4, v6])
  await t.throwsAsync(allocate(deaf, 'e2', [[v4, held[0]?.address ?? '']]), { code: 'address-taken' })
  t.deepEqual(await allocate(deaf, 'e1', [v4, v6]), held)
})

test('an address reserved as gateway by another replica is not handed out by one that has not heard of it', async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/24')
  const deaf = await startReplica(deafAfterStart(ipam.store))
  t.is((await call(ipam, 'reserve', { poolId: pool })).address, '10.1.0.1')
  const [got] = await allocate(deaf, 'e1', [pool])
  t.is(got?.address, '10.1.0.2')
  t.is(got?.gateway, '10.1.0.1')
})

test('a pool that was deleted and made again elsewhere is claimed from as it is now', async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/24')
  const deaf = await startReplica(deafAfterStart(ipam.store))
  await call(ipam, 'deletePool', { id: pool })
  await t.throwsAsync(allocate(deaf, 'e1', [pool]), { code: 'pool-unknown' })
  await createPool(ipam, '10.1.0.0/24', { gateway: '10.1.0.1' })
  t.is((await allocate(deaf, 'e1', [pool]))[0]?.address, '10.1.0.2')
})

test('a static address is refused by the pool as it is now, not as a replica remembers it', async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/24', { gateway: '10.1.0.1' })
  const deaf = await startReplica(deafAfterStart(ipam.store))
  await call(ipam, 'deletePool', { id: pool })
  await t.throwsAsync(allocate(deaf, 'e1', [[pool, '10.1.0.1']]), { code: 'pool-unknown' })
  await createPool(ipam, '10.1.0.0/24', { gateway: '10.1.0.254' })
  t.is((await allocate(deaf, 'e1', [[pool, '10.1.0.1']]))[0]?.address, '10.1.0.1')
  await t.throwsAsync(allocate(deaf, 'e2', [[pool, '10.1.0.254']]), { code: 'address-taken', message: /is its gateway/ })
})

test('the ranges of a pool are used one after the other, and what is excluded from them is skipped', async (t) => {
  const ipam = await single()
  const ranges = [
    { first: '10.1.0.10', last: '10.1.0.11' },
    { first: '10.1.2.255', last: '10.1.3.1' },
  ]
  const pool = await createPool(ipam, '10.1.0.0/16', { ranges, excluded: ['10.1.3.0'] })
  const got = []
  for (let n = 0; n < 4; n++) got.push(...addresses(await allocate(ipam, `e${n}`, [pool])))
  t.deepEqual(got, ['10.1.0.10', '10.1.0.11', '10.1.2.255', '10.1.3.1'])
  await t.throwsAsync(allocate(ipam, 'e4', [pool]), { code: 'pool-exhausted', message: /4 claims, 4 addresses/ })
  await call(ipam, 'release', { owner: 'e1' })
  t.deepEqual(addresses(await allocate(ipam, 'e5', [pool])), ['10.1.0.11'])
})

test('a range of IPv6 and an exclusion in it limit dynamic claims of a prefix however large', async (t) => {
  const ipam = await single()
  const range = { first: 'fd00:1:0:0::fffe', last: 'fd00:1::1:3' }
  const pool = await createPool(ipam, 'fd00:1::/64', { ranges: [range], excluded: ['fd00:1::1:0/127'] })
  const got = []
  for (let n = 0; n < 4; n++) got.push(...addresses(await allocate(ipam, `e${n}`, [pool])))
  t.deepEqual(got, ['fd00:1::fffe', 'fd00:1::ffff', 'fd00:1::1:2', 'fd00:1::1:3'])
  await t.throwsAsync(allocate(ipam, 'e4', [pool]), { code: 'pool-exhausted' })
  await t.throwsAsync(allocate(ipam, 'e4', [[pool, 'fd00:1::1:1']]), { code: 'address-taken', message: /excluded/ })
  t.deepEqual(addresses(await allocate(ipam, 'e4', [[pool, 'fd00:1::9']])), ['fd00:1::9'])
})

test("waiting for a picked address ends with the caller's deadline", async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/32')
  const state = ipam.repo.pool(pool)
  const pick = state?.pick()
  await t.throwsAsync(allocate(ipam, 'e1', [pool], {}, 50), { code: 'deadline-exceeded' })
  if (pick !== undefined) state?.settle(pick)
  t.is((await allocate(ipam, 'e1', [pool]))[0]?.address, '10.1.0.0')
})

/** A store whose watches deliver their first snapshot and then nothing. */
function deafAfterStart(store: MemoryStore): Store {
  return new Proxy(store, {
    get(target, name) {
      if (name === 'watch')
        return (prefix: string, listener: WatchListener) =>
          target.watch(prefix, { onSnapshot: (listing, epoch) => listener.onSnapshot(listing, epoch), onBatch() {} })
      const value = Reflect.get(target, name) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
