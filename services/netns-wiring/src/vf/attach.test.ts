// Attach and detach of VFs, on a made-up card: where it ends up, in how few steps, and what is left when a step fails.
import type { Question } from '@heddle/kernel'
import { presets } from '@heddle/testkit'
import test from 'ava'
import { FakeKernel } from '../testing/fake-kernel.ts'
import { until, within } from '../testing/lab.ts'
import { attach, detach } from '../testing/vf-calls.ts'
import { network, pf, VfLab } from '../testing/vf-lab.ts'

const mac = '02:11:22:33:44:55'

test('a VF is set by one request, moved by one, and has its address; detached, it is as it was', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 100, vlanQos: 3, spoofchk: false, trust: true, maxTxRate: 500, linkState: 'enable', mtu: 9000 }, { mac })
  lab.kernel.writes.length = 0
  const answer = await attach(lab, endpoint)
  t.like(answer, { interfaceName: 'net1', mac, mtu: 9000, pci: lab.vf(0), deviceNodes: [] })
  t.deepEqual(
    lab.kernel.writes.filter((write) => !write.startsWith('announce')),
    ['vf.set eth0', `link.move ${lab.allocator.vfs.get(lab.vf(0))?.baseline?.name}`, 'address.replace net1'],
  )
  t.like(lab.card.info(lab.vf(0)), { mac, vlan: 100, qos: 3, spoofchk: false, trust: true, maxTxRate: 500, linkState: 'enable' })
  t.like(lab.card.find(lab.vf(0)), { ns: '/ns/c', link: { name: 'net1', mac, mtu: 9000, up: true, alias: 'heddle:e1:n1' } })
  t.deepEqual((await within((call) => lab.wiring.check({ network, endpoint, routes: [] }, call))).differences, [])
  t.true((await detach(lab, endpoint)).existed)
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

test('attach asks the netlink thread four times, detach twice: one look before, each change with its look after', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 100, trust: true })
  const { kernel } = lab
  const turns: string[] = []
  const text = ({ ns, name = 'every link' }: Question) => `${ns === 'own' ? '' : `${ns.path} `}${name}`
  kernel.look = (questions, call, after = []) => {
    turns.push([...after.map((step) => `${step.op}${'mac' in step ? ' with a MAC' : ''}`), ...questions.map(text)].join(', '))
    return FakeKernel.prototype.look.call(kernel, questions, call, after)
  }
  // What comes behind the answer reads the PF, and nothing else.
  const taken = () => turns.splice(0).filter((turn) => turn !== 'eth0')
  const own = endpoint.vf?.baseline?.name ?? ''
  await attach(lab, endpoint)
  t.deepEqual(taken(), [`eth0, ${own}`, 'vf.set, eth0', 'link.move, /ns/c net1'])
  await detach(lab, endpoint)
  t.deepEqual(taken(), ['eth0, /ns/c every link', `link.move, vf.set, link.set, eth0, ${own}`])
  t.deepEqual(lab.dirt(lab.vf(0)), [])
  await attach(lab, lab.claim(1, 'e2', {}, { mac }))
  t.true(taken().includes('link.move with a MAC, /ns/c net1'), 'a MAC that the netdev has is not set again, another is')
})

test("an endpoint with its VF's own MAC has none set by the PF", async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1')
  lab.kernel.writes.length = 0
  await attach(lab, endpoint)
  t.false(lab.kernel.writes.some((write) => write.startsWith('vf.set')))
  await detach(lab, endpoint)
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

test('igbvf is bound anew after the PF has set a MAC, and only then', async (t) => {
  const lab = await VfLab.create(t, { functions: [presets.igb({ pci: pf, numVfs: 2 })] })
  const rebinds = () => lab.card.tree.written.filter((write) => write.startsWith('bus/pci/drivers/igbvf/bind=')).length
  const plain = lab.claim(0, 'e1', { vlan: 5 })
  await attach(lab, plain)
  t.is(rebinds(), 0)
  const given = lab.claim(1, 'e2', {}, { mac, sandbox: '/ns/d' })
  await attach(lab, given)
  t.is(rebinds(), 1)
  await detach(lab, given)
  await detach(lab, plain)
  t.deepEqual([lab.dirt(lab.vf(0)), lab.dirt(lab.vf(1))], [[], []])
})

test('a netdev that udev renames meanwhile is moved under the name it has then', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 5 }, { mac })
  const name = endpoint.vf?.baseline?.name ?? ''
  lab.kernel.before = (step) => {
    if (step.op !== 'link.move') return
    lab.kernel.before = () => {}
    void lab.kernel.run([{ op: 'link.set', ns: 'own', name, rename: 'enp59s0f0v0' }])
  }
  await attach(lab, endpoint)
  t.like(lab.card.find(lab.vf(0)), { ns: '/ns/c', link: { name: 'net1', mac } })
})

test('a netdev that does not follow its MAC in time is bound anew', async (t) => {
  const lab = await VfLab.create(t)
  lab.card.stubborn = true
  const endpoint = lab.claim(0, 'e1', {}, { mac })
  await attach(lab, endpoint)
  t.like(lab.card.find(lab.vf(0)), { ns: '/ns/c', link: { name: 'net1', mac } })
  t.true(lab.card.tree.written.some((write) => write.startsWith('bus/pci/drivers/ixgbevf/bind=')))
})

test("Docker's VF waits on the host under a name that no container has, is known wherever dockerd leaves it, and gets its own name back", async (t) => {
  for (const back of ['as it was handed over', 'its sandbox ended'] as const) {
    const lab = await VfLab.create(t)
    const endpoint = lab.claim(0, 'e1', { vlan: 7 }, { mac, sandbox: '', interfaceName: '' })
    const own = endpoint.vf?.baseline?.name ?? ''
    // NetworkManager sets up what it finds; before Linux 6.2 nothing that is up is renamed.
    await lab.kernel.run([{ op: 'link.set', ns: 'own', name: own, up: true }])
    const listed = async () => (await within((call) => lab.wiring.listAttachments({}, call))).attachments
    const name = (await attach(lab, endpoint)).interfaceName
    t.regex(name, /^hv[0-9a-f]{11}$/)
    t.like(lab.card.find(lab.vf(0)), { ns: 'own', link: { name, mac, alias: 'heddle:e1:n1' } })
    t.is((await attach(lab, endpoint)).interfaceName, name, 'repeated')
    await lab.reported()
    t.like(await listed(), [{ endpointId: 'e1', networkId: 'n1', hostInterface: name, inSandbox: false }])
    // The container has an interface of the VF's own name already.
    await lab.kernel.run([{ op: 'veth.add', ns: { path: '/ns/c' }, name: own, peer: { ns: 'own', name: 'peer' } }])
    await lab.kernel.run([{ op: 'link.move', ns: 'own', name, to: { path: '/ns/c' } }])
    await lab.kernel.run([{ op: 'link.set', ns: { path: '/ns/c' }, name, rename: 'eth7' }])
    t.deepEqual((await within((call) => lab.wiring.check({ network, endpoint, routes: [] }, call))).differences, [])
    t.like(await listed(), [{ endpointId: 'e1', inSandbox: true }])
    if (back === 'its sandbox ended') {
      lab.kernel.endNamespace('/ns/c')
      t.deepEqual(await listed(), [])
    } else await lab.kernel.run([{ op: 'link.move', ns: { path: '/ns/c' }, name: 'eth7', to: 'own', rename: name }])
    t.true((await detach(lab, endpoint)).existed)
    t.deepEqual(lab.dirt(lab.vf(0)), [])
  }
})

test("a VF that waits for dockerd is no leftover, and no orphan's to remove", async (t) => {
  const lab = await VfLab.create(t, undefined, { reconcileMs: 100, orphanGraceMs: 0, vfRepairMs: 100 })
  const endpoint = lab.claim(0, 'e1', { vlan: 7 }, { mac, sandbox: '', interfaceName: '' })
  const { interfaceName } = await attach(lab, endpoint)
  const rounds = () => lab.brains.calls.filter((name) => name === 'listNetworks').length
  const before = rounds()
  await until('rounds of the reconciler', () => rounds() > before + 3)
  t.like(lab.card.find(lab.vf(0)), { ns: 'own', link: { name: interfaceName, alias: 'heddle:e1:n1' } })
  t.deepEqual(
    (await within((call) => lab.wiring.inspect({}, call))).findings.filter(({ subject }) => subject === 'leftover'),
    [],
  )
})

test('with vfio-pci the device nodes are answered, and the kernel driver has the VF back afterwards', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 7 }, { mac }, 'vfio-pci')
  const { deviceNodes, interfaceName } = await attach(lab, endpoint)
  t.deepEqual(deviceNodes, ['/dev/vfio/vfio', `/dev/vfio/${endpoint.vf?.iommuGroup}`])
  t.is(interfaceName, '')
  t.is(lab.card.driver(lab.vf(0)), 'vfio-pci')
  t.like(lab.card.info(lab.vf(0)), { vlan: 7, mac })
  await lab.reported()
  t.like((await within((call) => lab.wiring.listAttachments({}, call))).attachments, [{ endpointId: 'e1', inSandbox: true }])
  await detach(lab, endpoint)
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

test('without an IOMMU vfio-pci is refused with what to do, and the VF is pristine', async (t) => {
  const card = presets.ixgbe({ pci: pf, numVfs: 1 })
  const lab = await VfLab.create(t, { functions: [{ ...card, iommu: false }] })
  const error = await t.throwsAsync(attach(lab, lab.claim(0, 'e1', { vlan: 7 }, { mac }, 'vfio-pci')))
  t.like(error, { code: 'unsupported', field: 'endpoint.vf.driver', details: { pci: lab.vf(0) } })
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

test('a VF that is bound to vfio-pci at its baseline is lent its kernel driver, and goes back to vfio-pci', async (t) => {
  const lab = new VfLab({ functions: [presets.ixgbe({ pci: pf, numVfs: 1 })] })
  await within((call) => lab.card.sysfs.bind(lab.vf(0), 'vfio-pci', call))
  await lab.allocator.start()
  await lab.brains.start()
  await lab.start()
  t.teardown(() => lab.stop())
  const endpoint = lab.claim(0, 'e1', { vlan: 5 }, { mac })
  await attach(lab, endpoint)
  t.like(lab.card.find(lab.vf(0)), { ns: '/ns/c', link: { name: 'net1', mac, up: true } })
  lab.kernel.writes.length = 0
  t.true((await detach(lab, endpoint)).existed)
  t.is(lab.card.find(lab.vf(0)), undefined)
  t.is(lab.card.driver(lab.vf(0)), 'vfio-pci')
  t.is(lab.card.info(lab.vf(0)).vlan, 0)
})

test('a VF for which no driver makes a netdev is refused, and is without settings', async (t) => {
  const card = presets.ixgbe({ pci: pf, numVfs: 1 })
  if (card.vfs === undefined) return t.fail()
  const lab = await VfLab.create(t, { functions: [{ ...card, vfs: { ...card.vfs, driver: '', autoprobe: false } }] })
  const error = await t.throwsAsync(attach(lab, lab.claim(0, 'e1', { vlan: 5 }, { mac })), { message: /8086:10ed/ })
  t.like(error, { code: 'unsupported', details: { pci: lab.vf(0) } })
  t.is(lab.card.info(lab.vf(0)).vlan, 0)
})

test('a trunk is written where the PF has a file for it, else each VLAN has a subinterface, gone with the endpoint', async (t) => {
  const plain = await VfLab.create(t)
  const trunk = [
    { first: 10, last: 12 },
    { first: 20, last: 20 },
  ]
  const endpoint = plain.claim(0, 'e1', { trunk })
  await attach(plain, endpoint)
  const inside = () => [...(plain.kernel.namespaces.get('/ns/c')?.links.keys() ?? [])].sort()
  t.deepEqual(inside(), ['net1', 'net1.10', 'net1.11', 'net1.12', 'net1.20'])
  // As a process leaves it that was ended after the move.
  await plain.kernel.removeLink({ path: '/ns/c' }, 'net1.12')
  const check = async () => (await within((call) => plain.wiring.check({ network, endpoint, routes: [] }, call))).differences
  t.deepEqual(await check(), ['VLAN 12 of the trunk has no subinterface of net1'])
  await within((call) => plain.wiring.attach({ network, endpoint, routes: [] }, call))
  t.deepEqual(await check(), [])
  await detach(plain, endpoint)
  t.deepEqual(inside(), [])
  const withFile = await VfLab.create(t, { functions: [presets.i40e({ pci: pf, numVfs: 1 })] })
  const other = withFile.claim(0, 'e1', { trunk })
  await attach(withFile, other)
  t.true(withFile.card.tree.written.some((write) => write.endsWith('sriov/0/trunk=add 10-12,20')))
  await detach(withFile, other)
  t.true(withFile.card.tree.written.some((write) => write.endsWith('sriov/0/trunk=rem 1-4094')))
  t.deepEqual(withFile.dirt(withFile.vf(0)), [])
})

test('more VLANs than subinterfaces are made for, or Docker, need a trunk file: refused before anything is set', async (t) => {
  const lab = await VfLab.create(t)
  for (const endpoint of [lab.claim(0, 'e1', { trunk: [{ first: 1, last: 65 }] }), lab.claim(1, 'e2', { trunk: [{ first: 1, last: 2 }] }, { sandbox: '' })]) {
    t.like(await t.throwsAsync(attach(lab, endpoint)), { code: 'unsupported', field: 'endpoint.vf.settings.trunk' })
  }
  t.false(lab.kernel.writes.some((write) => write.startsWith('vf.set') || write.startsWith('link.move')))
})

test('an interface name that is taken in the sandbox, as a name or an altname, is interface-exists, and the VF is pristine', async (t) => {
  const lab = await VfLab.create(t)
  lab.kernel.altNames.add('/ns/c net1')
  const endpoint = lab.claim(0, 'e1', { vlan: 9 }, { mac })
  t.like(await t.throwsAsync(attach(lab, endpoint)), { code: 'interface-exists', field: 'endpoint.interface_name' })
  t.deepEqual(lab.dirt(lab.vf(0)), [])
  lab.kernel.altNames.clear()
  await attach(lab, endpoint)
  const second = lab.claim(1, 'e2')
  t.like(await t.throwsAsync(attach(lab, second)), { code: 'interface-exists' })
  t.deepEqual(lab.dirt(lab.vf(1)), [])
})

test('preparing what is there says so; attaching it again changes nothing', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 4 }, { mac })
  await attach(lab, endpoint)
  lab.kernel.writes.length = 0
  t.true((await within((call) => lab.wiring.prepare({ network, endpoint }, call))).existed)
  await within((call) => lab.wiring.attach({ network, endpoint, routes: [] }, call))
  t.deepEqual(
    lab.kernel.writes.filter((write) => /^(vf|link)/.test(write)),
    [],
  )
})

test('what the container changed on its VF is made right again by attach', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 4 }, { mac })
  await attach(lab, endpoint)
  lab.card.info(lab.vf(0)).vlan = 5
  const { differences } = await within((call) => lab.wiring.check({ network, endpoint, routes: [] }, call))
  t.deepEqual(differences, [`VF ${lab.vf(0)}: vlan is 5, not 4`])
  await within((call) => lab.wiring.attach({ network, endpoint, routes: [] }, call))
  t.is(lab.card.info(lab.vf(0)).vlan, 4)
  t.like(lab.card.find(lab.vf(0)), { ns: '/ns/c', link: { name: 'net1', up: true } })
})

test('a host without SR-IOV devices reports once and needs no allocator', async (t) => {
  const lab = new VfLab({ functions: [] }, { vfReportMs: 100, vfRepairMs: 100 })
  await lab.brains.start()
  await lab.start()
  t.teardown(() => lab.stop())
  t.false((await within((call) => lab.wiring.detach({ endpointId: 'nobody' }, call))).existed)
  t.deepEqual((await within((call) => lab.wiring.listAttachments({}, call))).attachments, [])
})
