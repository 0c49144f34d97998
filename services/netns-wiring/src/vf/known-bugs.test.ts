// Each bug that sriov-cni and its kin had or have, by its number there: none of them here.
import { setTimeout } from 'node:timers/promises'
import { VfClaim } from '@heddle/contract'
import test from 'ava'
import { until, within } from '../testing/lab.ts'
import { attach, detach, repair } from '../testing/vf-calls.ts'
import { VfLab } from '../testing/vf-lab.ts'

const mac = '02:11:22:33:44:55'

test('#219: a late DEL of an old endpoint leaves the VF of the new one alone, after a restart too', async (t) => {
  const lab = await VfLab.create(t)
  const old = lab.claim(0, 'old', { vlan: 5 })
  await attach(lab, old)
  await detach(lab, old)
  lab.allocator.free(lab.vf(0))
  const next = lab.claim(0, 'next', { vlan: 6 }, { sandbox: '/ns/d' })
  await attach(lab, next)
  t.false((await detach(lab, old)).existed)
  await lab.stop()
  await lab.start()
  t.false((await detach(lab, old)).existed)
  t.like(lab.card.find(lab.vf(0)), { ns: '/ns/d', link: { name: 'net1', alias: 'heddle:next:n1' } })
  t.is(lab.card.info(lab.vf(0)).vlan, 6)
})

test('a late DEL of a released endpoint leaves a VF alone that a virtual machine has by now', async (t) => {
  const lab = await VfLab.create(t)
  const old = lab.claim(0, 'old')
  await attach(lab, old)
  await detach(lab, old)
  lab.allocator.free(lab.vf(0))
  await within((call) => lab.card.sysfs.bind(lab.vf(0), 'vfio-pci', call))
  t.false((await detach(lab, old)).existed)
  t.is(lab.card.driver(lab.vf(0)), 'vfio-pci')
})

test('pull 316: of two ADDs for one VF at once one has it, the other is told who', async (t) => {
  const lab = await VfLab.create(t)
  const first = lab.claim(0, 'e1', { vlan: 5 })
  const second = { ...first, id: 'e2', sandbox: '/ns/d' }
  const outcomes = await Promise.allSettled([attach(lab, first), attach(lab, second)])
  const refused = outcomes.find((outcome) => outcome.status === 'rejected')
  t.is(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
  t.like(refused?.reason, { code: 'vf-in-use', field: 'endpoint.vf.pci' })
  t.is(lab.card.info(lab.vf(0)).vlan, 5)
})

test('an ADD for a VF that something else has in a namespace is vf-in-use, says where, and touches nothing', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 5 })
  const name = lab.card.find(lab.vf(0))?.link.name ?? ''
  await lab.kernel.run([{ op: 'link.move', ns: 'own', name, to: { path: '/ns/d' }, rename: 'theirs' }])
  lab.kernel.writes.length = 0
  const error = await t.throwsAsync(attach(lab, endpoint), { message: /theirs in \/ns\/d/ })
  t.like(error, { code: 'vf-in-use', details: { pci: lab.vf(0), namespace: '/ns/d' } })
  t.deepEqual(
    lab.kernel.writes.filter((write) => write.startsWith('vf.set')),
    [],
  )
})

test('#126: a namespace that ends before DEL gives its VF back under another name; DEL finds it and puts it back', async (t) => {
  const lab = await VfLab.create(t)
  lab.kernel.uplink('net1', '192.0.2.9/24')
  const endpoint = lab.claim(0, 'e1', { vlan: 5, mtu: 9000 }, { mac })
  await attach(lab, endpoint)
  lab.kernel.endNamespace('/ns/c')
  t.regex(lab.card.find(lab.vf(0))?.link.name ?? '', /^dev\d+$/)
  t.true((await detach(lab, endpoint)).existed)
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

test('#126: without a DEL, such a VF is put back when the sweep releases its claim, which is freed only then', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 5 }, { mac })
  await attach(lab, endpoint)
  lab.kernel.endNamespace('/ns/c')
  await lab.reported()
  t.deepEqual((await within((call) => lab.wiring.listAttachments({}, call))).attachments, [])
  lab.allocator.claims.set(lab.vf(0), VfClaim.fromPartial({ ...lab.allocator.claims.get(lab.vf(0)), releasing: true }))
  await repair(lab)
  t.deepEqual(lab.dirt(lab.vf(0)), [])
  t.deepEqual(lab.allocator.released, [lab.vf(0)])
})

test('#349: a VF whose netdev is seen nowhere is made again by its driver', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 5 })
  await attach(lab, endpoint)
  // Into a namespace that nobody can reach.
  const found = lab.card.find(lab.vf(0))
  lab.kernel.namespaces.get('/ns/c')?.links.delete(found?.link.name ?? '')
  t.true((await detach(lab, endpoint)).existed)
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

test('device plugin #685: a VF that was never DELed keeps no MAC that another is given: it is dirty, not offered, and put back', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', {}, { mac })
  await attach(lab, endpoint)
  lab.kernel.endNamespace('/ns/c')
  lab.allocator.free(lab.vf(0))
  await lab.stop()
  await lab.start()
  await until('it is put back at start', () => lab.dirt(lab.vf(0)).length === 0)
  t.pass()
})

test('#213: a driver that is busy for a while is asked again', async (t) => {
  const lab = await VfLab.create(t)
  lab.kernel.refusals.set('vf.set', ['EBUSY', 'EBUSY', 'EAGAIN'])
  lab.kernel.refusals.set('link.move', ['EBUSY'])
  const endpoint = lab.claim(0, 'e1', { vlan: 5 }, { mac })
  await attach(lab, endpoint)
  t.like(lab.card.info(lab.vf(0)), { vlan: 5, mac })
})

test('#143, #280: a driver that applies a MAC late is waited for, and the MAC answered is the one there is', async (t) => {
  const lab = await VfLab.create(t)
  lab.card.adminLag = 6
  lab.card.netdevLag = 4
  const endpoint = lab.claim(0, 'e1', { vlan: 5 }, { mac })
  t.is((await attach(lab, endpoint)).mac, mac)
  t.is(lab.card.find(lab.vf(0))?.link.mac, mac)
  t.is(lab.card.info(lab.vf(0)).mac, mac)
  await detach(lab, endpoint)
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

for (const [setting, value, errno] of [
  ['linkState', { linkState: 'enable' }, 'EOPNOTSUPP'],
  ['vlan_proto', { vlan: 10, vlanProto: '802.1ad' }, 'EPROTONOSUPPORT'],
  ['vlan_qos', { vlan: 10, vlanQos: 5 }, 'EINVAL'],
  ['trust', { vlan: 10, trust: true }, 'EOPNOTSUPP'],
  ['rate', { vlan: 10, maxTxRate: 100_000 }, 'EINVAL'],
] as const) {
  test(`#119: when ${setting} is refused, that is what is named, and everything set before it is undone`, async (t) => {
    const lab = await VfLab.create(t)
    lab.card.refuses.set(setting, errno)
    const error = await t.throwsAsync(attach(lab, lab.claim(0, 'e1', value, { mac })))
    const named = { rate: 'maxTxRate', vlan_qos: 'vlanQos', vlan_proto: 'vlanProto' }[setting as string] ?? setting
    t.like(error, { code: 'unsupported', field: `endpoint.vf.settings.${named}`, details: { setting: named, pci: lab.vf(0), device: 'eth0' } })
    t.regex(error?.message ?? '', /PF eth0/)
    t.truthy((error as { remedy?: string }).remedy)
    t.deepEqual(lab.dirt(lab.vf(0)), [])
  })
}

test('#291: a setting that is not asked for is not touched', async (t) => {
  const lab = await VfLab.create(t)
  lab.card.refuses.set('vlan', 'EPERM').set('trust', 'EPERM')
  const endpoint = lab.claim(0, 'e1', {}, { mac })
  await attach(lab, endpoint)
  await detach(lab, endpoint)
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

test('20cb85cd, 8ef03d7d: MTU and MAC that the container changed are put back although nobody had asked for either', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1')
  await attach(lab, endpoint)
  await lab.kernel.run([{ op: 'link.set', ns: { path: '/ns/c' }, name: 'net1', mtu: 1280, mac: '02:00:00:00:be:ef' }])
  await detach(lab, endpoint)
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

test("#186: a driver that takes no MAC back is given the VF's own", async (t) => {
  const lab = await VfLab.create(t)
  lab.card.keepsMac = true
  const endpoint = lab.claim(0, 'e1', { vlan: 5 }, { mac })
  await attach(lab, endpoint)
  await detach(lab, endpoint)
  t.is(lab.card.find(lab.vf(0))?.link.mac ?? '', lab.card.info(lab.vf(0)).mac)
  t.is(lab.card.find(lab.vf(0))?.link.mac, endpoint.mac === mac ? lab.card.info(lab.vf(0)).mac : '')
  await lab.reported()
  t.is(lab.allocator.vfs.get(lab.vf(0))?.state, 'ready')
})

test('1878cd59: DEL twice, and DEL of what never was, succeed at once', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 5 })
  await attach(lab, endpoint)
  t.true((await detach(lab, endpoint)).existed)
  t.false((await detach(lab, endpoint)).existed)
  t.false((await detach(lab, { ...endpoint, id: 'never' }, { vf: undefined })).existed)
})

test('1184fad2: a netdev renamed inside its container is found, and a name that another has by now is left to that', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 5 })
  const name = endpoint.vf?.baseline?.name ?? ''
  await attach(lab, endpoint)
  await lab.kernel.run([
    { op: 'link.set', ns: { path: '/ns/c' }, name: 'net1', up: false },
    { op: 'link.set', ns: { path: '/ns/c' }, name: 'net1', rename: 'lan0' },
  ])
  lab.kernel.uplink(name, '192.0.2.7/24')
  t.true((await detach(lab, endpoint)).existed)
  t.deepEqual(lab.dirt(lab.vf(0)), [`name lan0, not ${name}`])
  await lab.reported()
  t.is(lab.allocator.vfs.get(lab.vf(0))?.state, 'ready')
})

test('a VF whose name another has for a moment, which is bound anew just then, gets it back before its detach is answered', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 5 })
  const name = endpoint.vf?.baseline?.name ?? ''
  await attach(lab, endpoint)
  const other = lab.card.find(lab.vf(1))?.link.name ?? ''
  await lab.kernel.run([{ op: 'link.set', ns: 'own', name: other, rename: name }])
  const detached = detach(lab, endpoint)
  await until('it is on the host', () => lab.card.find(lab.vf(0))?.ns === 'own')
  await until('it is reset', () => lab.card.info(lab.vf(0)).vlan === 0)
  await setTimeout(100)
  t.regex(lab.card.find(lab.vf(0))?.link.alias ?? '', /e1/, 'marked until it has its name: a process that starts now has to know')
  await lab.kernel.run([{ op: 'link.set', ns: 'own', name, rename: other }])
  t.true((await detached).existed)
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

test('a VF that hands which were killed had bound anew, and not named yet, gets its own name when its claim is released', async (t) => {
  const lab = await VfLab.create(t)
  const { name = '' } = lab.claim(0, 'e1').vf?.baseline ?? {}
  await lab.kernel.run([{ op: 'link.set', ns: 'own', name, rename: 'eth77' }])
  lab.allocator.claims.set(lab.vf(0), VfClaim.fromPartial({ ...lab.allocator.claims.get(lab.vf(0)), releasing: true }))
  await within((call) => lab.wiring.repairVfs({ pci: '' }, call))
  t.deepEqual(lab.allocator.released, [lab.vf(0)])
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

test("two VFs that have one another's name, since hands were killed while both were bound anew, get their own", async (t) => {
  const lab = await VfLab.create(t)
  const names = [0, 1].map((index) => lab.claim(index, `e${index}`).vf?.baseline?.name ?? '') as [string, string]
  const rename = (name: string, to: string) => ({ op: 'link.set', ns: 'own', name, rename: to }) as const
  await lab.kernel.run([rename(names[0], 'x'), rename(names[1], names[0]), rename('x', names[1])])
  for (const index of [0, 1]) {
    const claim = lab.allocator.claims.get(lab.vf(index))
    lab.allocator.claims.set(lab.vf(index), VfClaim.fromPartial({ ...claim, releasing: true }))
  }
  await within((call) => lab.wiring.repairVfs({ pci: '' }, call))
  for (const index of [0, 1]) t.deepEqual(lab.dirt(lab.vf(index)), [])
})

test("a VF that is dirty from a lost DEL is put back before it is handed out, so that its dirt becomes nobody's original", async (t) => {
  const lab = await VfLab.create(t)
  Object.assign(lab.card.info(lab.vf(0)), { vlan: 99, trust: true })
  const endpoint = lab.claim(0, 'e1', { maxTxRate: 100 })
  await attach(lab, endpoint)
  t.like(lab.card.info(lab.vf(0)), { vlan: 0, trust: false, maxTxRate: 100 })
  await detach(lab, endpoint)
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

test('DEL takes the netdev out, down, before it clears VLAN and spoofchk, and what stands on it first', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 5, spoofchk: false })
  await attach(lab, endpoint)
  await lab.kernel.run([{ op: 'vlan.add', ns: { path: '/ns/c' }, link: 'net1', name: 'sneaky', vlan: 9 }])
  lab.kernel.writes.length = 0
  await detach(lab, endpoint)
  t.deepEqual(
    lab.kernel.writes.filter((write) => /^(remove|link.move|vf.set)/.test(write)),
    ['remove sneaky', 'link.move net1', 'vf.set eth0'],
  )
})

test('nothing on the host is kept in files: a new process knows every attachment by the claims', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 5 }, { mac })
  await attach(lab, endpoint)
  await lab.stop()
  await lab.start()
  await lab.reported()
  t.like((await within((call) => lab.wiring.listAttachments({}, call))).attachments, [{ endpointId: 'e1', networkId: 'n1', inSandbox: true }])
  t.true((await detach(lab, endpoint, { vf: undefined })).existed)
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})
