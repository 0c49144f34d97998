// Pools, and what the lists say.
import { HeddleError } from '@heddle/core'
import test from 'ava'
import { call, claim, pciOf, report, single, startReplica, vf, vfs } from './testing/cluster.ts'

const refusal = (promise: Promise<unknown>) =>
  promise.then(
    () => new HeddleError('internal', 'it was not refused'),
    (error: unknown) => HeddleError.from(error),
  )
const fast = { name: 'fast', selectors: [{ pfNames: ['eth0#0-2'] }, { pciAddresses: [pciOf(1, 3)] }] }

test('a pool is put, answered the same, replaced, and says what it matches', async (t) => {
  const one = await single()
  const put = await call(one, 'putPool', { pool: fast })
  t.like(put, { created: true, vfs: 4 })
  t.is(put.pool?.policy, 'pack')
  const again = await call(one, 'putPool', { pool: { ...fast, selectors: fast.selectors.toReversed() }, createOnly: true })
  t.deepEqual(again.pool, put.pool)
  t.false(again.created)
  t.like(await refusal(call(one, 'putPool', { pool: { ...fast, policy: 'spread' }, createOnly: true })), { code: 'vf-pool-exists', field: 'pool.name' })
  const replaced = await call(one, 'putPool', { pool: { ...fast, selectors: [{ pfNames: ['eth1'] }], policy: 'spread' } })
  t.like(replaced, { created: false, vfs: 4 })
  t.is(replaced.pool?.createdAt, put.pool?.createdAt)
})

test('two pools are not the same Kubernetes resource', async (t) => {
  const one = await single()
  await call(one, 'putPool', { pool: { ...fast, resourceName: 'heddle.dev/fast' } })
  const error = await refusal(call(one, 'putPool', { pool: { ...fast, name: 'other', resourceName: 'heddle.dev/fast' } }))
  t.like(error, { code: 'invalid-argument', field: 'pool.resourceName' })
})

test('a pool says how many VFs it has by what can be had of them', async (t) => {
  const one = await single()
  await call(one, 'putPool', { pool: fast })
  await claim(one, 'e1', { pool: 'fast' })
  await report(one, { vfs: vfs().map((each) => (each.pci === pciOf(1, 3) ? { ...each, state: 'foreign', baseline: undefined } : each)) })
  t.like((await call(one, 'listPools', {})).pools?.[0], { vfs: 4, free: 2, claimed: 1, unusable: 1 })
  t.deepEqual((await call(one, 'listPools', { name: 'other' })).pools, [])
})

test('a pool is kept while a network names it, and when networks cannot be asked', async (t) => {
  const networks = { listNetworks: async () => ({ networks: [{ name: 'blue', sriov: { pool: 'fast' } }] as never[], nextPageToken: '' }) }
  const one = await single(undefined, networks)
  await call(one, 'putPool', { pool: fast })
  const error = await refusal(call(one, 'deletePool', { name: 'fast' }))
  t.like(error, { code: 'vf-pool-in-use', field: 'name' })
  t.regex(error.message, /network blue/)
  networks.listNetworks = async () => Promise.reject(new HeddleError('unavailable', 'networks is away'))
  t.is((await refusal(call(one, 'deletePool', { name: 'fast' }))).code, 'unavailable')
  networks.listNetworks = async () => ({ networks: [], nextPageToken: '' })
  t.true((await call(one, 'deletePool', { name: 'fast' })).existed)
  t.false((await call(one, 'deletePool', { name: 'fast' })).existed)
  t.is((await refusal(claim(one, 'e1', { pool: 'fast' }))).code, 'vf-pool-unknown')
})

test('VFs are listed by host, address, PF, pool and owner; a claimed one is shown as used', async (t) => {
  const one = await single()
  await call(one, 'putPool', { pool: fast })
  await report(one, { host: 'b', vfs: [vf(0, 0)] })
  const { pci } = await claim(one, 'e1')
  const listed = async (filter: object) => ((await call(one, 'listVfs', filter)).vfs ?? []).map((each) => `${each.host}/${each.pci}`)
  t.is((await listed({})).length, 9)
  t.deepEqual(await listed({ host: 'b' }), [`b/${pciOf(0, 0)}`])
  t.deepEqual(await listed({ pci: pciOf(0, 0) }), [`a/${pciOf(0, 0)}`, `b/${pciOf(0, 0)}`])
  t.is((await listed({ pf: 'eth1' })).length, 4)
  t.is((await listed({ pf: '0000:3b:00.1' })).length, 4)
  t.is((await listed({ pool: 'fast', host: 'a' })).length, 4)
  t.deepEqual(await listed({ owner: 'e1' }), [`a/${pci}`])
  t.like((await call(one, 'listVfs', { owner: 'e1' })).vfs?.[0], { state: 'used', name: '', settings: undefined, pfName: 'eth0' })
  t.is((await refusal(call(one, 'listVfs', { pool: 'other' }))).code, 'vf-pool-unknown')
  const { pfs } = await call(one, 'listPfs', {})
  t.deepEqual(
    pfs?.map(({ host, names, freeVfs, claimedVfs }) => [host, names?.[0], freeVfs, claimedVfs]),
    [
      ['a', 'eth0', 3, 1],
      ['a', 'eth1', 4, 0],
      ['b', 'eth0', 1, 0],
      ['b', 'eth1', 0, 0],
    ],
  )
})

test('what does not fit one page comes in several, each VF once', async (t) => {
  const one = await single()
  const long = { state: 'foreign', reason: 'x'.repeat(500), baseline: undefined }
  for (let host = 0; host < 30; host++) {
    const many = Array.from({ length: 40 }, (_, index) => vf(0, index % 8, { ...long, pci: `0000:3b:${(16 + (index >> 3)).toString(16)}.${index % 8}` }))
    await report(one, { host: `h${String(host).padStart(2, '0')}`, vfs: many })
  }
  const two = await startReplica(one.store)
  const seen: string[] = []
  let pages = 0
  for (let pageToken = ''; pageToken !== '' || pages === 0; pages++) {
    const page = await call(pages % 2 === 0 ? one : two, 'listVfs', { pageToken })
    seen.push(...(page.vfs ?? []).map((each) => `${each.host}/${each.pci}`))
    pageToken = page.nextPageToken ?? ''
  }
  t.true(pages > 1)
  t.is(seen.length, 30 * 40 + 8)
  t.deepEqual(seen, [...new Set(seen)].sort())
})
