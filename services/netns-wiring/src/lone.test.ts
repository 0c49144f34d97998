/** What needs a kernel with ipvlan and VLANs, or a card that comes back by itself, on a kernel in memory; and endpoints without a link. */
import { Endpoint } from '@heddle/contract'
import { macOf } from '@heddle/core'
import test, { type ExecutionContext } from 'ava'
import { handoverName } from './domain/names.ts'
import { type FakeHost, setUp } from './testing/fake-host.ts'
import { until, within } from './testing/lab.ts'
import { pf, VfLab } from './testing/vf-lab.ts'

async function host(t: ExecutionContext) {
  const fake = await setUp(t, { orphanGraceMs: 0 })
  const network = (id: string, kind: string, parent: object = {}) =>
    fake.brains.network({ id, kind, parent: { name: '', mode: '', vlan: 0, mac: '', pci: '', ...parent } })
  const endpoint = (id: string, networkId: string, more: object = {}) =>
    Endpoint.fromPartial({ id, networkId, host: 'a', mac: macOf(id), addresses: ['10.0.0.2/24'], sandbox: '/ns/c', interfaceName: 'eth0', ...more })
  const attach = (of: ReturnType<typeof network>, one: Endpoint) => within((call) => fake.wiring.attach({ network: of, endpoint: one }, call))
  const detach = (endpointId: string, sandbox = '/ns/c') => within((call) => fake.wiring.detach({ endpointId, sandbox }, call))
  const removeNetwork = (networkId: string) => within((call) => fake.wiring.removeNetwork({ networkId }, call))
  return { ...fake, network, endpoint, attach, detach, removeNetwork }
}
const links = ({ kernel }: Pick<FakeHost, 'kernel'>, ns: string) => [...(kernel.namespaces.get(ns)?.links.keys() ?? [])].sort()

test('a VLAN subinterface that is missing is made, and goes with the last network that stands on it', async (t) => {
  const { network, endpoint, attach, detach, removeNetwork, ...fake } = await host(t)
  const [one, two] = [network('one', 'macvlan', { name: 'eth0.100' }), network('two', 'ipvlan', { name: 'eth0.200' })]
  const also = network('also', 'macvlan', { name: 'eth0.100', mode: 'private' })
  await attach(one, endpoint('e1', 'one'))
  await attach(two, endpoint('e2', 'two', { interfaceName: 'eth1' }))
  await attach(also, endpoint('e3', 'also', { interfaceName: 'eth2' }))
  t.deepEqual(links(fake, 'own'), ['eth0', 'eth0.100', 'eth0.200'])
  t.like(fake.kernel.namespaces.get('own')?.links.get('eth0.100'), { kind: 'vlan', up: true, upper: { vlan: 100 } })
  t.like(await t.throwsAsync(removeNetwork('one')), { code: 'network-in-use' })
  for (const id of ['e1', 'e2', 'e3']) t.true((await detach(id)).existed)
  await removeNetwork('one')
  t.deepEqual(links(fake, 'own'), ['eth0', 'eth0.100', 'eth0.200'], 'another network stands on it')
  await fake.restart()
  await removeNetwork('also')
  await removeNetwork('two')
  t.deepEqual(links(fake, 'own'), ['eth0'])
})

test('a subinterface that somebody else has made is used and never removed', async (t) => {
  const { network, endpoint, attach, detach, removeNetwork, ...fake } = await host(t)
  await fake.kernel.run([{ op: 'vlan.add', ns: 'own', name: 'eth0.100', link: 'eth0', vlan: 100, up: true }])
  await attach(network('one', 'macvlan', { name: 'eth0.100' }), endpoint('e1', 'one'))
  await detach('e1')
  await removeNetwork('one')
  fake.brains.networks.clear()
  for (let round = 0; round < 3; round++) await fake.reconcile()
  t.deepEqual(links(fake, 'own'), ['eth0', 'eth0.100'])
})

test('a subinterface of a network that is recorded no more goes after its grace, which begins when the records can be read', async (t) => {
  const { network, endpoint, attach, detach, ...fake } = await host(t)
  await attach(network('one', 'macvlan', { name: 'eth0.100' }), endpoint('e1', 'one'))
  await detach('e1')
  // The round at start may have been before the network.
  await fake.reconcile()
  fake.brains.down = true
  fake.brains.networks.clear()
  await fake.reconcile()
  fake.brains.down = false
  await fake.reconcile()
  t.deepEqual(links(fake, 'own'), ['eth0', 'eth0.100'], 'a round without records counts for nothing')
  await fake.reconcile()
  t.deepEqual(links(fake, 'own'), ['eth0'])
})

test('an attach that is refused takes back the subinterface it was the first to need', async (t) => {
  const { network, endpoint, attach, ...fake } = await host(t)
  fake.kernel.refusals.set('macvlan.add', ['EBUSY'])
  const error = await t.throwsAsync(attach(network('one', 'macvlan', { name: 'eth0.100' }), endpoint('e1', 'one')))
  t.like(error, { code: 'device-in-use', details: { device: 'eth0.100' } })
  fake.kernel.refusals.set('route.replace', ['ENETUNREACH'])
  fake.kernel.refusals.set('address.replace', ['EINVAL'])
  t.like(await t.throwsAsync(attach(network('two', 'ipvlan', { name: 'eth0.200' }), endpoint('e2', 'two'))), { code: 'kernel-refused' })
  t.deepEqual(links(fake, 'own'), ['eth0'])
  t.deepEqual(links(fake, '/ns/c'), [])
})

test('an ipvlan has the MAC of its parent, which is what is answered and what a check expects', async (t) => {
  const { network, endpoint, attach, ...fake } = await host(t)
  const net = network('one', 'ipvlan', { name: 'eth0', mode: 'l3' })
  const mac = fake.kernel.namespaces.get('own')?.links.get('eth0')?.mac
  t.like(await attach(net, endpoint('e1', 'one')), { interfaceName: 'eth0', mac, mtu: 1500 })
  t.false(
    fake.kernel.writes.some((write) => write.startsWith('announce')),
    'routed: nobody learns a MAC',
  )
  const check = () => within((call) => fake.wiring.check({ network: net, endpoint: endpoint('e1', 'one') }, call))
  t.deepEqual((await check()).differences, [])
  Object.assign(fake.kernel.namespaces.get('/ns/c')?.links.get('eth0') ?? {}, { upper: { mode: 'l2', vlan: 0 }, peerIndex: 99 })
  t.deepEqual((await check()).differences, ['eth0 does not stand on eth0', 'eth0 has mode l2, it should be l3'])
})

test('kinds and modes that exclude each other on one parent are told by the endpoint that is there', async (t) => {
  const { network, endpoint, attach, detach } = await host(t)
  await attach(network('one', 'ipvlan', { name: 'eth0' }), endpoint('e1', 'one'))
  const cases = [
    [network('two', 'ipvlan', { name: 'eth0', mode: 'l3' }), /eth0 has endpoint e1 in mode l2/],
    [network('three', 'macvlan', { name: 'eth0' }), /eth0 has endpoint e1 of kind ipvlan/],
  ] as const
  for (const [net, text] of cases) {
    const error = await t.throwsAsync(attach(net, endpoint('e2', net.id, { interfaceName: 'eth1' })))
    t.like(error, { code: 'device-in-use', field: 'network.parent.name' })
    t.regex(error?.message ?? '', text)
  }
  await detach('e1')
  await attach(cases[0][0], endpoint('e2', 'two'))
})

test('a VLAN has one interface on its link, and the second is told so', async (t) => {
  const { network, endpoint, attach, ...fake } = await host(t)
  const net = network('one', 'vlan', { name: 'eth0', vlan: 7 })
  await attach(net, endpoint('e1', 'one'))
  t.like(fake.kernel.namespaces.get('/ns/c')?.links.get('eth0'), { kind: 'vlan', upper: { vlan: 7 }, mac: macOf('e1'), up: true })
  fake.kernel.refusals.set('vlan.add', ['EEXIST'])
  const error = await t.throwsAsync(attach(net, endpoint('e2', 'one', { sandbox: '/ns/d' })))
  t.like(error, { code: 'device-in-use' })
  t.regex(error?.message ?? '', /VLAN 7 of eth0 has an interface already/)
})

test('ports are not published from where containers are on the wire, and what to do instead is said', async (t) => {
  const { network, wiring } = await host(t)
  const ports = [{ protocol: 'tcp', hostAddress: '', hostPort: 8080, containerPort: 80 }]
  const publish = within((call) => wiring.publishPorts({ endpointId: 'e1', network: network('one', 'macvlan', { name: 'eth0' }), ports }, call))
  const error = await t.throwsAsync(publish)
  t.like(error, { code: 'unsupported', field: 'network' })
  t.regex(error?.message ?? '', /from network one: its endpoints are on the wire/)
})

const nic = (fake: FakeHost) => fake.kernel.namespaces.get('own')?.links.get('nic0')
const pci = '0000:3b:00.0'

test('a device by its PCI address goes into the sandbox and comes back as it was, whoever has made it and whichever process detaches it', async (t) => {
  const { network, endpoint, attach, detach, ...fake } = await host(t)
  fake.kernel.addNetdev('nic0', pci, '02:00:00:00:00:77')
  await fake.kernel.run([{ op: 'link.set', ns: 'own', name: 'nic0', up: true, mtu: 9000, alias: 'rack 3' }])
  const net = network('one', 'host-device', { pci })
  t.like(await attach(net, endpoint('e1', 'one')), { interfaceName: 'eth0', mac: '02:00:00:00:00:77', mtu: 9000 })
  t.is(nic(fake), undefined)
  const error = await t.throwsAsync(attach(net, endpoint('e2', 'one', { sandbox: '/ns/d' })))
  t.like(error, { code: 'device-in-use', field: 'network.parent' })
  t.regex(error?.message ?? '', /given to endpoint e1 already/)
  await fake.restart()
  t.true((await detach('e1', '')).existed)
  t.like(nic(fake), { mac: '02:00:00:00:00:77', mtu: 9000, up: true, alias: 'rack 3' })
  t.like(await t.throwsAsync(attach(network('two', 'host-device', { pci: '0000:ff:00.0' }), endpoint('e1', 'two'))), { code: 'device-unknown' })
})

for (const [how, after] of [
  ['a round', (fake: FakeHost) => fake.reconcile()],
  ['the round of another process', (fake: FakeHost) => fake.restart().then(() => fake.reconcile())],
  ['its detach', (fake: FakeHost) => within((call) => fake.wiring.detach({ endpointId: 'e1', sandbox: '/ns/c' }, call))],
] as const) {
  test(`a device that came back from a sandbox that ended is what it was after ${how}`, async (t) => {
    const { network, endpoint, attach, ...fake } = await host(t)
    fake.kernel.addNetdev('nic0', pci, '02:00:00:00:00:77')
    const one = endpoint('e1', 'one', { interfaceName: 'net1' })
    await attach(network('one', 'host-device', { name: 'nic0' }), one)
    fake.brains.put(one)
    t.like((await within((call) => fake.wiring.listAttachments({}, call))).attachments, [{ endpointId: 'e1', inSandbox: true }])
    fake.kernel.endNamespace('/ns/c')
    t.deepEqual(links(fake, 'own'), ['eth0', 'net1'])
    t.deepEqual((await within((call) => fake.wiring.listAttachments({}, call))).attachments, [])
    await after(fake)
    await until('it has its name', () => nic(fake)?.alias === '')
    t.like(nic(fake), { up: false, mtu: 1500, mac: '02:00:00:00:00:77' })
    t.deepEqual(links(fake, 'own'), ['eth0', 'nic0'])
  })
}

test('a device whose sandbox has just ended is what it was before the next endpoint is given it', async (t) => {
  const { network, endpoint, attach, ...fake } = await host(t)
  fake.kernel.addNetdev('nic0', pci, '02:00:00:00:00:77')
  const net = network('one', 'host-device', { name: 'nic0' })
  await attach(net, endpoint('e1', 'one'))
  fake.kernel.endNamespace('/ns/c')
  t.like(await attach(net, endpoint('e2', 'one', { sandbox: '/ns/d' })), { interfaceName: 'eth0', mac: '02:00:00:00:00:77' })
})

test('an endpoint of kind null is a record: it is there as long as its sandbox', async (t) => {
  const { network, endpoint, attach, detach, ...fake } = await host(t)
  const net = network('one', 'null')
  const one = endpoint('e1', 'one', { networkKind: 'null' })
  const attached = async () => (await within((call) => fake.wiring.listAttachments({}, call))).attachments.map(({ endpointId }) => endpointId)
  t.like(await attach(net, one), { interfaceName: '', mac: '' })
  t.deepEqual(links(fake, '/ns/c'), [])
  fake.brains.put(one)
  t.deepEqual(await attached(), ['e1'])
  await fake.restart()
  await fake.reconcile()
  t.deepEqual(await attached(), ['e1'], 'from its record, which is all there is')
  t.deepEqual((await within((call) => fake.wiring.check({ network: net, endpoint: one }, call))).differences, [])
  fake.kernel.endNamespace('/ns/c')
  t.deepEqual(await attached(), [])
  t.deepEqual((await within((call) => fake.wiring.check({ network: net, endpoint: one }, call))).differences, ['the sandbox /ns/c is gone'])
  t.like(await t.throwsAsync(attach(net, one)), { code: 'netns-gone' })
  t.true((await detach('e1')).existed)
  t.false((await detach('e1')).existed)
})

test("a card with VFs, and a VF that is claimed, are not given away; another VF is, and is nobody else's meanwhile", async (t) => {
  const lab = await VfLab.create(t)
  const net = (of: string) => lab.brains.network({ id: 'd', kind: 'host-device', parent: { name: '', mode: '', vlan: 0, mac: '', pci: of } })
  const one = Endpoint.fromPartial({ id: 'e9', networkId: 'd', host: 'a', mac: macOf('e9'), sandbox: '/ns/c', interfaceName: 'net1' })
  const attach = (of: string, endpoint = one) => within((call) => lab.wiring.attach({ network: net(of), endpoint }, call))
  lab.claim(0, 'owner')
  await lab.reported()
  t.regex((await t.throwsAsync(attach(pf)))?.message ?? '', /eth0 cannot be given away: it sets its 4 VFs/)
  t.regex((await t.throwsAsync(attach(lab.vf(0))))?.message ?? '', /is of endpoint owner/)
  const { name } = lab.card.find(lab.vf(1))?.link ?? {}
  // Docker's waits on the host, in sight of who looks after VFs.
  await attach(lab.vf(1), { ...one, sandbox: '' })
  await lab.reported()
  t.like(lab.allocator.vfs.get(lab.vf(1)), { state: 'foreign' })
  await within((call) => lab.wiring.repairVfs({}, call))
  t.is(lab.card.find(lab.vf(1))?.link.name, handoverName('e9'))
  t.true((await within((call) => lab.wiring.detach({ endpointId: 'e9' }, call))).existed)
  t.is(lab.card.find(lab.vf(1))?.link.name, name)
  await lab.reported()
  t.like(lab.allocator.vfs.get(lab.vf(1)), { state: 'ready' })
})

test('what Docker waits for is known after a crash at any step, and goes back to what it was', async (t) => {
  const { network, endpoint, attach, ...fake } = await host(t)
  fake.kernel.addNetdev('nic0', pci, '02:00:00:00:00:77')
  await fake.kernel.run([{ op: 'link.set', ns: 'own', name: 'nic0', up: true }])
  // The process ends before its second step: no undoing either.
  fake.kernel.before = (step) => {
    if (step.op === 'link.move')
      fake.kernel.before = () => {
        throw new Error('killed')
      }
    if (step.op === 'link.move') throw new Error('killed')
  }
  await t.throwsAsync(attach(network('one', 'host-device', { name: 'nic0' }), endpoint('e1', 'one', { sandbox: '' })))
  t.like(nic(fake), { up: false })
  fake.kernel.before = () => {}
  await fake.restart()
  await fake.reconcile()
  t.like(nic(fake), { up: true, alias: '' })
})
