// Claims, reservations, holds and releases through the handlers, on a store in memory.
import { HeddleError, withCall } from '@heddle/core'
import test from 'ava'
import { call, claim, deafTo, pciOf, pfs, report, single, startReplica, vf, vfs } from './testing/cluster.ts'

const refusal = (promise: Promise<unknown>) =>
  promise.then(
    () => new HeddleError('internal', 'it was not refused'),
    (error: unknown) => HeddleError.from(error),
  )

test('an owner has one VF, from whichever replica it asks, and what is released can be claimed at once', async (t) => {
  const one = await single()
  const two = await startReplica(one.store)
  const got = await claim(one, 'e1')
  t.is(got.pci, pciOf(0, 0))
  t.is(got.generation, 'boot:00')
  t.true(got.revision > 0n)
  t.deepEqual(await claim(two, 'e1'), got)
  const { claim: freed } = await call(two, 'release', { owner: 'e1' })
  t.is(freed?.pci, got.pci)
  t.is((await call(one, 'release', { owner: 'e1' })).claim, undefined)
  t.is((await claim(one, 'e2')).pci, got.pci)
})

test('as many calls at once as there are VFs get one each, from two replicas, and the next is told why not', async (t) => {
  const one = await single()
  const two = await startReplica(one.store)
  const got = await Promise.all(vfs().map((_, index) => claim(index % 2 === 0 ? one : two, `e${index}`)))
  t.is(new Set(got.map(({ pci }) => pci)).size, 8)
  const error = await refusal(claim(one, 'late'))
  t.is(error.code, 'vf-exhausted')
  t.is(error.message, '8 VFs match on host a: 8 claimed')
  t.truthy(error.remedy)
})

test('a replica that hears nothing hands out no VF that another one has claimed, held or heard to be dirty', async (t) => {
  const one = await single()
  const deaf = await startReplica(deafTo(one.store))
  await report(one, { vfs: vfs().map((each) => (each.pci === pciOf(0, 0) ? { ...each, state: 'dirty', baseline: undefined } : each)) })
  await claim(one, 'e1', { pci: pciOf(0, 1) })
  t.is((await claim(deaf, 'e2', { policy: 'pack' })).pci.slice(0, 10), '0000:3b:10')
  t.false([pciOf(0, 0), pciOf(0, 1)].includes((await claim(deaf, 'e2')).pci))
  await call(one, 'release', { owner: 'e1' })
  await call(one, 'release', { owner: 'e2' })
  await call(one, 'holdPf', { host: 'a', pf: '0000:3b:00.0', epoch: 'first' })
  t.is((await claim(deaf, 'e3')).pci.slice(0, 10), '0000:3b:11')
})

test('the refusal names host, pool, how many match and why each cannot be had', async (t) => {
  const one = await single()
  await call(one, 'putPool', { pool: { name: 'fast', selectors: [{ pfNames: ['eth0'] }] } })
  await claim(one, 'e1', { pool: 'fast' })
  await report(one, {
    vfs: vfs().map((each) => {
      if (each.pci === pciOf(0, 1)) return { ...each, state: 'quarantined', reason: 'VLAN would not reset', baseline: undefined }
      if (each.pci === pciOf(0, 2)) return { ...each, state: 'foreign', reason: 'in namespace 42', baseline: undefined }
      if (each.pci === pciOf(0, 3)) return { ...each, state: 'dirty', reason: 'vlan is 7', baseline: undefined }
      return each
    }),
  })
  const error = await refusal(claim(one, 'e2', { pool: 'fast' }))
  t.is(error.code, 'vf-exhausted')
  t.is(
    error.message,
    '4 VFs match pool fast on host a: 1 claimed, 1 quarantined (0000:3b:10.1: VLAN would not reset), 1 in use by others (0000:3b:10.2: in namespace 42), 1 being put back (0000:3b:10.3: vlan is 7)',
  )
  t.is(error.field, 'pool')
  t.regex(error.remedy ?? '', /heddle vf repair/)
})

test('a pool or selector that matches nothing says so and lists the PFs there are; a PF that is none is pf-unknown', async (t) => {
  const one = await single()
  await call(one, 'putPool', { pool: { name: 'none', selectors: [{ vendors: ['15b3'] }] } })
  const empty = await refusal(claim(one, 'e1', { pool: 'none' }))
  t.is(empty.code, 'vf-exhausted')
  t.regex(empty.message, /^pool none matches no VF of host a; its PFs are eth0 \(0000:3b:00.0, 8086:10c9, igb, 4 of 7 VFs\), eth1 /)
  const selector = (change: object) => ({ selector: change as never })
  t.like(await refusal(call(one, 'claim', { owner: 'e1', host: 'a', ...selector({ pfNames: ['eth9'] }) })), { code: 'pf-unknown', field: 'selector.pfNames' })
  t.like(await refusal(claim(one, 'e1', { host: 'b' })), { code: 'pf-unknown', field: 'host' })
  t.like(await refusal(claim(one, 'e1', { pool: 'missing' })), { code: 'vf-pool-unknown', field: 'pool' })
  t.like(await refusal(claim(one, 'e1', { near: '0000:ff:00.0' })), { code: 'vf-unknown', field: 'near' })
})

test('a VF that is named is had, or told why not', async (t) => {
  const one = await single()
  await claim(one, 'e1', { pci: pciOf(1, 2), networkId: 'n1' })
  t.is((await claim(one, 'e1')).pci, pciOf(1, 2))
  const taken = await refusal(claim(one, 'e2', { pci: pciOf(1, 2) }))
  t.is(taken.code, 'vf-in-use')
  t.regex(taken.message, /is claimed by endpoint e1 of network n1/)
  t.like(await refusal(claim(one, 'e1', { pci: pciOf(1, 1) })), { code: 'vf-in-use', field: 'pci' })
  t.like(await refusal(claim(one, 'e2', { pci: '0000:ff:00.0' })), { code: 'vf-unknown', field: 'pci' })
  t.regex((await refusal(claim(one, 'e2', { pci: '0000:3b:00.0' }))).message, /is a PF, not a VF/)
  await call(one, 'putPool', { pool: { name: 'fast', selectors: [{ pfNames: ['eth0'] }] } })
  t.regex((await refusal(claim(one, 'e2', { pci: pciOf(1, 1), pool: 'fast' }))).message, /none of pool fast/)
  const states = { [pciOf(0, 0)]: 'quarantined', [pciOf(0, 1)]: 'foreign', [pciOf(0, 2)]: 'dirty' }
  await report(one, { vfs: vfs().map((each) => (states[each.pci] ? { ...each, state: states[each.pci], reason: 'as it is', baseline: undefined } : each)) })
  t.like(await refusal(claim(one, 'e2', { pci: pciOf(0, 0) })), { code: 'vf-quarantined', field: 'pci' })
  t.like(await refusal(claim(one, 'e2', { pci: pciOf(0, 1) })), { code: 'vf-in-use' })
  t.regex((await refusal(claim(one, 'e2', { pci: pciOf(0, 2) }))).message, /being put back to its baseline: as it is/)
})

test('what the kubelet has reserved goes to who names it, and back to the reservation', async (t) => {
  const one = await single()
  const pci = pciOf(0, 0)
  const reserve = () => call(one, 'claim', { host: 'a', pci, reserveFor: 'kubelet' })
  const first = (await reserve()).vf?.claim
  t.like(first, { owner: '', reservedBy: 'kubelet', pci })
  t.deepEqual((await reserve()).vf?.claim, first)
  t.is((await claim(one, 'e1')).pci, pciOf(0, 1), 'nobody gets it by chance')
  t.like(await claim(one, 'e2', { pci }), { owner: 'e2', reservedBy: 'kubelet' })
  t.is((await reserve()).vf?.claim?.owner, 'e2')
  t.is((await refusal(claim(one, 'e3', { pci }))).code, 'vf-in-use')
  await call(one, 'release', { owner: 'e2' })
  t.is((await refusal(call(one, 'claim', { host: 'a', pci: pciOf(0, 1), reserveFor: 'kubelet' }))).code, 'vf-in-use')
  await claim(one, 'e3', { pci })
  t.is((await call(one, 'release', { host: 'a', pci })).claim?.owner, 'e3', 'only the mark of the reservation goes')
  t.like(await claim(one, 'e3'), { owner: 'e3', reservedBy: '' })
  await call(one, 'release', { owner: 'e3' })
  t.is((await call(one, 'listVfs', { pci })).vfs?.[0]?.claim, undefined)
})

test('a release that names a revision frees no newer claim', async (t) => {
  const one = await single()
  const { revision } = await claim(one, 'e1')
  await call(one, 'release', { owner: 'e1', revision })
  const again = await claim(one, 'e1')
  t.is((await call(one, 'release', { owner: 'e1', revision })).claim, undefined)
  t.deepEqual(await claim(one, 'e1'), again)
})

test('an owner whose VF was made anew gets one that is there, and its old claim does not stay', async (t) => {
  const one = await single()
  await claim(one, 'e1')
  const anew = vfs().map((each) => ({ ...each, generation: `reboot:${each.pci}` }))
  const answer = await report(one, { epoch: 'second', vfs: anew })
  t.deepEqual(
    (answer.lost ?? []).map((lost) => lost.owner),
    ['e1'],
  )
  t.is(answer.vfs?.[0]?.claim, undefined)
  t.is((await refusal(claim(one, 'e2', { pci: pciOf(0, 0) }))).code, 'vf-in-use', 'until the sweep has seen its endpoint go')
  t.like((await call(one, 'listVfs', { pci: pciOf(0, 0) })).vfs, [{ claim: undefined, reason: 'kept for endpoint e1, which had it before it was made anew' }])
  const got = await claim(one, 'e1')
  t.is(got.generation, `reboot:${got.pci}`)
  const { vfs: all } = await call(one, 'listVfs', {})
  t.deepEqual(
    all?.filter((each) => each.claim).map(({ pci }) => pci),
    [got.pci],
  )
})

test('two interfaces of one container asked for at once are on different PFs', async (t) => {
  const one = await single()
  const two = await startReplica(one.store)
  const request = { apart: true, group: 'box' }
  const got = await Promise.all([claim(one, 'e1', request), claim(two, 'e2', request)])
  t.is(new Set(got.map(({ pci }) => pci.slice(0, 10))).size, 2)
  const error = await refusal(claim(one, 'e3', request))
  t.regex(error.message, /of a PF that another interface of the container has a VF of/)
})

test('while a PF is held none of its VFs is claimed; one with claims is not held; hands that start anew end it', async (t) => {
  const one = await single()
  const hold = { host: 'a', pf: '0000:3b:00.0', epoch: 'first' }
  await claim(one, 'e1', { pci: pciOf(0, 0) })
  const error = await refusal(call(one, 'holdPf', hold))
  t.is(error.code, 'pf-in-use')
  t.regex(error.message, /^1 VF of PF 0000:3b:00.0 of host a is claimed: 0000:3b:10.0 by endpoint e1/)
  t.is((await claim(one, 'e2', { pci: pciOf(0, 1) })).owner, 'e2', 'a hold that was refused does not stay')
  for (const owner of ['e1', 'e2']) await call(one, 'release', { owner })
  await call(one, 'holdPf', hold)
  await call(one, 'holdPf', hold)
  t.is((await call(one, 'listPfs', { host: 'a' })).pfs?.[0]?.held, true)
  t.is((await claim(one, 'e1')).pci, pciOf(1, 0))
  t.regex((await refusal(claim(one, 'e2', { pci: pciOf(0, 0) }))).message, /are being changed/)
  await report(one)
  t.is((await call(one, 'listPfs', { host: 'a' })).pfs?.[0]?.held, true, 'a report of the same hands ends nothing')
  await report(one, { epoch: 'second' })
  t.is((await claim(one, 'e2')).pci, pciOf(1, 1))
  t.is((await claim(one, 'e3', { pci: pciOf(0, 0) })).owner, 'e3')
  t.is((await refusal(call(one, 'holdPf', { ...hold, pf: '0000:3b:00.7' }))).code, 'pf-unknown')
})

test('a hold and a claim at once: one of them is told', async (t) => {
  const one = await single()
  const two = await startReplica(one.store)
  const outcomes = await Promise.all([
    refusal(call(one, 'holdPf', { host: 'a', pf: '0000:3b:00.0', epoch: 'first' })),
    refusal(claim(two, 'e1', { pci: pciOf(0, 0) })),
  ])
  const refusals = outcomes.filter(({ code }) => code === 'pf-in-use' || code === 'vf-in-use')
  t.is(refusals.length, 1)
})

test('reports write only what differs, a late one of earlier hands changes nothing, and an old baseline is told to new hands', async (t) => {
  const one = await single()
  const revision = () => withCall({ timeoutMs: 1_000 }, async (within) => (await one.store.get('heddle/vf/host/a', within))?.modRevision)
  const first = await revision()
  await report(one)
  t.is(await revision(), first)
  await report(one, { epoch: 'second', vfs: vfs(2), pfs: pfs(2) })
  const second = await revision()
  const late = await report(one)
  t.is(await revision(), second)
  t.is(late.vfs?.[0]?.baseline?.name, 'eth0v0')
  t.is((await call(one, 'listVfs', {})).vfs?.length, 4)
  const hands = await report(one, {
    epoch: 'third',
    vfs: [vf(0, 0, { settings: { vlan: 9 }, baseline: { settings: { vlan: 9 }, name: 'eth0v0', mac: '02:00:00:00:00:00', driver: 'igbvf' } })],
  })
  t.is(hands.vfs?.[0]?.state, 'dirty')
  t.is(hands.vfs?.[0]?.baseline?.settings?.vlan, 0)
})

test('bad requests are refused by their field', async (t) => {
  const one = await single()
  const cases: [string, Promise<unknown>][] = [
    ['owner', claim(one, '')],
    ['host', claim(one, 'e1', { host: 'a.b' })],
    ['pci', claim(one, 'e1', { pci: 'eth0' })],
    ['policy', claim(one, 'e1', { policy: 'random' })],
    ['near', claim(one, 'e1', { near: 'gpu' })],
    ['group', claim(one, 'e1', { apart: true })],
    ['reserveFor', claim(one, '', { reserveFor: 'me' })],
    ['pci', claim(one, '', { reserveFor: 'kubelet' })],
    ['owner', claim(one, 'e1', { reserveFor: 'kubelet', pci: pciOf(0, 0) })],
    ['selector.vendors[0]', call(one, 'claim', { owner: 'e1', host: 'a', selector: { vendors: ['intel'] } })],
    ['owner', call(one, 'release', {})],
    ['vfs[1].pci', report(one, { vfs: [vf(0, 0), vf(0, 0)] })],
    ['vfs[0].pf', report(one, { pfs: [] })],
    ['vfs[0].generation', report(one, { vfs: [vf(0, 0, { generation: '' })] })],
    ['pool.selectors', call(one, 'putPool', { pool: { name: 'p' } })],
    ['pool.driver', call(one, 'putPool', { pool: { name: 'p', selectors: [{}], driver: 'uio' } })],
    ['pool.resourceName', call(one, 'putPool', { pool: { name: 'p', selectors: [{}], resourceName: 'fast' } })],
  ]
  for (const [field, promise] of cases) t.like(await refusal(promise), { code: 'invalid-argument', field })
  t.is((await call(one, 'listVfs', {})).vfs?.filter((each) => each.claim).length, 0)
})
