// Claims after they were made: adopted, released, reserved around.
import { type ErrorCode, HeddleError, withCall } from '@heddle/core'
import test, { type ExecutionContext } from 'ava'
import { allocate, call, createPool, type Replica, single, startReplica } from './testing/cluster.ts'

const refused = async (t: ExecutionContext, promise: Promise<unknown>, code: ErrorCode, field?: string): Promise<void> => {
  const error = await t.throwsAsync(promise)
  if (!HeddleError.is(error)) return t.fail(String(error))
  t.is(error.code, code, error.message)
  if (field !== undefined) t.is(error.field, field)
  t.truthy(error.remedy)
}

const claims = async (ipam: Replica) => (await call(ipam, 'listClaims', {})).claims ?? []

test('a pool is created once, and one that overlaps it is refused', async (t) => {
  const ipam = await single()
  const pool = { space: 'blue', prefix: '10.1.0.0/16', ranges: [{ first: '10.1.4.0', last: '10.1.4.9' }], excluded: ['10.1.4.3'] }
  const first = await call(ipam, 'createPool', { pool })
  const again = await call(ipam, 'createPool', { pool })
  t.deepEqual([first.created, again.created, again.pool?.id], [true, false, first.pool?.id])
  await refused(t, call(ipam, 'createPool', { pool: { space: 'blue', prefix: '10.1.8.0/24' } }), 'pool-overlaps', 'pool.prefix')
  t.true((await call(ipam, 'createPool', { pool: { space: 'green', prefix: '10.1.8.0/24' } })).created, 'another space may overlap')
  const got = await Promise.all(Array.from({ length: 9 }, (_, index) => allocate(ipam, `e${index}`, [first.pool?.id ?? ''])))
  t.deepEqual(
    got
      .flat()
      .map(({ address }) => address)
      .sort(),
    ['0', '1', '2', '4', '5', '6', '7', '8', '9'].map((last) => `10.1.4.${last}`),
  )
})

test('a pool with claims stays, one without goes, and deleting it again succeeds', async (t) => {
  const ipam = await single()
  const id = await createPool(ipam, '10.1.0.0/24')
  await allocate(ipam, 'e1', [id])
  await refused(t, call(ipam, 'deletePool', { id }), 'pool-in-use', 'id')
  await call(ipam, 'release', { owner: 'e1' })
  t.true((await call(ipam, 'deletePool', { id })).existed)
  t.false((await call(ipam, 'deletePool', { id })).existed)
})

test('a gateway is chosen once, shared by all who ask, and never handed out', async (t) => {
  const ipam = await single()
  const id = await createPool(ipam, '10.1.0.0/29')
  const first = await call(ipam, 'reserve', { poolId: id })
  t.deepEqual([first.address, first.prefixLength], ['10.1.0.1', 29])
  const other = await startReplica(ipam.store)
  t.is((await call(other, 'reserve', { poolId: id, address: '10.1.0.1' })).address, '10.1.0.1')
  await refused(t, allocate(ipam, 'e1', [[id, '10.1.0.1']]), 'address-taken')
  await call(ipam, 'reserve', { poolId: id, address: '10.1.0.6', auxiliaryName: 'router' })
  const got = await Promise.all(['e1', 'e2', 'e3', 'e4'].map((owner) => allocate(ipam, owner, [id])))
  t.deepEqual(
    got
      .flat()
      .map(({ address }) => address)
      .sort(),
    ['10.1.0.2', '10.1.0.3', '10.1.0.4', '10.1.0.5'],
  )
})

test('a provisional claim is adopted by the endpoint it was made for, and by nobody else', async (t) => {
  const ipam = await single()
  const id = await createPool(ipam, '10.1.0.0/24')
  const [made] = await allocate(ipam, 'docker:h1:n1', [id], { provisional: true })
  const address = made?.address ?? ''
  const adopt = (owner: string, host = 'h1') => call(ipam, 'adopt', { owner, host, addresses: [{ poolIds: [id], address }] })
  await refused(t, adopt('e2', 'h2'), 'address-taken')
  const adopted = await adopt('e1')
  t.like(adopted.allocations?.[0]?.claim, { owner: 'e1', address, provisional: false })
  t.deepEqual((await adopt('e1')).allocations?.[0]?.claim?.owner, 'e1', 'again is the same')
  await refused(t, adopt('e2'), 'address-taken')
  t.deepEqual(
    (await claims(ipam)).map(({ owner }) => owner),
    ['e1'],
  )
})

test('an address whose provisional claim was swept is claimed anew by its endpoint', async (t) => {
  const ipam = await single()
  const id = await createPool(ipam, '10.1.0.0/24')
  const adopted = await call(ipam, 'adopt', { owner: 'e1', host: 'h1', addresses: [{ poolIds: [id], address: '10.1.0.7' }] })
  t.like(adopted.allocations?.[0]?.claim, { owner: 'e1', address: '10.1.0.7' })
})

test('a release by address frees what is provisional on that host, never what was adopted', async (t) => {
  const ipam = await single()
  const poolId = await createPool(ipam, '10.1.0.0/24')
  const [made] = await allocate(ipam, 'docker:h1:n1', [poolId], { provisional: true })
  const address = made?.address ?? ''
  t.is((await call(ipam, 'release', { poolId, address, host: 'h2' })).released, 0)
  await call(ipam, 'adopt', { owner: 'e1', host: 'h1', addresses: [{ poolIds: [poolId], address }] })
  t.is((await call(ipam, 'release', { poolId, address, host: 'h1' })).released, 0)
  t.is((await call(ipam, 'release', { owner: 'e1' })).released, 1)
  t.is((await call(ipam, 'release', { owner: 'e1' })).released, 0)
})

test('asking again for another static address of the same pool is refused and claims nothing', async (t) => {
  const ipam = await single()
  const id = await createPool(ipam, '10.1.0.0/24')
  await allocate(ipam, 'e1', [[id, '10.1.0.2']])
  await refused(t, allocate(ipam, 'e1', [[id, '10.1.0.3']]), 'address-taken', 'wants[0].address')
  t.deepEqual(
    (await claims(ipam)).map(({ address }) => address),
    ['10.1.0.2'],
  )
})

test('every field that cannot be is refused by its name and changes nothing', async (t) => {
  const ipam = await single()
  const id = await createPool(ipam, '10.1.0.0/24')
  const before = (await withCall({ timeoutMs: 1000 }, (within) => ipam.store.list('heddle/', within))).records
  await refused(t, call(ipam, 'createPool', { pool: { space: 'a/b', prefix: '10.2.0.0/24' } }), 'invalid-argument')
  await refused(t, call(ipam, 'createPool', { pool: { space: 'a', prefix: '10.2.0.1/24' } }), 'invalid-argument', 'pool.prefix')
  await refused(t, call(ipam, 'createPool', { pool: { space: 'a', prefix: '10.2.0.0/24', gateway: '10.3.0.1' } }), 'invalid-argument', 'pool.gateway')
  await refused(t, call(ipam, 'createPool', {}), 'invalid-argument')
  await refused(t, call(ipam, 'allocate', { owner: '', host: 'h1', wants: [{ poolIds: [id] }] }), 'invalid-argument', 'owner')
  await refused(t, call(ipam, 'allocate', { owner: 'e/1', host: 'h1', wants: [{ poolIds: [id] }] }), 'invalid-argument', 'owner')
  await refused(t, call(ipam, 'allocate', { owner: 'e1', host: 'h1', wants: [{ poolIds: [] }] }), 'invalid-argument')
  await refused(t, call(ipam, 'allocate', { owner: 'e1', host: 'h1', wants: [{ poolIds: [id], address: '10.1' }] }), 'invalid-argument', 'wants[0].address')
  await refused(t, call(ipam, 'allocate', { owner: 'e1', host: 'h1', wants: [{ poolIds: ['nothing.10.9.0.0_24'] }] }), 'pool-unknown')
  await refused(t, call(ipam, 'release', {}), 'invalid-argument')
  t.deepEqual((await withCall({ timeoutMs: 1000 }, (within) => ipam.store.list('heddle/', within))).records, before)
})
