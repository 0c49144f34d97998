/** macvlan networks on the real kernel, and what this kernel may lack: h1 and h2 are two hosts, eth0 of each is on one wire. */
import type { Endpoint, Network } from '@heddle/contract'
import { macOf } from '@heddle/core'
import test from 'ava'
import { handoverName } from './domain/names.ts'
import { inside, Lab, pings, sh, until, type WiredHost, within } from './testing/lab.ts'

let lab: Lab
let one: WiredHost
let two: WiredHost
const pools = [{ poolId: 'p', prefix: '10.20.0.0/24', gateway: '10.20.0.1' }]
const lan = (id = 'lan', parent: object = { name: 'eth0' }, more: object = {}) =>
  lab.brains.network({ id, kind: 'macvlan', pools, parent: { mode: '', vlan: 0, mac: '', pci: '', name: '', ...parent }, ...more })
const link = async (sandbox: string, name = 'eth0') => JSON.parse(await inside(sandbox, 'ip', '-j', '-d', 'link', 'show', name))[0]
const attached = async (host = one) => (await within((call) => host.wiring.listAttachments({}, call))).attachments
const detach = (id: string, sandbox = '', host = one) => within((call) => host.wiring.detach({ endpointId: id, sandbox }, call))
const check = async (network: Network, endpoint: Endpoint, routes: { destination: string; gateway: string }[] = []) =>
  (await within((call) => one.wiring.check({ network, endpoint, routes }, call))).differences
const refused = (network: Network, endpoint: Endpoint) => within((call) => one.wiring.attach({ network, endpoint }, call))
const put = (host: WiredHost, network: Network, id: string, sandbox: string, more: object = {}) =>
  lab.brains.put({ id, networkId: network.id, networkKind: network.kind, host: host.name, mac: macOf(id), sandbox, interfaceName: 'eth0', ...more })
const names = async (ns: string) => (JSON.parse(await inside(ns, 'ip', '-j', 'link')) as { ifname: string }[]).map(({ ifname }) => ifname).sort()

test.before(async () => {
  lab = await Lab.create(['h1', 'h2'])
  one = await lab.start('h1', { orphanGraceMs: 0 })
  two = await lab.start('h2', { orphanGraceMs: 0 })
})
test.after.always(() => lab.close())

test.serial('endpoints on one parent reach each other and those of another host, with addresses and routes of their own', async (t) => {
  const routes = [{ destination: '0.0.0.0/0', gateway: '10.20.0.1' }]
  const a = await lab.attach(one, lan(), 'a', ['10.20.0.2/24', 'fd20::2/64'], routes)
  const b = await lab.attach(one, lan(), 'b', ['10.20.0.3/24'])
  await lab.attach(two, lan(), 'far', ['10.20.0.4/24', 'fd20::4/64'])
  t.like(await link(a.sandbox), { address: macOf('a'), mtu: 1500, linkinfo: { info_kind: 'macvlan', info_data: { mode: 'bridge' } } })
  t.true(await pings(a.sandbox, '10.20.0.3'))
  t.true(await pings(b.sandbox, '10.20.0.4'))
  t.true(await pings(a.sandbox, 'fd20::4'))
  t.regex(await inside(a.sandbox, 'ip', 'route'), /default via 10\.20\.0\.1/)
  t.deepEqual(await check(lan(), a, routes), [])
  t.deepEqual((await attached()).map(({ endpointId, networkId, inSandbox }) => [endpointId, networkId, inSandbox]).sort(), [
    ['a', 'lan', true],
    ['b', 'lan', true],
  ])
  t.deepEqual(
    (await attached(two)).map(({ endpointId }) => endpointId),
    ['far'],
    'each host tells of its own, though both see every namespace',
  )
})

test.serial('attaching again writes addresses only, and a link that was changed is made anew', async (t) => {
  const [a] = [lab.brains.endpoints.get('a') as Endpoint]
  one.writes.length = 0
  const answer = await within((call) => one.wiring.attach({ network: lan(), endpoint: a }, call))
  t.like(answer, { interfaceName: 'eth0', mac: macOf('a'), mtu: 1500 })
  t.deepEqual(
    one.writes.filter((write) => /link|macvlan|remove/.test(write)),
    [],
  )
  t.true((await within((call) => one.wiring.prepare({ network: lan(), endpoint: a }, call))).existed)
  await inside(a.sandbox, 'ip', 'link', 'set', 'eth0', 'address', '02:00:00:00:00:99')
  await within((call) => one.wiring.attach({ network: lan(), endpoint: a }, call))
  t.is((await link(a.sandbox)).address, macOf('a'))
})

test.serial('a check names each fault: mode, MAC, MTU, address, route, down, gone', async (t) => {
  const a = lab.brains.endpoints.get('a') as Endpoint
  const routes = [{ destination: '10.99.0.0/16', gateway: '' }]
  await within((call) => one.wiring.attach({ network: lan(), endpoint: a, routes }, call))
  const ip = (...args: string[]) => inside(a.sandbox, 'ip', ...args)
  await ip('link', 'set', 'eth0', 'type', 'macvlan', 'mode', 'private')
  t.deepEqual(await check(lan(), a, routes), ['eth0 has mode private, it should be bridge'])
  await ip('link', 'set', 'eth0', 'type', 'macvlan', 'mode', 'bridge')
  await ip('route', 'del', '10.99.0.0/16')
  t.deepEqual(await check(lan(), a, routes), ['route 10.99.0.0/16 is not on eth0'])
  await ip('link', 'set', 'eth0', 'address', '02:00:00:00:00:99')
  await ip('link', 'set', 'eth0', 'mtu', '1400')
  await ip('address', 'del', '10.20.0.2/24', 'dev', 'eth0')
  t.deepEqual(await check(lan(), a, routes), [
    `eth0 has MAC 02:00:00:00:00:99, it should be ${macOf('a')}`,
    'eth0 has MTU 1400, it should be 1500',
    'address 10.20.0.2/24 is not on eth0',
  ])
  await within((call) => one.wiring.attach({ network: lan(), endpoint: a, routes }, call))
  await ip('link', 'set', 'eth0', 'down')
  t.true((await check(lan(), a)).includes('eth0 is down'))
  await within((call) => one.wiring.attach({ network: lan(), endpoint: a, routes }, call))
  t.deepEqual(await check(lan(), a, routes), [])
  await ip('link', 'del', 'eth0')
  t.deepEqual(await check(lan(), a), ['eth0 is gone'])
  t.deepEqual(
    (await attached()).map(({ endpointId }) => endpointId),
    ['b'],
  )
  await within((call) => one.wiring.attach({ network: lan(), endpoint: a }, call))
})

test.serial('another process knows what an earlier one attached, keeps its packets going, and takes it away', async (t) => {
  const b = lab.brains.endpoints.get('b') as Endpoint
  await one.stop()
  one = await lab.start('h1', { orphanGraceMs: 0 })
  t.deepEqual((await attached()).map(({ endpointId }) => endpointId).sort(), ['a', 'b'])
  one.writes.length = 0
  await one.reconcile()
  await one.reconcile()
  t.deepEqual(one.writes, [], 'with nothing changed nothing is written')
  await t.throwsAsync(
    within((call) => one.wiring.removeNetwork({ networkId: 'lan' }, call)),
    { message: /has endpoints on host h1/ },
  )
  t.true((await detach('b', b.sandbox)).existed)
  t.deepEqual(await names(b.sandbox), ['lo'])
  t.false((await detach('b', b.sandbox)).existed)
})

test.serial('an endpoint without record is taken away after its grace, one of another host is not', async (t) => {
  const a = lab.brains.endpoints.get('a') as Endpoint
  const far = lab.brains.endpoints.get('far') as Endpoint
  lab.brains.delete('a')
  await one.stop()
  one = await lab.start('h1', { orphanGraceMs: 0 })
  await one.reconcile()
  await one.reconcile()
  t.deepEqual(await names(a.sandbox), ['lo'])
  t.deepEqual(await names(far.sandbox), ['eth0', 'lo'])
})

test.serial('an endpoint whose sandbox has ended is not told any more, and its detach succeeds', async (t) => {
  const c = await lab.attach(one, lan(), 'c', ['10.20.0.5/24'])
  await sh('ip', 'netns', 'delete', c.sandbox.replace('/run/netns/', ''))
  await until('the link has ended with it', async () => (await attached()).length === 0)
  t.deepEqual(await check(lan(), c), [`the sandbox ${c.sandbox} is gone`])
  t.false((await detach('c', c.sandbox)).existed)
  lab.brains.delete('c')
  await within((call) => one.wiring.removeNetwork({ networkId: 'lan' }, call))
})

test.serial("Docker's link waits on the host, is found in the container dockerd moves it to, and goes from wherever it is", async (t) => {
  const network = lan('docker')
  const d = put(one, network, 'd', '', { addresses: ['10.20.0.6/24'] })
  t.false((await within((call) => one.wiring.prepare({ network, endpoint: d }, call))).existed)
  const answer = await within((call) => one.wiring.attach({ network, endpoint: d }, call))
  t.like(answer, { interfaceName: handoverName('d'), mac: macOf('d'), hostInterface: '' })
  t.like(await attached(), [{ endpointId: 'd', inSandbox: false, hostInterface: handoverName('d') }])
  const container = await lab.sandbox()
  await inside(one.lab.path, 'ip', 'link', 'set', handoverName('d'), 'netns', container.replace('/run/netns/', ''), 'name', 'eth0')
  t.like(await attached(), [{ endpointId: 'd', inSandbox: true, hostInterface: '' }])
  t.deepEqual(await check(network, d), [])
  t.true((await within((call) => one.wiring.prepare({ network, endpoint: d }, call))).existed)
  await one.stop()
  one = await lab.start('h1', { orphanGraceMs: 0 })
  t.like(await attached(), [{ endpointId: 'd', inSandbox: true }])
  t.true((await detach('d')).existed)
  t.deepEqual(await names(container), ['lo'])
  t.false((await detach('d')).existed)
  lab.brains.delete('d')
})

test.serial('passthru has the MAC of its parent and is the only one on it, which the next is told', async (t) => {
  await inside(one.lab.path, 'ip', 'link', 'add', 'nic0', 'address', '02:00:00:00:10:01', 'type', 'veth', 'peer', 'name', 'nic0w')
  for (const name of ['nic0', 'nic0w']) await inside(one.lab.path, 'ip', 'link', 'set', name, 'up')
  const network = lan('alone', { name: 'nic0', mode: 'passthru' })
  const p = put(one, network, 'p', await lab.sandbox(), { addresses: ['10.20.0.7/24'] })
  t.like(await within((call) => one.wiring.attach({ network, endpoint: p }, call)), { mac: '02:00:00:00:10:01' })
  t.deepEqual(await check(network, p), [])
  const q = put(one, network, 'q', await lab.sandbox())
  for (const other of [network, lan('second', { name: 'nic0' })]) {
    const error = await t.throwsAsync(refused(other, q))
    t.like(error, { code: 'device-in-use', field: 'network.parent.name', details: { device: 'nic0' } })
    t.regex(error?.message ?? '', /nic0 has endpoint p, and in mode passthru there is only one/)
  }
  t.deepEqual(await names(q.sandbox), ['lo'])
  await detach('p', p.sandbox)
  await within((call) => one.wiring.attach({ network, endpoint: q }, call))
  await sh('ip', 'netns', 'delete', q.sandbox.replace('/run/netns/', ''))
  await within((call) => one.wiring.attach({ network, endpoint: { ...p, sandbox: p.sandbox } }, call))
  await detach('p', p.sandbox)
  for (const id of ['p', 'q']) lab.brains.delete(id)
})

test.serial('what cannot be is refused with field and remedy, and leaves nothing behind', async (t) => {
  await inside(one.lab.path, 'ip', 'link', 'add', 'br9', 'type', 'bridge')
  await inside(one.lab.path, 'ip', 'link', 'set', 'nic0w', 'master', 'br9')
  const sandbox = await lab.sandbox()
  const cases: [object, object, RegExp][] = [
    [{ name: 'eth9' }, { code: 'device-unknown', field: 'network.parent.name' }, /host h1 has no link eth9/],
    [{ name: 'eth9.5' }, { code: 'device-unknown' }, /has no link eth9, on which eth9\.5 would stand/],
    [{ name: '' }, { code: 'invalid-argument', field: 'network.parent.name' }, /needs a parent/],
    [{ name: 'eth0', mode: 'l2' }, { code: 'invalid-argument', field: 'network.parent.mode' }, /mode l2 is of networks of kind ipvlan/],
    [{ name: 'nic0w' }, { code: 'device-in-use', field: 'network.parent.name' }, /nic0w is a port of a bridge/],
  ]
  for (const [parent, like, text] of cases) {
    const error = await t.throwsAsync(refused(lan('bad', parent), put(one, lan('bad'), 'bad', sandbox)))
    t.like(error, like)
    t.regex(error?.message ?? '', text)
    t.true(((error as { remedy?: string }).remedy ?? '').length > 0)
  }
  t.like(await t.throwsAsync(refused(lan('big', { name: 'eth0' }, { mtu: 9000 }), put(one, lan(), 'bad', sandbox))), {
    code: 'unsupported',
    field: 'network.mtu',
  })
  const noRoute = put(one, lan(), 'bad', sandbox, { addresses: ['10.20.0.8/24'] })
  const far = within((call) => one.wiring.attach({ network: lan(), endpoint: noRoute, routes: [{ destination: '10.0.0.0/8', gateway: '172.31.0.1' }] }, call))
  t.like(await t.throwsAsync(far), { code: 'kernel-refused', details: { operation: 'route.replace' } })
  await inside(sandbox, 'ip', 'link', 'add', 'eth0', 'type', 'bridge')
  t.like(await t.throwsAsync(refused(lan(), noRoute)), { code: 'interface-exists', field: 'endpoint.interface_name' })
  t.deepEqual(await names(sandbox), ['eth0', 'lo'])
  t.like(await t.throwsAsync(refused(lan(), { ...noRoute, sandbox: '/run/netns/no-such' })), { code: 'netns-gone' })
  t.deepEqual(await attached(), [])
  lab.brains.delete('bad')
})

for (const [kind, parent, module] of [
  ['ipvlan', { name: 'eth0' }, 'ipvlan'],
  ['vlan', { name: 'eth0', vlan: 7 }, '8021q'],
  ['macvlan', { name: 'eth0.7' }, '8021q'],
] as const) {
  test.serial(`an endpoint of kind ${kind} on ${parent.name} is attached, or refused with the module this kernel lacks`, async (t) => {
    const network = lan('kind', parent, { kind })
    const e = put(one, network, 'e', await lab.sandbox(), { addresses: ['10.20.0.9/24'] })
    const before = await names(one.lab.path)
    try {
      await refused(network, e)
      t.deepEqual(await check(network, e), [])
      await detach('e', e.sandbox)
      await within((call) => one.wiring.removeNetwork({ networkId: 'kind' }, call))
    } catch (error) {
      t.like(error, { code: 'unsupported', details: { module } })
      t.regex((error as { remedy?: string }).remedy ?? '', new RegExp(`load the kernel module ${module}`))
      const { findings } = await within((call) => one.wiring.inspect({}, call))
      t.true(findings.some(({ level, remedy }) => level === 'warning' && remedy.includes(`load the kernel module ${module}`)))
    }
    t.deepEqual(await names(one.lab.path), before)
    t.deepEqual(await names(e.sandbox), ['lo'])
    lab.brains.delete('e')
  })
}
