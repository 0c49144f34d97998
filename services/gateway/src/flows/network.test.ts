import { CreateNetworkRequest } from '@heddle/contract'
import { type Call, HeddleError, withCall } from '@heddle/core'
import test from 'ava'
import { startParts } from '../testing/parts.ts'
import { createNetwork, deleteNetwork } from './network.ts'

const define = (more: Parameters<typeof CreateNetworkRequest.fromPartial>[0] = {}) =>
  CreateNetworkRequest.fromPartial({ name: 'blue', kind: 'overlay', subnets: [{ prefix: '10.1.0.0/16' }, { prefix: 'FD00:0::/64' }], ...more })
const within = <T>(body: (call: Call) => Promise<T>) => withCall<T>({ timeoutMs: 5000 }, body)

test('a network is pools, a VNI and a record; the same definition again is the same network', async (t) => {
  const { fake, parts, stop } = await startParts()
  const first = await within((call) => createNetwork(parts, { definition: define(), createdBy: 'cli' }, call))
  t.true(first.created)
  t.deepEqual(
    first.network.pools.map((pool) => [pool.prefix, pool.gateway]),
    [
      ['10.1.0.0/16', ''],
      ['fd00::/64', ''],
    ],
  )
  t.is(first.network.vni, 4096)
  const second = await within((call) => createNetwork(parts, { definition: define(), createdBy: 'cli' }, call))
  t.deepEqual(second, { network: first.network, created: false })
  t.is(fake.ipam.pools.size, 2)
  await stop()
})

test('a bridge always has a gateway, an overlay only one that was asked for', async (t) => {
  const { parts, stop } = await startParts()
  const gatewayOf = async (more: object) =>
    (await within((call) => createNetwork(parts, { definition: define(more), createdBy: 'cli' }, call))).network.pools[0]?.gateway
  t.is(await gatewayOf({ name: 'a', kind: 'bridge', subnets: [{ prefix: '10.2.0.0/24' }] }), '10.2.0.1')
  t.is(await gatewayOf({ name: 'b', kind: 'bridge', subnets: [{ prefix: '10.2.0.0/24', gateway: '10.2.0.254' }] }), '10.2.0.254')
  t.is(await gatewayOf({ name: 'c', subnets: [{ prefix: '10.2.0.0/24', gateway: '10.2.0.9' }] }), '10.2.0.9')
  t.is(await gatewayOf({ name: 'd', subnets: [{ prefix: '10.2.0.0/24' }] }), '')
  t.regex((await gatewayOf({ name: 'e', kind: 'bridge', subnets: [] })) ?? '', /^10\.\d+\.\d+\.1$/)
  await stop()
})

for (const step of ['ipam.createPool', 'ipam.reserve', 'overlay.claimVni', 'networks.createNetwork']) {
  test(`when ${step} fails nothing is left of the network`, async (t) => {
    const { fake, parts, stop } = await startParts()
    fake.faults.set(step, new HeddleError('internal', `${step} failed`))
    const definition = define(step === 'ipam.reserve' ? { kind: 'bridge' } : {})
    await t.throwsAsync(
      within((call) => createNetwork(parts, { definition, createdBy: 'cli' }, call)),
      { message: `${step} failed` },
    )
    t.deepEqual([fake.ipam.pools.size, fake.vnis.size, fake.networks.size], [0, 0, 0])
    await stop()
  })
}

test('eight gateways that create the same network at once get the same one, complete', async (t) => {
  const { fake, parts, stop } = await startParts()
  const others = await Promise.all(Array.from({ length: 7 }, () => startParts(fake)))
  const all = [parts, ...others.map((other) => other.parts)]
  const made = await Promise.all(all.map((one) => within((call) => createNetwork(one, { definition: define({ vni: 5000 }), createdBy: 'cli' }, call))))
  t.is(new Set(made.map(({ network }) => network.id)).size, 1)
  t.is(made.filter(({ created }) => created).length, 1)
  t.deepEqual([fake.ipam.pools.size, fake.networks.size], [2, 1])
  t.deepEqual([...fake.vnis], [[made[0]?.network.id, 5000]])
  for (const one of [{ stop }, ...others]) await one.stop()
})

test('another definition of a name is refused with what differs', async (t) => {
  const { parts, stop } = await startParts()
  await within((call) => createNetwork(parts, { definition: define(), createdBy: 'cli' }, call))
  const other = define({ internal: true, subnets: [{ prefix: '10.1.0.0/16' }] })
  const error = await t.throwsAsync(within((call) => createNetwork(parts, { definition: other, createdBy: 'cli' }, call)))
  t.is(HeddleError.from(error).code, 'network-exists')
  t.regex(error?.message ?? '', /internal is false, not true; its subnets/)
  await stop()
})

test('a network of VFs needs no addresses, and what its definition leaves open matches anything', async (t) => {
  const { fake, parts, stop } = await startParts()
  const make = (sriov?: object) =>
    within((call) => createNetwork(parts, { definition: define({ kind: 'sriov', subnets: [], ...(sriov && { sriov }) }), createdBy: 'cli' }, call))
  const sriov = { pool: 'fast', settings: { vlan: 5, trust: false }, selector: { vendors: ['0x8086'] } }
  const { network } = await make(sriov)
  t.deepEqual([network.pools, network.vni, fake.ipam.pools.size, fake.vnis.size], [[], 0, 0, 0])
  t.like(network.sriov, { pool: 'fast', settings: { vlan: 5, trust: false }, selector: { vendors: ['8086'] } })
  t.false((await make(sriov)).created)
  t.false((await make()).created)
  const other = await t.throwsAsync(make({ ...sriov, settings: { vlan: 5 } }))
  t.regex(other?.message ?? '', /its VFs is .*"trust":false.*, not /)
  await stop()
})

test('a gateway given for a network of VFs is the way out of it', async (t) => {
  const { parts, stop } = await startParts()
  const definition = define({ kind: 'sriov', subnets: [{ prefix: '10.1.0.0/24', gateway: '10.1.0.1' }, { prefix: 'fd00::/64' }] })
  const { network } = await within((call) => createNetwork(parts, { definition, createdBy: 'cli' }, call))
  t.deepEqual(
    network.pools.map(({ gateway }) => gateway),
    ['10.1.0.1', ''],
  )
  await stop()
})

const bad: [string, object, string][] = [
  ['a VNI of VFs', { kind: 'sriov', vni: 5000 }, 'vni'],
  ['VFs of a bridge', { kind: 'bridge', sriov: {} }, 'sriov'],
  ['a VLAN out of range', { kind: 'sriov', sriov: { settings: { vlan: 4095 } } }, 'sriov.settings.vlan'],
  ['a priority without a VLAN', { kind: 'sriov', sriov: { settings: { vlanQos: 1 } } }, 'sriov.settings.vlanQos'],
  ['a trunk beside a VLAN', { kind: 'sriov', sriov: { settings: { vlan: 5, trunk: [{ first: 6, last: 7 }] } } }, 'sriov.settings.trunk'],
  ['a least rate above the highest', { kind: 'sriov', sriov: { settings: { minTxRate: 2, maxTxRate: 1 } } }, 'sriov.settings.minTxRate'],
  ['a MAC for all endpoints', { kind: 'sriov', sriov: { settings: { mac: '02:00:00:00:00:01' } } }, 'sriov.settings.mac'],
  ['an unknown driver', { kind: 'sriov', sriov: { driver: 'igb_uio' } }, 'sriov.driver'],
  ['an unknown policy', { kind: 'sriov', sriov: { policy: 'random' } }, 'sriov.policy'],
  ['a device that is none to be near to', { kind: 'sriov', sriov: { near: 'gpu0' } }, 'sriov.near'],
  ['a pool with a bad name', { kind: 'sriov', sriov: { pool: 'a b' } }, 'sriov.pool'],
  ['a PCI address that is none', { kind: 'sriov', sriov: { selector: { pciAddresses: ['eth0'] } } }, 'sriov.selector.pciAddresses[0]'],

  ['a bad name', { name: 'a b' }, 'name'],
  ['an unknown kind', { kind: 'ring' }, 'kind'],
  ['an MTU out of range', { mtu: 67 }, 'mtu'],
  ['a VNI out of range', { vni: 4095 }, 'vni'],
  ['a VNI of a bridge', { kind: 'bridge', vni: 5000 }, 'vni'],
  ['a prefix with host bits', { subnets: [{ prefix: '10.1.0.1/16' }] }, 'subnets[0].prefix'],
  ['a gateway that is no address', { subnets: [{ prefix: '10.1.0.0/16', gateway: 'x' }] }, 'subnets[0].gateway'],
  ['an unknown option', { options: { colour: 'red' } }, 'options.colour'],
]
for (const [name, more, field] of bad) {
  test(`${name} is refused with its field before anything is asked of anybody`, async (t) => {
    const { fake, parts, stop } = await startParts()
    const error = await t.throwsAsync(within((call) => createNetwork(parts, { definition: define(more), createdBy: 'cli' }, call)))
    t.is(HeddleError.from(error).field, field)
    t.deepEqual(fake.calls, [])
    await stop()
  })
}

test('deleting frees pools and VNI and tells the hosts; one in use is refused', async (t) => {
  const { fake, parts, stop } = await startParts()
  const { network } = await within((call) => createNetwork(parts, { definition: define(), createdBy: 'cli' }, call))
  fake.aliases.set('docker:h1:x', network.id)
  await t.throwsAsync(
    within((call) => deleteNetwork(parts, network, call)),
    { message: 'network is in use' },
  )
  fake.aliases.clear()
  await within((call) => deleteNetwork(parts, network, call))
  t.deepEqual([fake.ipam.pools.size, fake.vnis.size, fake.networks.size], [0, 0, 0])
  t.true(fake.calls.includes('wiring.removeNetwork'))
  t.is(parts.directory.peek('blue'), undefined)
  await stop()
})

test('a pool whose claims are not swept yet does not keep a network from being deleted, and goes later', async (t) => {
  const { fake, parts, stop } = await startParts()
  const { network } = await within((call) => createNetwork(parts, { definition: define(), createdBy: 'cli' }, call))
  await within((call) => parts.cluster.ipam.allocate({ owner: 'stale', host: 'h1', wants: [{ poolIds: [network.pools[0]?.poolId ?? ''] }] }, call))
  await within((call) => deleteNetwork(parts, network, call))
  t.is(fake.networks.size, 0)
  t.is(fake.ipam.pools.size, 1)
  fake.ipam.claims.clear()
  while (fake.ipam.pools.size > 0) await new Promise((resolve) => setTimeout(resolve, 20))
  t.pass()
  await stop()
})
