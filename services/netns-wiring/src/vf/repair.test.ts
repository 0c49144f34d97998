// What is found and put back without being asked, what is left alone, and what would not go back.
import { VfClaim } from '@heddle/contract'
import { presets } from '@heddle/testkit'
import test from 'ava'
import { until, within } from '../testing/lab.ts'
import { repair } from '../testing/vf-calls.ts'
import { network, pf, VfLab } from '../testing/vf-lab.ts'

const outcomes = async (lab: VfLab) => (await repair(lab)).map(({ outcome }) => outcome)
const state = (lab: VfLab, index: number) => lab.allocator.vfs.get(lab.vf(index))

test('an unclaimed VF that differs is put back at start, saying what differed; the others are left', async (t) => {
  const lab = await VfLab.create(t)
  Object.assign(lab.card.info(lab.vf(1)), { vlan: 100, trust: true })
  await lab.reported()
  t.like(state(lab, 1), { state: 'dirty', reason: 'vlan is 100, not 0, trust is on, not off' })
  t.deepEqual(await repair(lab, lab.vf(1)), [{ pci: lab.vf(1), outcome: 'repaired', differences: ['vlan is 100, not 0', 'trust is on, not off'] }])
  t.deepEqual(lab.dirt(lab.vf(1)), [])
  t.deepEqual(await outcomes(lab), ['clean', 'clean', 'clean', 'clean'])
  lab.card.info(lab.vf(2)).vlan = 7
  await lab.stop()
  await lab.start()
  await until('it is put back', () => lab.card.info(lab.vf(2)).vlan === 0)
})

test('claimed and foreign VFs are never touched', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 5 })
  await within((call) => lab.wiring.attach({ network, endpoint, routes: [] }, call))
  lab.claim(1, 'e2')
  lab.card.info(lab.vf(1)).vlan = 9
  const { name = '' } = lab.card.find(lab.vf(2))?.link ?? {}
  await lab.kernel.run([{ op: 'link.move', ns: 'own', name, to: { path: '/ns/d' } }])
  await lab.kernel.run([{ op: 'address.replace', ns: 'own', name: lab.card.find(lab.vf(3))?.link.name ?? '', address: '192.0.2.77/24' }])
  lab.card.info(lab.vf(3)).vlan = 9
  t.deepEqual(await outcomes(lab), ['held', 'held', 'held', 'held'])
  t.deepEqual(
    [0, 1, 2, 3].map((index) => state(lab, index)?.state),
    ['used', 'used', 'foreign', 'foreign'],
  )
  t.is(state(lab, 3)?.reason, `${lab.card.find(lab.vf(3))?.link.name} has address 192.0.2.77/24 of the host`)
  t.deepEqual(
    [1, 3].map((index) => lab.card.info(lab.vf(index)).vlan),
    [9, 9],
  )
})

test("a VF bound to vfio-pci is somebody's while its device node is open, and put back when it is not", async (t) => {
  const lab = await VfLab.create(t)
  await within((call) => lab.card.sysfs.bind(lab.vf(0), 'vfio-pci', call))
  lab.user = 'process 7 has /dev/vfio/1 open'
  t.is((await outcomes(lab))[0], 'held')
  lab.user = ''
  t.is((await outcomes(lab))[0], 'repaired')
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

test('whose process has the device node of a claimed VF open is not asked, and does not make it foreign', async (t) => {
  const lab = new VfLab({ functions: [presets.ixgbe({ pci: pf, numVfs: 2 })] })
  for (const pci of lab.vfs) await within((call) => lab.card.sysfs.bind(pci, 'vfio-pci', call))
  await lab.allocator.start()
  await lab.brains.start()
  await lab.start()
  t.teardown(() => lab.stop())
  await lab.reported()
  t.is(state(lab, 0)?.state, 'ready')
  lab.claim(0, 'e1', {}, {}, 'vfio-pci')
  lab.user = 'process 7 has it open'
  await lab.reported()
  t.deepEqual([state(lab, 0)?.state, state(lab, 1)?.state], ['used', 'foreign'])
})

test('a VF that will not go back is in quarantine with the reason, tried again when asked, and free afterwards', async (t) => {
  const lab = await VfLab.create(t)
  lab.card.info(lab.vf(0)).vlan = 100
  lab.card.refuses.set('vlan', 'EINVAL')
  t.is((await outcomes(lab))[0], 'quarantined')
  t.is(state(lab, 0)?.state, 'quarantined')
  t.regex(state(lab, 0)?.reason ?? '', /vlan is 100, not 0/)
  const { findings } = await within((call) => lab.wiring.inspect({}, call))
  t.true(findings.some(({ subject, level, remedy }) => subject === `vf ${lab.vf(0)}` && level === 'warning' && remedy.includes('heddle vf repair')))
  const endpoint = lab.claim(0, 'e1')
  t.like(await t.throwsAsync(within((call) => lab.wiring.prepare({ network, endpoint }, call))), { code: 'vf-quarantined', details: { pci: lab.vf(0) } })
  lab.allocator.free(lab.vf(0))
  lab.card.refuses.clear()
  t.is((await outcomes(lab))[0], 'repaired')
  t.is(state(lab, 0)?.state, 'ready')
})

test('a detach whose VF will not go back has it out of the sandbox, in quarantine, and told before it answers', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 5 })
  await within((call) => lab.wiring.attach({ network, endpoint, routes: [] }, call))
  lab.card.refuses.set('vlan', 'EINVAL')
  t.true((await within((call) => lab.wiring.detach({ endpointId: 'e1', sandbox: '/ns/c', vf: endpoint.vf }, call))).existed)
  t.is(lab.card.find(lab.vf(0))?.ns, 'own')
  t.is(state(lab, 0)?.state, 'quarantined', 'its claim is not freed yet')
  lab.allocator.free(lab.vf(0))
  await lab.reported()
  t.is(state(lab, 0)?.state, 'quarantined')
})

test('a netdev in a sandbox that bears our mark and that no claim names is put back after its grace', async (t) => {
  const lab = await VfLab.create(t, undefined, { orphanGraceMs: 0, vfRepairMs: 100 })
  const endpoint = lab.claim(0, 'e1', { vlan: 5 })
  await within((call) => lab.wiring.attach({ network, endpoint, routes: [] }, call))
  await lab.stop()
  lab.allocator.free(lab.vf(0))
  await lab.start()
  await until('it is put back', () => lab.dirt(lab.vf(0)).length === 0)
  t.pass()
})

test('while vf-allocator does not answer everything stays, and is put back when it does', async (t) => {
  const lab = await VfLab.create(t)
  lab.allocator.down = true
  lab.card.info(lab.vf(0)).vlan = 100
  await t.throwsAsync(repair(lab))
  t.is(lab.card.info(lab.vf(0)).vlan, 100)
  await lab.stop()
  await lab.start()
  t.like(await t.throwsAsync(within((call) => lab.wiring.listAttachments({}, call))), { code: 'unavailable' })
  t.is(lab.card.info(lab.vf(0)).vlan, 100)
  lab.allocator.down = false
  t.is((await outcomes(lab))[0], 'repaired')
})

test('a VF that is first seen in use has no baseline proposed; one made anew has another generation', async (t) => {
  const lab = new VfLab({ functions: [presets.ixgbe({ pci: pf, numVfs: 2 })] })
  const { name = '' } = lab.card.find(lab.vf(0))?.link ?? {}
  await lab.kernel.run([{ op: 'link.set', ns: 'own', name, alias: 'heddle:old:n1' }])
  await lab.allocator.start()
  await lab.brains.start()
  await lab.start()
  t.teardown(() => lab.stop())
  await lab.reported()
  t.is(state(lab, 0)?.baseline, undefined)
  t.is(state(lab, 0)?.state, 'dirty')
  t.truthy(state(lab, 1)?.baseline)
  const { generation } = state(lab, 1) ?? {}
  lab.card.tree.setNumVfs(pf, 2)
  lab.card.sync()
  await lab.reported()
  t.not(state(lab, 1)?.generation, generation)
})

test('a claim that is released while its owner is gone is freed only once the VF is at its baseline', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 5 })
  await within((call) => lab.wiring.attach({ network, endpoint, routes: [] }, call))
  lab.allocator.claims.set(lab.vf(0), VfClaim.fromPartial({ ...lab.allocator.claims.get(lab.vf(0)), releasing: true }))
  // The netdev cannot leave the sandbox yet.
  lab.kernel.refusals.set(
    'link.move',
    Array.from({ length: 40 }, () => 'ENOMEM'),
  )
  await outcomes(lab)
  t.deepEqual(lab.allocator.released, [])
  lab.kernel.refusals.clear()
  await outcomes(lab)
  t.deepEqual(lab.allocator.released, [lab.vf(0)])
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

test('a round reads what it was just told once: no VF again that is as it should be, and no namespace twice for VFs that are away', async (t) => {
  const lab = await VfLab.create(t, { functions: [presets.ixgbe({ pci: pf, numVfs: 12 })] }, { vfRepairMs: 100 })
  for (const index of [0, 1, 2, 3]) {
    await lab.kernel.run([{ op: 'link.move', ns: 'own', name: lab.card.find(lab.vf(index))?.link.name ?? '', to: { path: '/ns/d' } }])
  }
  const { vfs, links } = lab.kernel
  let asked = 0
  let dumps = 0
  lab.kernel.vfs = (...of) => {
    asked++
    return vfs.apply(lab.kernel, of)
  }
  lab.kernel.links = (ns) => {
    if (ns !== 'own' && ns.path === '/ns/d') dumps++
    return links.call(lab.kernel, ns)
  }
  const { reports } = lab.allocator
  await until('rounds', () => lab.allocator.reports >= reports + 4)
  const told = lab.allocator.reports - reports
  t.true(dumps > 0 && dumps <= told, `${dumps} dumps in ${told} rounds`)
  t.true(asked <= told + 1, `the PF was asked ${asked} times in ${told} rounds`)
})

test('a claim whose VF does not leave its sandbox is tried ever more seldom, and told of once', async (t) => {
  const lab = await VfLab.create(t, undefined, { vfRepairMs: 100 })
  const endpoint = lab.claim(0, 'e1', { vlan: 5 })
  await within((call) => lab.wiring.attach({ network, endpoint, routes: [] }, call))
  lab.kernel.refusals.set('link.move', Array<string>(400).fill('ENOMEM'))
  lab.kernel.writes.length = 0
  const moves = () => lab.kernel.writes.filter((write) => write.startsWith('link.move')).length
  lab.allocator.claims.set(lab.vf(0), VfClaim.fromPartial({ ...lab.allocator.claims.get(lab.vf(0)), releasing: true }))
  await until('it was tried', () => state(lab, 0)?.state === 'quarantined')
  const tried = moves()
  const { reports } = lab.allocator
  await until('rounds', () => lab.allocator.reports >= reports + 4)
  t.is(moves(), tried)
  t.deepEqual(lab.allocator.released, [])
})

test('a VF of which no baseline is recorded is left alone, with the reason', async (t) => {
  const lab = new VfLab({ functions: [presets.ixgbe({ pci: pf, numVfs: 1 })] })
  await lab.kernel.run([{ op: 'link.set', ns: 'own', name: lab.card.find(lab.vf(0))?.link.name ?? '', alias: 'heddle:lost:n1' }])
  await lab.allocator.start()
  await lab.brains.start()
  await lab.start()
  t.teardown(() => lab.stop())
  t.deepEqual(await repair(lab), [{ pci: lab.vf(0), outcome: 'held', differences: ['the netdev bears the mark of endpoint lost'] }])
})

test('a claim to be released, of a VF that another endpoint has been given since, is not acted upon', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'next', { vlan: 5 })
  await within((call) => lab.wiring.attach({ network, endpoint, routes: [] }, call))
  lab.allocator.claims.set(lab.vf(0), VfClaim.fromPartial({ ...lab.allocator.claims.get(lab.vf(0)), owner: 'old', releasing: true }))
  t.is((await outcomes(lab))[0], 'held')
  t.like(lab.card.find(lab.vf(0)), { ns: '/ns/c', link: { alias: 'heddle:next:n1' } })
  t.deepEqual(lab.allocator.released, [])
})

test('an override that a process left when it was killed while it bound a VF anew goes before the claim does', async (t) => {
  const lab = await VfLab.create(t, { functions: [presets.igb({ pci: pf, numVfs: 1 })] })
  lab.claim(0, 'gone')
  lab.allocator.claims.set(lab.vf(0), VfClaim.fromPartial({ ...lab.allocator.claims.get(lab.vf(0)), releasing: true }))
  await lab.card.tree.write(`${lab.card.tree.root}/bus/pci/devices/${lab.vf(0)}/driver_override`, 'igbvf')
  await repair(lab)
  t.deepEqual(lab.allocator.released, [lab.vf(0)])
  t.like(await lab.card.sysfs.virtualFunction(lab.vf(0)), { driver: 'igbvf', driverOverride: '' })
})

test('an override that was left on a VF that nobody has goes, whether the VF differs in more or not', async (t) => {
  const lab = await VfLab.create(t)
  for (const index of [0, 1]) await lab.card.tree.write(`${lab.card.tree.root}/bus/pci/devices/${lab.vf(index)}/driver_override`, 'ixgbevf')
  lab.card.info(lab.vf(1)).vlan = 100
  await lab.reported()
  t.like(lab.allocator.vfs.get(lab.vf(0)), { state: 'dirty', reason: 'its driver_override is ixgbevf' })
  await repair(lab)
  for (const index of [0, 1]) {
    t.like(await lab.card.sysfs.virtualFunction(lab.vf(index)), { driver: 'ixgbevf', driverOverride: '' })
    t.is(lab.allocator.vfs.get(lab.vf(index))?.state, 'ready')
  }
})
