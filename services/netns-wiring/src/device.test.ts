/** Devices of the host given away, on the real kernel: one end of a veth stands for a card, the other is the wire. */
import type { Endpoint, Network } from '@heddle/contract'
import { macOf } from '@heddle/core'
import test from 'ava'
import { handoverName } from './domain/names.ts'
import { inside, Lab, pings, until, type WiredHost, within } from './testing/lab.ts'

let lab: Lab
let one: WiredHost
const mac = '02:00:00:00:30:01'
const ip = (...args: string[]) => inside(one.lab.path, 'ip', ...args)
const device = (id: string, parent: object) =>
  lab.brains.network({ id, kind: 'host-device', parent: { name: '', mac: '', pci: '', mode: '', vlan: 0, ...parent } })
const put = async (network: Network, id: string, more: object = {}) =>
  lab.brains.put({
    ...{ id, networkId: network.id, host: 'h1', mac: macOf(id), addresses: ['10.30.0.2/24'], interfaceName: 'net1' },
    sandbox: await lab.sandbox(),
    ...more,
  })
const attach = (network: Network, endpoint: Endpoint) => within((call) => one.wiring.attach({ network, endpoint }, call))
const detach = (id: string, sandbox = '') => within((call) => one.wiring.detach({ endpointId: id, sandbox }, call))
const check = async (network: Network, endpoint: Endpoint) => (await within((call) => one.wiring.check({ network, endpoint }, call))).differences
const attached = async () => (await within((call) => one.wiring.listAttachments({}, call))).attachments
const show = async (ns: string, name: string) => JSON.parse(await inside(ns, 'ip', '-j', '-d', 'link', 'show', name))[0]
const names = async (ns: string) => (JSON.parse(await inside(ns, 'ip', '-j', 'link')) as { ifname: string }[]).map(({ ifname }) => ifname).sort()
const asItWas = { address: mac, mtu: 1450, ifalias: 'rack 3: uplink' }

test.before(async () => {
  lab = await Lab.create(['h1'])
  one = await lab.start('h1', { orphanGraceMs: 0 })
  await ip('link', 'add', 'nic0', 'address', mac, 'mtu', '1450', 'type', 'veth', 'peer', 'name', 'wire', 'mtu', '1450')
  await ip('link', 'set', 'nic0', 'up', 'alias', 'rack 3: uplink')
  await ip('link', 'set', 'wire', 'up')
  await ip('address', 'add', '10.30.0.1/24', 'dev', 'wire')
})
test.after.always(() => lab.close())

test.serial('a device is moved in, renamed and addressed, and comes back with its name, MTU, MAC and alias, up', async (t) => {
  const network = device('lan', { name: 'nic0' })
  const a = await put(network, 'a')
  t.false((await within((call) => one.wiring.prepare({ network, endpoint: a }, call))).existed)
  t.like(await attach(network, a), { interfaceName: 'net1', mac, mtu: 1450, hostInterface: '' })
  t.deepEqual(await names(a.sandbox), ['lo', 'net1'])
  t.true(await pings(a.sandbox, '10.30.0.1'))
  t.deepEqual(await check(network, a), [])
  t.like(await attached(), [{ endpointId: 'a', networkId: 'lan', inSandbox: true }])
  t.like(await attach(network, a), { interfaceName: 'net1', mac }, 'again is once')
  t.true((await detach('a', a.sandbox)).existed)
  t.deepEqual(await names(a.sandbox), ['lo'])
  const back = await show(one.lab.path, 'nic0')
  t.like(back, asItWas)
  t.true(back.flags.includes('UP'))
  t.false((await detach('a', a.sandbox)).existed)
  lab.brains.delete('a')
})

test.serial('what the container did to it is undone, and named by a check before', async (t) => {
  const network = device('lan', { mac: mac.toUpperCase() })
  await ip('link', 'set', 'nic0', 'down')
  const b = await put(network, 'b')
  await attach(network, b)
  await inside(b.sandbox, 'ip', 'link', 'set', 'net1', 'mtu', '1300')
  await inside(b.sandbox, 'ip', 'link', 'set', 'net1', 'address', '02:00:00:00:99:99')
  await inside(b.sandbox, 'ip', 'link', 'add', 'link', 'net1', 'name', 'up0', 'type', 'macvlan')
  t.deepEqual(await check(network, b), [`net1 has MAC 02:00:00:00:99:99, it should be ${mac}`, 'net1 has MTU 1300, it should be 1450'])
  // As after kill -9: what is to be restored is known from the kernel alone.
  await one.stop()
  one = await lab.start('h1', { orphanGraceMs: 0 })
  t.true((await detach('b', b.sandbox)).existed)
  const back = await show(one.lab.path, 'nic0')
  t.like(back, asItWas)
  t.false(back.flags.includes('UP'), 'it was down')
  t.deepEqual(await names(b.sandbox), ['lo'], 'what stood on it is gone')
  lab.brains.delete('b')
})

test.serial('a device whose name was taken meanwhile comes back under another', async (t) => {
  const network = device('lan', { name: 'nic0' })
  const c = await put(network, 'c')
  await attach(network, c)
  await ip('link', 'add', 'nic0', 'type', 'bridge')
  t.true((await detach('c', c.sandbox)).existed)
  t.like(await show(one.lab.path, 'net1'), asItWas)
  await ip('link', 'del', 'nic0')
  await ip('link', 'set', 'net1', 'down')
  await ip('link', 'set', 'net1', 'name', 'nic0')
  lab.brains.delete('c')
})

test.serial('a device of an endpoint that nobody has recorded comes back after its grace', async (t) => {
  const network = device('lan', { name: 'nic0' })
  const d = await put(network, 'd')
  await attach(network, d)
  lab.brains.delete('d')
  for (let round = 0; round < 2; round++) await one.reconcile()
  t.like(await show(one.lab.path, 'nic0'), asItWas)
  t.deepEqual(await names(d.sandbox), ['lo'])
})

test.serial('for Docker it waits on the host, comes back from where dockerd put it, and is what it was after that', async (t) => {
  const network = device('docker', { name: 'nic0' })
  await ip('link', 'set', 'nic0', 'up')
  const e = await put(network, 'e', { sandbox: '', interfaceName: '' })
  const waiting = handoverName('e')
  t.like(await attach(network, e), { interfaceName: waiting, mac })
  t.like(await attached(), [{ endpointId: 'e', inSandbox: false, hostInterface: waiting }])
  for (const parent of [{ name: 'nic0' }, { mac }]) {
    const error = await t.throwsAsync(attach(device('other', parent), await put(network, 'late')))
    t.regex(error?.message ?? '', /given to endpoint e already/)
  }
  lab.brains.delete('late')
  const container = await lab.sandbox()
  const name = container.replace('/run/netns/', '')
  await ip('link', 'set', waiting, 'netns', name, 'name', 'eth0')
  t.like(await attached(), [{ endpointId: 'e', inSandbox: true }])
  t.deepEqual(await check(network, e), [])
  // As dockerd does when the container leaves.
  await inside(container, 'nsenter', `--net=${container}`, 'ip', 'link', 'set', 'eth0', 'name', waiting)
  await inside(container, 'ip', 'link', 'set', waiting, 'netns', one.lab.path.replace('/run/netns/', ''))
  await one.reconcile()
  t.deepEqual((await names(one.lab.path)).includes(waiting), true, 'it is not to be given back before Docker deletes the endpoint')
  t.true((await detach('e')).existed)
  const back = await show(one.lab.path, 'nic0')
  t.like(back, asItWas)
  t.true(back.flags.includes('UP'))
  lab.brains.delete('e')
})

test.serial('a device back on the host under its name in the container goes back to what it was at once', async (t) => {
  const network = device('lan', { name: 'nic0' })
  const f = await put(network, 'f')
  await attach(network, f)
  // As the kernel does with a card when its namespace ends; a veth would end with it.
  await inside(f.sandbox, 'ip', 'link', 'set', 'net1', 'netns', one.lab.path.replace('/run/netns/', ''))
  await until('it has its name', async () => (await names(one.lab.path)).includes('nic0'))
  t.like(await show(one.lab.path, 'nic0'), asItWas)
  t.false((await detach('f', f.sandbox)).existed)
  lab.brains.delete('f')
})

test.serial('a device that is in use, or that is not there, is refused with the reason, and stays as it is', async (t) => {
  const sandbox = await lab.sandbox()
  await ip('link', 'add', 'br9', 'type', 'bridge')
  await ip('link', 'add', 'port', 'type', 'veth', 'peer', 'name', 'twin1')
  await ip('link', 'set', 'port', 'master', 'br9')
  await ip('link', 'add', 'gate', 'type', 'veth', 'peer', 'name', 'twin2')
  await ip('link', 'set', 'gate', 'up')
  await ip('address', 'add', '10.31.0.1/24', 'dev', 'gate')
  await ip('route', 'add', 'default', 'via', '10.31.0.2')
  for (const twin of ['twin1', 'twin2']) await ip('link', 'set', twin, 'address', '02:00:00:00:31:31')
  await ip('link', 'add', 'link', 'twin1', 'name', 'upper', 'type', 'macvlan')
  const shared = lab.brains.network({ id: 'shared', kind: 'macvlan', parent: { name: 'twin2', mode: '', vlan: 0, mac: '', pci: '' } })
  const g = await put(shared, 'g', { addresses: [] })
  await attach(shared, g)
  const before = await ip('-o', 'link')
  const cases: [object, string, RegExp][] = [
    [{ name: 'lo' }, 'device-in-use', /lo cannot be given away: it is the loopback/],
    [{ name: 'eth0' }, 'device-in-use', /eth0 .* carries the packets of overlay networks/],
    [{ name: 'port' }, 'device-in-use', /port .* is a port of br9/],
    [{ name: 'gate' }, 'device-in-use', /gate .* has a default route of the host/],
    [{ name: 'twin1' }, 'device-in-use', /upper stands on it/],
    [{ name: 'twin2' }, 'device-in-use', /endpoint g stands on it/],
    [{ mac: '02:00:00:00:31:31' }, 'invalid-argument', /2 links of host h1 have .*: twin/],
    [{ name: 'nic9' }, 'device-unknown', /host h1 has no device nic9/],
    [{ mac: '02:00:00:00:99:01' }, 'device-unknown', /no device with MAC 02:00:00:00:99:01/],
    [{ pci: '0000:ff:1f.7' }, 'device-unknown', /no device at 0000:ff:1f.7/],
    [{}, 'invalid-argument', /names no device/],
    [{ name: 'nic0', mac }, 'invalid-argument', /in 2 ways/],
    [{ name: 'br9' }, 'unsupported', /device br9 cannot be given away/],
  ]
  for (const [parent, code, text] of cases) {
    const network = device('bad', parent)
    const error = await t.throwsAsync(attach(network, await put(network, 'bad', { sandbox })), undefined, JSON.stringify(parent))
    t.is((error as { code?: string } | undefined)?.code, code, error?.message)
    t.regex(error?.message ?? '', text)
    t.true(((error as { remedy?: string } | undefined)?.remedy ?? '') !== '')
  }
  const network = device('lan', { name: 'nic0' })
  await attach(network, await put(network, 'first'))
  for (const parent of [{ name: 'nic0' }, { mac }]) {
    const error = await t.throwsAsync(attach(device('other', parent), await put(network, 'bad', { sandbox })))
    t.regex(error?.message ?? '', /is given to endpoint first already/)
  }
  await detach('first')
  const refusedMtu = { ...network, mtu: 1 }
  t.like(await t.throwsAsync(attach(refusedMtu, await put(network, 'bad', { sandbox }))), { code: 'unsupported' })
  t.is(await ip('-o', 'link', 'show', 'nic0'), `${before.split('\n').find((line) => line.includes(' nic0@'))}\n`)
  t.deepEqual(await names(sandbox), ['lo'])
})
