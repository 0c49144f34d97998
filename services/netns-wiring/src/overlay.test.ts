/** Overlay networks between two hosts on the real kernel. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { macOf } from '@heddle/core'
import test from 'ava'
import { bridgeName, hostEndName, vxlanName } from './domain/names.ts'
import { inside, Lab, pings, sh, until, type WiredHost, within } from './testing/lab.ts'

let lab: Lab
let one: WiredHost
let two: WiredHost
const blue = () => lab.brains.network({ id: 'blue', kind: 'overlay', vni: 4097 })
const a = { id: 'ep-a', addresses: ['10.1.0.2/24', 'fd00:1::2/64'] }
const b = { id: 'ep-b', addresses: ['10.1.0.3/24', 'fd00:1::3/64'] }
const macB = macOf('ep-b')

async function detach(host: WiredHost, id: string): Promise<void> {
  await within((call) => host.wiring.detach({ endpointId: id }, call))
  lab.brains.delete(id)
}

/** Packets a link of the fabric has received and sent. */
async function packets(host: WiredHost, link: string): Promise<{ rx: number; tx: number }> {
  const [{ stats64 }] = JSON.parse(await inside(host.fabric, 'ip', '-j', '-s', 'link', 'show', link))
  return { rx: stats64.rx.packets, tx: stats64.tx.packets }
}

test.before(async () => {
  lab = await Lab.create(['h1', 'h2'])
  one = await lab.start('h1')
  two = await lab.start('h2')
  await until('both hosts are registered', () => lab.brains.hosts.size === 2)
})
test.after.always(async () => {
  await lab.close()
})

test.serial('two endpoints on two hosts reach each other by IPv4 and IPv6, both ways', async (t) => {
  const ends = [await lab.attach(one, blue(), a.id, a.addresses), await lab.attach(two, blue(), b.id, b.addresses)]
  const [sandboxA = '', sandboxB = ''] = ends.map(({ sandbox }) => sandbox)
  await until('peers are programmed', async () => (await inside(one.fabric, 'bridge', 'fdb')).includes(macB))
  for (const [sandbox, address] of [
    [sandboxA, '10.1.0.3'],
    [sandboxA, 'fd00:1::3'],
    [sandboxB, '10.1.0.2'],
    [sandboxB, 'fd00:1::2'],
  ] as const)
    t.true(await pings(sandbox, address), address)
  t.regex(await inside(sandboxA, 'ip', 'link', 'show', 'eth0'), / mtu 1450 /)
})

test.serial('a TCP stream crosses the overlay', async (t) => {
  const [sandboxA = '', sandboxB = ''] = [a.id, b.id].map((id) => lab.brains.endpoints.get(id)?.sandbox)
  const server = inside(sandboxB, 'iperf3', '-s', '-1')
  await until('the server listens', async () => (await inside(sandboxB, 'ss', '-Hltn')).includes(':5201'))
  const report = JSON.parse(await inside(sandboxA, 'iperf3', '-J', '-c', '10.1.0.3', '-n', '20M'))
  // Less than was sent: what still waits in the socket when the client says it is done is not counted.
  t.true(report.end.sum_received.bytes >= 2_000_000)
  await server
})

test.serial('ARP and ND stay on the host: the bridge answers for the peer', async (t) => {
  const sandboxA = lab.brains.endpoints.get(a.id)?.sandbox ?? ''
  await inside(sandboxA, 'ip', 'neigh', 'flush', 'all')
  const before = (await packets(two, hostEndName(b.id))).tx
  t.true(await pings(sandboxA, '10.1.0.3', 1))
  t.true(await pings(sandboxA, 'fd00:1::3', 1))
  const broadcasts = (await packets(two, hostEndName(b.id))).tx - before
  t.true((await inside(sandboxA, 'ip', 'neigh')).includes(macB))
  // Two echo requests and what B's own neighbour discovery asks back; an ARP broadcast of A would come on top.
  t.true(broadcasts <= 4, `${broadcasts} frames reached the peer`)
})

test.serial('an address nobody has is neither answered nor flooded over the underlay', async (t) => {
  const sandboxA = lab.brains.endpoints.get(a.id)?.sandbox ?? ''
  const sent = async () => (await packets(one, vxlanName('blue'))).tx
  const before = await sent()
  t.false(await pings(sandboxA, '10.1.0.99', 1))
  t.is(await sent(), before)
})

test.serial('who talked to an address hears at once that another endpoint has it, though ARP does not cross the underlay', async (t) => {
  const sandboxA = lab.brains.endpoints.get(a.id)?.sandbox ?? ''
  const believes = async () => [...(await inside(sandboxA, 'ip', 'neigh')).matchAll(/^(\S*:3|10\.1\.0\.3) .*lladdr (\S+)/gm)].map(([, , mac]) => mac)
  t.deepEqual(new Set(await believes()), new Set([macB]))
  await detach(two, b.id)
  await lab.attach(two, blue(), 'ep-c', b.addresses)
  await until('it is believed', async () => (await believes()).every((mac) => mac === macOf('ep-c')))
  t.true(await pings(sandboxA, '10.1.0.3', 1))
  await detach(two, 'ep-c')
  await lab.attach(two, blue(), b.id, b.addresses)
  await until('the first is believed again', async () => (await believes()).every((mac) => mac === macB))
})

test.serial('a spoofed source MAC does not leave its port', async (t) => {
  const sandboxA = lab.brains.endpoints.get(a.id)?.sandbox ?? ''
  await inside(sandboxA, 'ip', 'link', 'set', 'eth0', 'address', '02:66:66:66:66:66')
  t.false(await pings(sandboxA, '10.1.0.3', 1))
  await inside(sandboxA, 'ip', 'link', 'set', 'eth0', 'address', macOf(a.id))
  t.true(await pings(sandboxA, '10.1.0.3'))
})

test.serial('drift planted by hand is named by Check and repaired', async (t) => {
  const endpoint = lab.brains.endpoints.get(a.id)
  const hx = vxlanName('blue')
  const hb = bridgeName('blue')
  const plant = [
    async () => await inside(one.fabric, 'bridge', 'fdb', 'replace', macB, 'dev', hx, 'dst', lab.address(77), 'self', 'permanent'),
    async () => await inside(one.fabric, 'ip', 'neigh', 'del', '10.1.0.3', 'dev', hb),
    async () => await inside(one.fabric, 'bridge', 'fdb', 'del', macB, 'dev', hx, 'master'),
  ]
  for (const [index, act] of plant.entries()) {
    await act()
    const { differences } = await within((call) => one.wiring.check({ network: blue(), endpoint, routes: [] }, call))
    t.is(differences.length, 1, `${index}: ${differences.join('; ')}`)
    await one.reconcile()
    await until(
      `drift ${index} is repaired`,
      async () => (await within((call) => one.wiring.check({ network: blue(), endpoint, routes: [] }, call))).differences.length === 0,
    )
  }
  await inside(one.fabric, 'bridge', 'link', 'set', 'dev', hx, 'learning', 'on', 'neigh_suppress', 'off')
  await inside(one.fabric, 'bridge', 'link', 'set', 'dev', hostEndName(a.id), 'locked', 'off')
  await one.reconcile()
  const link = await within((call) => one.kernel.link({ path: one.fabric }, hx, call))
  t.like(link?.port, { learning: false, neighbourSuppress: true })
  const port = await within((call) => one.kernel.link({ path: one.fabric }, hostEndName(a.id), call))
  t.true(port?.port?.locked)
  t.true(await pings(endpoint?.sandbox ?? '', '10.1.0.3'))
})

test.serial('a deleted VXLAN device and a deleted bridge are rebuilt without being asked', async (t) => {
  const sandboxA = lab.brains.endpoints.get(a.id)?.sandbox ?? ''
  for (const device of [vxlanName('blue'), bridgeName('blue')]) {
    await inside(one.fabric, 'ip', 'link', 'del', device)
    await until(`${device} is back`, async () => (await inside(one.fabric, 'bridge', 'fdb')).includes(`${macB} dev ${vxlanName('blue')} dst`), 3000)
    await until('traffic flows again', async () => await pings(sandboxA, '10.1.0.3', 1))
  }
  t.pass()
})

test.serial('a stranger with the right VNI cannot inject frames; a foreign VNI is left alone', async (t) => {
  // A third address of the underlay, on host 2's own link, which is no member's VTEP.
  await inside(two.lab.path, 'ip', 'address', 'add', `${lab.address(200)}/24`, 'dev', 'eth0')
  const send = (vni: number) =>
    inside(
      two.lab.path,
      process.execPath,
      '-e',
      `const s = require('dgram').createSocket('udp4')
       const frame = Buffer.from('08000000${vni.toString(16).padStart(6, '0')}00' + 'ffffffffffff' + '026666666666' + '0806' + '00'.repeat(46), 'hex')
       s.bind(0, '${lab.address(200)}', () => s.send(frame, 4789, '${one.lab.address}', () => s.close()))`,
    )
  const received = async () => (await packets(one, vxlanName('blue'))).rx
  const dropped = async () =>
    Number(/\n\s+counter packets (\d+)/.exec(await inside(one.lab.path, 'nft', 'list', 'chain', 'inet', 'heddle-vxlan', 'member'))?.[1])
  const before = { received: await received(), dropped: await dropped() }
  await send(4097)
  await until('the frame is counted as dropped', async () => (await dropped()) > before.dropped)
  t.is(await received(), before.received)
  const count = await dropped()
  await send(9999)
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.is(await dropped(), count)
  await inside(two.lab.path, 'ip', 'address', 'del', `${lab.address(200)}/24`, 'dev', 'eth0')
})

test.serial('a lost delta is made up for by a reconnection', async (t) => {
  lab.brains.deaf = true
  lab.brains.put({ id: 'ep-c', networkId: 'blue', host: 'h2', mac: macOf('ep-c'), addresses: ['10.1.0.4/24'] })
  lab.brains.deaf = false
  t.false((await inside(one.fabric, 'bridge', 'fdb')).includes(macOf('ep-c')))
  one.bus.disconnect()
  one.bus.connect()
  await until('the missed peer is there', async () => (await inside(one.fabric, 'bridge', 'fdb')).includes(macOf('ep-c')))
  lab.brains.delete('ep-c')
  await until('and gone again', async () => !(await inside(one.fabric, 'bridge', 'fdb')).includes(macOf('ep-c')))
})

test.serial('a host that changes its underlay address registers again and traffic follows', async (t) => {
  await inside(two.lab.path, 'ip', 'address', 'del', `${two.lab.address}/24`, 'dev', 'eth0')
  await inside(two.lab.path, 'ip', 'address', 'add', `${lab.address(42)}/24`, 'dev', 'eth0')
  await until('the new address is registered', () => lab.brains.hosts.get('h2')?.vtep === lab.address(42))
  await until('the peer points to it', async () => (await inside(one.fabric, 'bridge', 'fdb')).includes(`dst ${lab.address(42)}`))
  const sandboxA = lab.brains.endpoints.get(a.id)?.sandbox ?? ''
  await until('traffic flows', async () => await pings(sandboxA, '10.1.0.3', 1))
  t.true(await pings(lab.brains.endpoints.get(b.id)?.sandbox ?? '', '10.1.0.2'))
})

test.serial('a restart with nothing changed writes nothing and loses no packet', async (t) => {
  const sandboxA = lab.brains.endpoints.get(a.id)?.sandbox ?? ''
  const ping = spawn('nsenter', [`--net=${sandboxA}`, 'busybox', 'ping', '-i', '0.05', '-c', '40', '-W', '1', '-q', '10.1.0.3'])
  let text = ''
  ping.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await one.stop()
  one = await lab.start('h1')
  await one.reconcile()
  await once(ping, 'close')
  t.regex(text, /40 packets transmitted, 40 packets received/)
  t.deepEqual(one.writes, [])
  const { attachments } = await within((call) => one.wiring.listAttachments({}, call))
  t.deepEqual(attachments, [{ endpointId: a.id, networkId: 'blue', hostInterface: hostEndName(a.id), inSandbox: true }])
})

test.serial('an endpoint is told from its record: what is wrong is named', async (t) => {
  const endpoint = lab.brains.endpoints.get(a.id)
  const sandbox = endpoint?.sandbox ?? ''
  const check = async () =>
    (await within((call) => one.wiring.check({ network: blue(), endpoint, routes: [{ destination: '10.7.0.0/16', gateway: '10.1.0.1' }] }, call))).differences
  t.deepEqual(await check(), ['route 10.7.0.0/16 by 10.1.0.1 is not on eth0'])
  await inside(sandbox, 'ip', 'route', 'add', '10.7.0.0/16', 'via', '10.1.0.1')
  t.deepEqual(await check(), [])
  await inside(sandbox, 'ip', 'address', 'del', '10.1.0.2/24', 'dev', 'eth0')
  await inside(sandbox, 'ip', 'link', 'set', 'eth0', 'mtu', '1400')
  const wrong = await check()
  t.true(wrong.includes('address 10.1.0.2/24 is not on eth0') && wrong.includes('eth0 has MTU 1400, it should be 1450'), wrong.join('; '))
  await within((call) => one.wiring.attach({ network: blue(), endpoint, routes: [{ destination: '10.7.0.0/16', gateway: '10.1.0.1' }] }, call))
  t.false((await check()).includes('address 10.1.0.2/24 is not on eth0'))
})

test.serial('detaching takes everything of the endpoint away, and a second time finds nothing', async (t) => {
  t.true((await within((call) => one.wiring.detach({ endpointId: a.id }, call))).existed)
  t.false((await within((call) => one.wiring.detach({ endpointId: a.id }, call))).existed)
  t.false((await inside(one.fabric, 'ip', 'link')).includes(hostEndName(a.id)))
  lab.brains.delete(a.id)
  await until('the peers forget it', async () => !(await inside(two.fabric, 'bridge', 'fdb')).includes(macOf(a.id)))
  t.false((await inside(two.fabric, 'ip', 'neigh')).includes('10.1.0.2'))
})

test.serial('an endpoint whose sandbox has ended is detached, and its network removed on demand', async (t) => {
  const sandbox = lab.brains.endpoints.get(b.id)?.sandbox ?? ''
  await t.throwsAsync(
    within((call) => two.wiring.removeNetwork({ networkId: 'blue' }, call)),
    { message: /has endpoints on host h2/ },
  )
  await sh('ip', 'netns', 'delete', sandbox.split('/').at(-1) ?? '')
  await within((call) => two.wiring.detach({ endpointId: b.id }, call))
  lab.brains.delete(b.id)
  for (const host of [one, two]) {
    await within((call) => host.wiring.removeNetwork({ networkId: 'blue' }, call))
    const { inventory } = await within((call) => host.wiring.inspect({}, call))
    t.deepEqual(inventory, { links: 0, fdbEntries: 0, neighbours: 0, namespaces: 0, publishedPorts: 0, networks: 0 })
    t.notRegex(await inside(host.lab.path, 'nft', 'list', 'table', 'inet', 'heddle-vxlan'), /elements = \{ (10\.|0x)/)
  }
})
