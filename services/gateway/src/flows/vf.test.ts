import { VfSettings } from '@heddle/contract'
import { HeddleError, macOf, withCall } from '@heddle/core'
import test from 'ava'
import type { FakeCluster } from '../testing/fake-cluster.ts'
import { leftovers, netns } from '../testing/networks.ts'
import { startParts } from '../testing/parts.ts'
import { type AttachWish, attach } from './attach.ts'
import { detach } from './detach.ts'
import type { FlowParts } from './parts.ts'
import { planVf } from './vf.ts'

const pool = { poolId: 'fast.10.5.0.0_24', prefix: '10.5.0.0/24', gateway: '' }

/** A network of the four VFs of eth0. */
function addFast(fake: FakeCluster, sriov: object = {}, pools: object[] = [pool]) {
  if (fake.vfs.pfs.size === 0) fake.vfs.addPf('eth0', 4)
  return fake.addNetwork({ name: 'fast', kind: 'sriov', pools, sriov: { selector: { pfNames: ['eth0'] }, settings: { vlan: 100 }, ...sriov } })
}

function wishOf(parts: FlowParts, more: Partial<AttachWish> = {}, id = 'e1'): AttachWish {
  const endpoint = { id, containerId: `c-${id}`, containerName: '', interfaceName: 'net1', sandbox: netns, mac: '', ports: [], runtime: 'cni' }
  return { endpoint, network: (call) => parts.directory.byName('fast', call), addresses: [], routes: [], ...more }
}

const within = <T>(timeoutMs: number, body: Parameters<typeof withCall<T>>[1]) => withCall<T>({ timeoutMs, key: 'e1' }, body)
const attached = (parts: FlowParts, more: Partial<AttachWish> = {}, id = 'e1') => within(5000, (call) => attach(parts, wishOf(parts, more, id), call))
const clean = (fake: FakeCluster) => [leftovers(fake), fake.vfs.claims.size, fake.vfs.astray()]
const nothing = [{ claims: 0, endpoints: 0, interfaces: 0 }, 0, []]

test('an endpoint gets a VF beside its address, set as the network says, with the MAC the VF has', async (t) => {
  const { fake, parts, stop } = await startParts()
  addFast(fake)
  await within(1000, (call) => parts.directory.byName('fast', call))
  fake.calls.length = 0
  const told: string[] = []
  const { endpoint } = await attached(parts, { onVf: ({ pci }) => told.push(pci) })
  t.deepEqual(fake.calls.slice(0, 2).sort(), ['ipam.allocate', 'vfAllocator.claim'])
  t.is(fake.calls[2], 'wiring.prepare')
  t.deepEqual(fake.calls.slice(3).sort(), ['networks.putEndpoint', 'wiring.attach'])
  t.is(endpoint.vf?.pci, '0000:3b:02.0')
  t.deepEqual(told, ['0000:3b:02.0'])
  t.is(endpoint.mac, '52:54:00:3b:00:00')
  t.is(endpoint.vf?.settings?.mac, undefined, 'so nothing has to be set')
  t.is(endpoint.vf?.settings?.vlan, 100)
  t.deepEqual(endpoint.vf?.baseline?.name, 'eth0v0')
  t.deepEqual(endpoint.addresses, ['10.5.0.1/24'])
  const [claim] = fake.vfs.claims.values()
  t.like(claim, { owner: 'e1', networkId: endpoint.networkId, group: 'c-e1' })
  await stop()
})

for (const step of ['ipam.allocate', 'vfAllocator.claim', 'wiring.prepare', 'networks.putEndpoint', 'wiring.attach']) {
  test(`when ${step} fails the VF is put back, then freed, and its failure is the one reported`, async (t) => {
    const { fake, parts, stop } = await startParts()
    addFast(fake)
    fake.faults.set(step, new HeddleError('kernel-refused', `${step} failed`))
    t.is((await t.throwsAsync(attached(parts)))?.message, `${step} failed`)
    t.deepEqual(clean(fake), nothing)
    t.true(fake.calls.indexOf('wiring.detach') < fake.calls.indexOf('vfAllocator.release'))
    await stop()
  })
}

test('when whoever is to be told of the VF cannot be, everything is undone', async (t) => {
  const { fake, parts, stop } = await startParts()
  addFast(fake)
  const onVf = () => {
    throw new HeddleError('unavailable', 'the disk is full')
  }
  await t.throwsAsync(attached(parts, { onVf }), { message: 'the disk is full' })
  t.deepEqual(clean(fake), nothing)
  await stop()
})

test('a VF that was not put back keeps its claim, for nobody may be offered it', async (t) => {
  const { fake, parts, stop } = await startParts()
  addFast(fake)
  fake.faults.set('wiring.attach', new HeddleError('netns-gone', 'first')).set('wiring.detach', new HeddleError('kernel-refused', 'second'))
  await t.throwsAsync(attached(parts), { message: 'first' })
  t.is(fake.vfs.claims.size, 1)
  t.is(fake.ipam.claims.size, 0)
  await t.throwsAsync(within(5000, (call) => detach(parts, { endpointId: 'e1', networkId: '', sandbox: netns, interfaceName: 'net1' }, call)))
  t.is(fake.vfs.claims.size, 1)
  await stop()
})

const ways: [string, { networkKind?: string }, (fake: FakeCluster) => void][] = [
  ['the network is known', { networkKind: 'sriov' }, () => {}],
  ['only the record says so', {}, () => {}],
  ['the record is gone and nothing is known', {}, (fake) => fake.endpoints.clear()],
  ['the record is gone and the network is known', { networkKind: 'sriov' }, (fake) => fake.endpoints.clear()],
  ['no brain but the allocator answers', {}, (fake) => fake.faults.set('networks', 'hang').set('ipam', 'hang')],
]
for (const [name, hint, happen] of ways) {
  test(`a detach frees the VF when ${name}`, async (t) => {
    const { fake, parts, stop } = await startParts()
    addFast(fake)
    await attached(parts)
    happen(fake)
    const wish = { endpointId: 'e1', networkId: '', sandbox: netns, interfaceName: 'net1', ...hint }
    await within(5000, (call) => detach({ ...parts, releaseTimeoutMs: 1000 }, wish, call))
    t.deepEqual([fake.vfs.claims.size, fake.vfs.astray()], [0, []])
    await stop()
  })
}

test('detaching an endpoint on a bridge asks nothing of the allocator, known or not', async (t) => {
  const { fake, parts, stop } = await startParts()
  fake.addNetwork({ name: 'fast', kind: 'bridge', pools: [pool] })
  const wish = { endpointId: 'e1', networkId: '', sandbox: netns, interfaceName: 'net1' }
  await attached(parts)
  await within(5000, (call) => detach(parts, { ...wish, networkKind: 'bridge' }, call))
  await within(5000, (call) => detach(parts, { ...wish, networkKind: 'bridge' }, call))
  await attached(parts)
  await within(5000, (call) => detach(parts, wish, call))
  t.deepEqual(
    fake.calls.filter((name) => name.startsWith('vfAllocator')),
    [],
  )
  await stop()
})

test('what a call says of its VF goes before what the network says', async (t) => {
  const { fake, parts, stop } = await startParts()
  addFast(fake, { settings: { vlan: 100, vlanQos: 3, spoofchk: true }, driver: 'vfio-pci' })
  fake.vfs.addPf('eth1', 2)
  const mac = '02:00:00:00:00:77'
  const endpoint = { ...wishOf(parts).endpoint, mac }
  const settings = VfSettings.fromPartial({ vlan: 200, trust: true })
  const pci = '0000:3b:02.2'
  const { endpoint: first } = await attached(parts, { endpoint, vf: { pci, settings } })
  t.is(first.mac, mac)
  t.like(first.vf, { pci, driver: 'vfio-pci', settings: { mac, vlan: 200, spoofchk: true, trust: true } })
  t.is(first.vf?.settings?.vlanQos, undefined, 'the priority was that of VLAN 100')
  const { endpoint: second } = await attached(parts, { vf: { selector: { ...noSelector, pfNames: ['eth1'] } } }, 'e2')
  t.is(second.vf?.pci, '0000:3c:02.0')
  await stop()
})

test('a MAC that a free VF has already is given with that VF', async (t) => {
  const { fake, parts, stop } = await startParts()
  addFast(fake)
  const endpoint = { ...wishOf(parts).endpoint, mac: '52:54:00:3b:00:03' }
  t.is((await attached(parts, { endpoint })).endpoint.vf?.pci, '0000:3b:02.3')
  await stop()
})

test('a VF without a MAC of its own gets one that follows from the endpoint', async (t) => {
  const { fake, parts, stop } = await startParts()
  addFast(fake)
  for (const vf of fake.vfs.vfs.values()) Object.assign(vf, { mac: '00:00:00:00:00:00', baseline: { ...vf.baseline, mac: '' } })
  t.is((await attached(parts)).endpoint.mac, macOf('e1'))
  await stop()
})

test("the driver is the call's, the network's, the pool's, or the one the VF is bound to already", async (t) => {
  const { fake, parts, stop } = await startParts()
  addFast(fake, { pool: 'dpdk', selector: undefined })
  fake.vfs.addPool({ name: 'dpdk', selectors: [{ pfNames: ['eth0'] }], driver: 'vfio-pci' })
  for (const vf of fake.vfs.vfs.values()) vf.iommuGroup = '41'
  t.like((await attached(parts)).endpoint.vf, { driver: 'vfio-pci', iommuGroup: '41' })
  fake.vfs.addPool({ name: 'dpdk', selectors: [{ pfNames: ['eth0'] }] })
  t.like((await attached(parts, {}, 'e2')).endpoint.vf, { driver: '', iommuGroup: '' })
  Object.assign(fake.vfs.vfs.get('0000:3b:02.2') ?? {}, { driver: 'vfio-pci' })
  t.like((await attached(parts, { vf: { pci: '0000:3b:02.2' } }, 'e3')).endpoint.vf, { driver: 'vfio-pci', iommuGroup: '41' })
  await stop()
})

test('the same wish again is answered the same VF; another one is refused and harms nothing', async (t) => {
  const { fake, parts, stop } = await startParts()
  addFast(fake)
  const first = await attached(parts)
  t.deepEqual((await attached(parts)).endpoint, first.endpoint)
  for (const vf of [{ settings: VfSettings.fromPartial({ vlan: 7 }) }, { driver: 'vfio-pci' }]) {
    t.is(HeddleError.from(await t.throwsAsync(attached(parts, { vf }))).code, 'interface-exists')
  }
  t.is(fake.vfs.claims.size, 1)
  t.deepEqual(leftovers(fake), { claims: 1, endpoints: 1, interfaces: 1 })
  await stop()
})

test('how a network chooses its VFs is asked of vf-allocator with every claim', async (t) => {
  const { fake, parts, stop } = await startParts()
  addFast(fake, { policy: 'spread', near: 'node:0', apart: true })
  await attached(parts)
  t.like(fake.vfs.wishes, [{ owner: 'e1', policy: 'spread', near: 'node:0', apart: true, group: 'c-e1' }])
  await stop()
})

test('the record is made against the claim that either brain may fence first', async (t) => {
  const { fake, parts, stop } = await startParts()
  addFast(fake)
  await attached(parts)
  t.is(fake.claimRevisions.get('e1'), [...fake.ipam.claims.values()][0]?.revision)
  t.true((fake.claimRevisions.get('e1') ?? 0n) < ([...fake.vfs.claims.values()][0]?.revision ?? 0n))
  fake.addNetwork({ ...addFast(fake, {}, []), id: '', name: 'frames' })
  await attached(parts, { network: (call) => parts.directory.byName('frames', call) }, 'e2')
  t.is(fake.claimRevisions.get('e2'), [...fake.vfs.claims.values()].find(({ owner }) => owner === 'e2')?.revision)
  await stop()
})

const noSelector = { vendors: [], devices: [], drivers: [], pciAddresses: [], pfNames: [], linkTypes: [], numaNodes: [], hosts: [], rdma: false, vdpa: false }
const settingsOf = (network: object, call: object) =>
  planVf(
    { name: 'fast', sriov: { pool: 'p', selector: undefined, policy: '', driver: '', apart: false, near: '', settings: VfSettings.fromPartial(network) } },
    { settings: VfSettings.fromPartial(call) },
  ).settings

test('a VLAN takes the place of a trunk and a trunk that of a VLAN', (t) => {
  const trunk = [{ first: 10, last: 20 }]
  t.deepEqual(settingsOf({ trunk }, { vlan: 5 }), VfSettings.fromPartial({ vlan: 5 }))
  t.deepEqual(settingsOf({ vlan: 5, vlanQos: 1 }, { trunk }), VfSettings.fromPartial({ trunk }))
  t.deepEqual(settingsOf({ trunk }, { vlan: 0 }), VfSettings.fromPartial({ vlan: 0, trunk }))
  t.deepEqual(settingsOf({ vlan: 5, vlanProto: '802.1ad' }, { mtu: 9000 }), VfSettings.fromPartial({ vlan: 5, vlanProto: '802.1ad', mtu: 9000 }))
})

test('a network and a call that contradict each other, or of which neither names a VF, are refused before anything is asked', async (t) => {
  t.throws(() => settingsOf({ minTxRate: 500 }, { maxTxRate: 100 }), { message: /500 Mbit\/s, is above the highest, 100/ })
  const { fake, parts, stop } = await startParts()
  addFast(fake, { selector: undefined })
  await within(1000, (call) => parts.directory.byName('fast', call))
  fake.calls.length = 0
  const error = HeddleError.from(await t.throwsAsync(attached(parts)))
  t.is(error.field, 'deviceID')
  t.regex(error.sentence, /vfPool/)
  t.deepEqual(fake.calls, [])
  await stop()
})
