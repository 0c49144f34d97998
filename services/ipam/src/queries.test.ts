// What is listed, in pages that fit the bus, and what a record that nobody can read does to it.
import { allPages, withCall } from '@heddle/core'
import test from 'ava'
import { allocate, call, createPool, single, startReplica } from './testing/cluster.ts'

test('claims are listed by pool, owner and host, each narrowing the others', async (t) => {
  const ipam = await single()
  const [v4, v6] = [await createPool(ipam, '10.1.0.0/24'), await createPool(ipam, 'fd00:1::/64')]
  await allocate(ipam, 'e1', [v4, v6], { host: 'h1' })
  await allocate(ipam, 'e2', [v4], { host: 'h2' })
  await allocate(ipam, 'e3', [v4], { host: 'h1' })
  const listed = async (filter: object) => ((await call(ipam, 'listClaims', filter)).claims ?? []).map(({ owner, poolId }) => `${owner} ${poolId}`)
  t.deepEqual(await listed({}), [`e1 ${v4}`, `e2 ${v4}`, `e3 ${v4}`, `e1 ${v6}`])
  t.deepEqual(await listed({ poolId: v6 }), [`e1 ${v6}`])
  t.deepEqual(await listed({ host: 'h1' }), [`e1 ${v4}`, `e3 ${v4}`, `e1 ${v6}`])
  t.deepEqual(await listed({ host: 'h1', poolId: v4 }), [`e1 ${v4}`, `e3 ${v4}`])
  t.deepEqual(await listed({ owner: 'e1' }), [`e1 ${v4}`, `e1 ${v6}`])
  t.deepEqual(await listed({ owner: 'e1', poolId: v6, host: 'h1' }), [`e1 ${v6}`])
  t.deepEqual(await listed({ owner: 'e1', host: 'h2' }), [])
  t.deepEqual(await listed({ owner: 'nobody' }), [])
})

test('more claims than fit one message of the bus are listed page by page, each once', async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/16')
  await allocate(ipam, 'first', [[pool, '10.1.0.1']])
  const other = await createPool(ipam, '10.2.0.0/16')
  const put = Array.from({ length: 2_500 }, (_, n) => ({
    put: `heddle/ipam/claim/${pool}/10.1.${1 + (n >> 8)}.${n & 255}`,
    value: JSON.stringify({ owner: `e${n}`, host: n % 2 ? 'h1' : 'h2' }),
  }))
  for (let from = 0; from < put.length; from += 100)
    await withCall({ timeoutMs: 5_000 }, (within) => ipam.store.commit({ when: [], write: put.slice(from, from + 100) }, within))
  await allocate(ipam, 'last', [other])
  const listed = async (filter: object) => {
    const sizes: number[] = []
    const claims = await allPages(
      async (pageToken) => {
        const { claims = [], nextPageToken = '' } = await call(ipam, 'listClaims', { ...filter, pageToken })
        sizes.push(claims.length)
        return { claims, nextPageToken }
      },
      (page) => page.claims,
    )
    t.true(sizes.length > 1 && sizes.every((size) => size <= 1_000))
    t.is(new Set(claims.map(({ address }) => address)).size, claims.length)
    return claims.length
  }
  t.is(await listed({}), 2_502)
  t.is(await listed({ poolId: pool }), 2_501)
  t.is(await listed({ poolId: pool, host: 'h2' }), 1_250)
  t.is((await call(ipam, 'listPools', { id: pool })).pools?.[0]?.claimed, 2_501n)
})

test('pools are listed page by page in the order of their ids', async (t) => {
  const ipam = await single()
  const excluded = Array.from({ length: 250 }, (_, n) => `10.1.1.${n}`)
  const ids = []
  for (let n = 0; n < 100; n++) ids.push(await createPool(ipam, '10.1.0.0/16', { space: `space-${n}`, excluded }))
  const pages: number[] = []
  const all = await allPages(
    async (pageToken) => {
      const { pools = [], nextPageToken = '' } = await call(ipam, 'listPools', { pageToken })
      pages.push(pools.length)
      return { pools, nextPageToken }
    },
    (page) => page.pools,
  )
  t.deepEqual(
    all.map(({ pool }) => pool?.id),
    ids.toSorted(),
  )
  t.is(pages.length, 2)
})

test('records that somebody wrote by hand keep no replica from knowing all others, and their address is given to nobody', async (t) => {
  const ipam = await single()
  const pool = await createPool(ipam, '10.1.0.0/29')
  const write = [`claim/${pool}/10.1.0.2`, `claim/${pool}/nonsense`, 'claim/nonsense', 'pool/nonsense', 'pool/blue.10.2.0.0_24'].map((key) => ({
    put: `heddle/ipam/${key}`,
    value: '{"owner": 7',
  }))
  await withCall({ timeoutMs: 1_000 }, (within) => ipam.store.commit({ when: [], write }, within))
  for (const replica of [ipam, await startReplica(ipam.store)]) {
    const owner = replica === ipam ? 'e1' : 'e2'
    t.not((await allocate(replica, owner, [pool]))[0]?.address, '10.1.0.2')
    await t.throwsAsync(allocate(replica, 'e3', [[pool, '10.1.0.2']]), { code: 'address-taken', message: /cannot be read/ })
    await t.throwsAsync(allocate(replica, 'e3', ['blue.10.2.0.0_24']), { code: 'pool-unknown' })
  }
  t.deepEqual(
    ((await call(ipam, 'listPools', {})).pools ?? []).map(({ claimed }) => claimed),
    [3n],
  )
  t.deepEqual(
    ((await call(ipam, 'listClaims', {})).claims ?? []).map(({ address, owner }) => [address, owner]),
    [
      ['10.1.0.2', ''],
      ['10.1.0.3', 'e1'],
      ['10.1.0.4', 'e2'],
    ],
  )
  await t.throwsAsync(call(ipam, 'deletePool', { id: pool }), { code: 'pool-in-use' })
})
