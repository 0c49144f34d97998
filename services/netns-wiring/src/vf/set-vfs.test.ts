// VFs made and removed, read and bound.

import { setTimeout } from 'node:timers/promises'
import { presets } from '@heddle/testkit'
import test from 'ava'
import { until, within } from '../testing/lab.ts'
import { network, pf, VfLab } from '../testing/vf-lab.ts'

const setVfs = (lab: VfLab, count: number, name = 'eth0') => within((call) => lab.wiring.setVfs({ pf: name, count }, call))

test('VFs are made by the name or address of their PF, each with driver and baseline, and removed again', async (t) => {
  const lab = await VfLab.create(t, { functions: [presets.igb({ pci: pf })] })
  const { pf: made, vfs } = await setVfs(lab, 3)
  t.like(made, { pci: pf, numVfs: 3, names: ['eth0'] })
  t.is(vfs.length, 3)
  t.true(vfs.every(({ driver, state, name }) => driver === 'igbvf' && state === 'ready' && name !== ''))
  t.true(lab.vfs.every((pci) => lab.allocator.vfs.get(pci)?.baseline !== undefined))
  const written = lab.card.tree.written.length
  t.is((await setVfs(lab, 3, pf)).vfs.length, 3)
  t.is(lab.card.tree.written.length, written, 'as many as there are: nothing is written')
  t.is((await setVfs(lab, 5)).vfs.length, 5)
  t.is((await setVfs(lab, 0)).vfs.length, 0)
  t.is(lab.allocator.holds.size, 0)
})

test('igbvf is bound anew once the VFs are there and the PF has its link back: bound while the PF resets it has no link', async (t) => {
  const lab = await VfLab.create(t, { functions: [presets.igb({ pci: pf })] })
  await setVfs(lab, 2)
  const written = lab.card.tree.written.filter((write) => /sriov_numvfs=2|igbvf\/bind=/.test(write))
  t.deepEqual(
    written.map((write) => write.split('/').at(-1)?.trim()),
    ['sriov_numvfs=2', ...lab.vfs.map((pci) => `bind=${pci}`)],
  )
  t.true(lab.vfs.every((pci) => lab.dirt(pci).length === 0))
})

test('a PF that is none, or more VFs than it has, is refused with what there is', async (t) => {
  const lab = await VfLab.create(t, { functions: [presets.igb({ pci: pf })] })
  t.like(await t.throwsAsync(setVfs(lab, 1, 'lo'), { message: /it has eth0 \(0000:3b:00\.0\)/ }), { code: 'pf-unknown', field: 'pf' })
  t.like(await t.throwsAsync(setVfs(lab, 8), { message: /at most 7/ }), { code: 'invalid-argument', field: 'count' })
  t.deepEqual(lab.card.tree.written, [])
})

test('while one VF is claimed, or in use by somebody else, none is removed, and the PF is not held any more', async (t) => {
  const lab = await VfLab.create(t)
  lab.claim(0, 'e1')
  t.like(await t.throwsAsync(setVfs(lab, 2)), { code: 'pf-in-use' })
  lab.allocator.free(lab.vf(0))
  const { name = '' } = lab.card.find(lab.vf(2))?.link ?? {}
  await lab.kernel.run([{ op: 'link.move', ns: 'own', name, to: { path: '/ns/d' } }])
  t.like(await t.throwsAsync(setVfs(lab, 2)), { code: 'pf-in-use', details: { pf, pci: lab.vf(2) } })
  t.is(lab.vfs.length, 4)
  t.is(lab.allocator.holds.size, 0)
})

test('a VF in use stays one whatever else is known of it: in quarantine, or first seen a moment ago', async (t) => {
  const lab = await VfLab.create(t)
  lab.card.info(lab.vf(0)).vlan = 100
  lab.card.refuses.set('vlan', 'EINVAL')
  await within((call) => lab.wiring.repairVfs({}, call))
  t.is(lab.allocator.vfs.get(lab.vf(0))?.state, 'quarantined')
  const take = async (index: number) =>
    lab.kernel.run([{ op: 'link.move', ns: 'own', name: lab.card.find(lab.vf(index))?.link.name ?? '', to: { path: '/ns/d' } }])
  await take(0)
  t.like(await t.throwsAsync(setVfs(lab, 2)), { code: 'pf-in-use', details: { pci: lab.vf(0) } })
  const fresh = new VfLab({ functions: [presets.ixgbe({ pci: pf, numVfs: 2 })] })
  await fresh.kernel.run([{ op: 'link.move', ns: 'own', name: fresh.card.find(fresh.vf(1))?.link.name ?? '', to: { path: '/ns/d' } }])
  await fresh.allocator.start()
  await fresh.brains.start()
  await fresh.start()
  t.teardown(() => fresh.stop())
  t.like(await t.throwsAsync(setVfs(fresh, 1)), { code: 'pf-in-use', details: { pci: fresh.vf(1) } })
  t.is(fresh.vfs.length, 2)
})

test('a VF whose driver is not bound yet has no baseline, unless none is to be bound', async (t) => {
  const lab = await VfLab.create(t, { functions: [presets.igb({ pci: pf, numVfs: 2 })] })
  const baseline = (index: number) => lab.allocator.vfs.get(lab.vf(index))?.baseline
  // As they are made: on the bus, and their driver's module is being loaded.
  const probe = (on: string) => lab.card.tree.write(`${lab.card.tree.root}/bus/pci/devices/${pf}/sriov_drivers_autoprobe`, on)
  await probe('0')
  lab.card.tree.setNumVfs(pf, 2)
  await probe('1')
  lab.card.forget()
  await lab.reported()
  t.deepEqual([baseline(0), baseline(1), lab.allocator.vfs.get(lab.vf(0))?.state], [undefined, undefined, 'new'])
  for (const pci of lab.vfs) await within((call) => lab.card.sysfs.bind(pci, '', call))
  await lab.reported()
  t.is(baseline(0)?.driver, 'igbvf')
  const bare = await VfLab.create(t, { functions: [presets.driverless({ pci: pf, numVfs: 1 })] })
  t.like(bare.allocator.vfs.get(bare.vf(0)), { state: 'ready', baseline: { driver: '' } })
})

test('a card that refuses is told of, and the PF is not held any more', async (t) => {
  const lab = await VfLab.create(t)
  lab.card.tree.beforeWrite = (path) => {
    if (path.endsWith('sriov_numvfs')) throw Object.assign(new Error('EBUSY'), { code: 'EBUSY' })
  }
  t.like(await t.throwsAsync(setVfs(lab, 2)), { code: 'kernel-refused' })
  t.is(lab.allocator.holds.size, 0)
})

test('a VF is read wherever it is, with what it differs in from its endpoint or its baseline', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 5 })
  await within((call) => lab.wiring.attach({ network, endpoint, routes: [] }, call))
  const read = (index: number) => within((call) => lab.wiring.readVf({ pci: lab.vf(index) }, call))
  t.like(await read(0), { found: true, namespace: '/ns/c', interfaceName: 'net1', differences: [], vf: { state: 'used', claim: { owner: 'e1' } } })
  lab.card.info(lab.vf(0)).vlan = 6
  t.deepEqual((await read(0)).differences, ['vlan is 6, not 5'])
  lab.card.info(lab.vf(1)).spoofchk = false
  t.like(await read(1), { found: true, namespace: '', differences: ['spoofchk is off, not on'], vf: { state: 'dirty' } })
  t.like(await t.throwsAsync(within((call) => lab.wiring.readVf({ pci: '0000:99:00.0' }, call))), { code: 'vf-unknown', details: { pci: '0000:99:00.0' } })
  t.like(await t.throwsAsync(within((call) => lab.wiring.readVf({ pci: '../../etc' }, call))), { code: 'invalid-argument', field: 'pci' })
})

test('a claimed VF is bound to vfio-pci and back; one that nobody claimed, or that an endpoint has, is not', async (t) => {
  const lab = await VfLab.create(t)
  const bind = (index: number, driver: string) => within((call) => lab.wiring.bindVf({ pci: lab.vf(index), driver }, call))
  t.like(await t.throwsAsync(bind(0, 'vfio-pci')), { code: 'invalid-argument', field: 'pci' })
  lab.claim(0, '')
  const { deviceNodes, vf } = await bind(0, 'vfio-pci')
  t.deepEqual(deviceNodes, ['/dev/vfio/vfio', `/dev/vfio/${vf?.iommuGroup}`])
  t.is((await bind(0, 'vfio-pci')).vf?.driver, 'vfio-pci')
  t.is((await bind(0, '')).vf?.driver, 'ixgbevf')
  t.deepEqual(lab.dirt(lab.vf(0)), [])
  const endpoint = lab.claim(1, 'e1')
  await within((call) => lab.wiring.attach({ network, endpoint, routes: [] }, call))
  t.like(await t.throwsAsync(bind(1, 'vfio-pci')), { code: 'vf-in-use' })
})

test('a VF the kubelet has bound is attached as it is', async (t) => {
  const lab = await VfLab.create(t)
  lab.claim(0, '')
  await within((call) => lab.wiring.bindVf({ pci: lab.vf(0), driver: 'vfio-pci' }, call))
  const binds = () => lab.card.tree.written.filter((write) => write.includes('/bind=')).length
  const before = binds()
  const endpoint = lab.claim(0, 'e1', { vlan: 5 }, {}, 'vfio-pci')
  await within((call) => lab.wiring.attach({ network, endpoint, routes: [] }, call))
  t.is(binds(), before)
  t.is(lab.card.info(lab.vf(0)).vlan, 5)
})

test('cards of every shape are reported with what is known of them', async (t) => {
  const functions = [
    presets.mlx4({ pci: '0000:01:00.0', name: 'p1', numVfs: 1 }),
    presets.i40e({ pci: '10000:02:00.0', name: 'p2', numVfs: 2, numaNode: -1 }),
    presets.mlx5({ pci: '0000:03:00.0', name: 'p3', numVfs: 1 }),
    { ...presets.ixgbe({ pci: '0000:04:00.0', name: 'p4', numVfs: 1 }), driver: '', netdevs: [] },
  ]
  const lab = await VfLab.create(t, { functions })
  const [two, far, rdma, none] = functions.map(({ pci }) => lab.allocator.pfs.find((one) => one.pci === pci))
  t.like(two, { names: ['p1', 'ap1'], driver: 'mlx4_core' })
  t.like(far, { numaNode: -1, numVfs: 2, totalVfs: 64, eswitchMode: 'legacy' })
  t.is(rdma?.rdmaDevices.length, 1)
  t.is(none?.names.length, 0)
  const foreign = [...lab.allocator.vfs.values()].filter(({ pf: of }) => of === '0000:04:00.0')
  t.true(foreign.every(({ state, reason }) => state === 'foreign' && reason.includes('its PF has no netdev')))
})

test('VFs that a slow driver makes are examined and offered although nobody waits for them any more', async (t) => {
  const lab = await VfLab.create(t, { functions: [presets.igb({ pci: pf })] })
  const made = Promise.withResolvers<void>()
  lab.card.tree.beforeWrite = (path) => (path.endsWith('sriov_numvfs') ? made.promise : undefined)
  const late = within((call) => lab.wiring.setVfs({ pf: 'eth0', count: 2 }, call), 300)
  t.like(await t.throwsAsync(late), { code: 'deadline-exceeded' })
  t.is(lab.allocator.holds.size, 1, 'nobody claims a VF of a PF that is still changing')
  made.resolve()
  while (lab.allocator.holds.size > 0) await setTimeout(20)
  t.is(lab.vfs.length, 2)
  t.true(lab.vfs.every((pci) => lab.allocator.vfs.get(pci)?.state === 'ready'))
})

test('of two who change a PF at once the second waits, and the PF is held until both are done', async (t) => {
  const lab = await VfLab.create(t, { functions: [presets.igb({ pci: pf })] })
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  lab.card.tree.beforeWrite = (path, value) => (path.endsWith('sriov_numvfs') && value !== '0' ? (value === '2' ? first.promise : second.promise) : undefined)
  const both = [setVfs(lab, 2), setVfs(lab, 3)]
  await until('the PF is held', () => lab.allocator.holds.size === 1)
  first.resolve()
  await both[0]
  await until('the second has its turn', () => lab.card.tree.written.some((write) => write.endsWith('sriov_numvfs=3')))
  t.is(lab.allocator.holds.size, 1)
  second.resolve()
  t.is((await both[1])?.vfs.length, 3)
  t.is(lab.allocator.holds.size, 0)
})
