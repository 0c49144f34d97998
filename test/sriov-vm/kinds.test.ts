// Kinds of network that need a kernel with ipvlan and VLANs, or a card that comes back by itself, through the CNI launcher: containers reach one another and the wire.
import { join } from 'node:path'
import { type HeddleProcess, LabScope, labDirectory } from '@heddle/testkit'
import test from 'ava'
import { type Container, startContainer } from './rig/container.ts'
import { eventually, type Host, startControl, startHost } from './rig/host.ts'

const scope = new LabScope()
let control: HeddleProcess
let host: Host
const wire = '02:00:00:00:00:77'

/** `p0` is a link of the host, the wire behind it ends at `w0`, which answers at .1 of every network. */
test.before(async () => {
  const dir = labDirectory(scope)
  control = await startControl(scope, join(dir, 'control'))
  host = await startHost(scope, { name: 'h1', dir: join(dir, 'h1'), control, vfs: 0 })
  await host.guest.run(`ip link add p0 address ${wire} type veth peer name w0
ip link set p0 up
ip link set w0 up
ip address add 10.81.0.1/24 dev w0
for vlan in 100 300; do
  ip link add link w0 name w0.$vlan type vlan id $vlan
  ip link set w0.$vlan up
done
ip address add 10.83.0.1/24 dev w0.100
ip address add 10.84.0.1/24 dev w0.300
ip route add default via 10.0.2.2`)
  // A host is told that a network is gone once it is known, for which it needs an underlay.
  await eventually('h1 is known', async () => (await control.cli(['host', 'ls'])).includes('h1'))
})
test.after.always(() => scope.close())

const network = (name: string, heddle: object) => ({ name, heddle })
const two = (name: string) => Promise.all([startContainer(host.guest, `${name}-a`), startContainer(host.guest, `${name}-b`)])
const links = async () => (await host.guest.run('ls /sys/class/net')).trim().split('\n')
const shown = async (container: Container) => JSON.parse(await container.run('ip -j -d link show net1'))[0]
const refusal = async (container: Container, config: object) => {
  const { code, json } = await container.cni('ADD', config)
  return code === 0 ? 'not refused' : `${json.msg} ${json.details}`
}

test.serial('ipvlan l2: containers share the MAC of the parent, reach one another and the wire, and one parent has one mode', async (t) => {
  const config = network('flat', { kind: 'ipvlan', parent: 'p0', subnets: ['10.81.0.0/24'] })
  const [a, b] = await two('flat')
  const [hasA, hasB] = [await a.add(config), await b.add(config)]
  t.deepEqual([hasA.mac, hasB.mac], [wire, wire])
  t.like(await shown(a), { address: wire, mtu: 1500, linkinfo: { info_kind: 'ipvlan', info_data: { mode: 'l2' } } })
  t.true(await a.reaches(hasB.address))
  t.true(await b.reaches('10.81.0.1'), 'the wire')
  t.deepEqual(await a.cni('CHECK', { ...config, prevResult: hasA.result }), { code: 0, json: undefined })
  t.regex(
    await refusal(await startContainer(host.guest, 'other'), network('l3', { kind: 'ipvlan', parent: { name: 'p0', mode: 'l3' } })),
    /has endpoint \S+ in mode l2/,
  )
  t.regex(
    await refusal(await startContainer(host.guest, 'another'), network('mac', { kind: 'macvlan', parent: 'p0' })),
    /macvlan and ipvlan exclude each other/,
  )
  for (const container of [a, b]) await container.remove(config)
  t.is((await a.run('ls /sys/class/net')).trim(), 'lo')
})

test.serial('ipvlan l3: containers reach one another, routed by the link', async (t) => {
  const config = network('routed', { kind: 'ipvlan', parent: { name: 'p0', mode: 'l3' }, subnets: ['10.82.0.0/24'] })
  const [a, b] = await two('routed')
  const [hasA, hasB] = [await a.add(config), await b.add(config)]
  t.like(await shown(a), { linkinfo: { info_kind: 'ipvlan', info_data: { mode: 'l3' } } })
  t.true(await a.reaches(hasB.address))
  t.deepEqual(await a.cni('CHECK', { ...config, prevResult: hasA.result }), { code: 0, json: undefined })
  for (const container of [a, b]) await container.remove(config)
})

test.serial('macvlan over a VLAN subinterface: it is made when it is missing, tags what leaves, and goes with its network', async (t) => {
  const config = network('tagged', { kind: 'macvlan', parent: 'p0.100', subnets: ['10.83.0.0/24'] })
  const [a, b] = await two('tagged')
  const [hasA, hasB] = [await a.add(config), await b.add(config)]
  t.true((await links()).includes('p0.100'))
  t.true(await a.reaches(hasB.address))
  t.true(await a.reaches('10.83.0.1'), 'VLAN 100 of the wire')
  t.deepEqual(await a.cni('CHECK', { ...config, prevResult: hasA.result }), { code: 0, json: undefined })
  await host.guest.run('ip link set p0.100 down')
  t.regex((await a.cni('CHECK', { ...config, prevResult: hasA.result })).json.msg, /its parent p0.100 is down/)
  for (const container of [a, b]) await container.remove(config)
  t.true((await links()).includes('p0.100'))
  await control.cli(['network', 'rm', 'tagged'])
  await eventually('the subinterface is gone', async () => !(await links()).includes('p0.100'))
})

test.serial('vlan: a container has a VLAN of the wire to itself, and the next is told so', async (t) => {
  const config = network('own', { kind: 'vlan', parent: { name: 'p0', vlan: 300 }, subnets: ['10.84.0.0/24'] })
  const [a, b] = await two('own')
  const hasA = await a.add(config)
  t.like(await shown(a), { address: hasA.mac, linkinfo: { info_kind: 'vlan', info_data: { id: 300 } } })
  t.true(await a.reaches('10.84.0.1'), 'VLAN 300 of the wire')
  t.deepEqual(await a.cni('CHECK', { ...config, prevResult: hasA.result }), { code: 0, json: undefined })
  t.regex(await refusal(b, config), /VLAN 300 of p0 has an interface already/)
  await a.remove(config)
  await b.add(config)
  await b.remove(config)
})

test.serial('host-device: a card is given away, and has its name again when the sandbox has ended under it', async (t) => {
  const config = network('card', { kind: 'host-device', parent: { pci: '0000:01:00.0' }, subnets: ['10.85.0.0/24'] })
  const before = await host.guest.run('cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu')
  const [a, b] = await two('card')
  const hasA = await a.add(config)
  t.is(hasA.mac, before.split('\n')[0] ?? '')
  t.false((await links()).includes('eth0'))
  t.regex(await refusal(b, config), /is given to endpoint \S+ already/)
  await a.vanish()
  await eventually('the card has its name again', async () => (await links()).includes('eth0'))
  t.is(await host.guest.run('cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu'), before)
  t.is((await host.guest.run('cat /sys/class/net/eth0/ifalias')).trim(), '')
  t.is((await a.cni('DEL', config)).code, 0)
  await b.add(config)
  await b.remove(config)
  t.true((await links()).includes('eth0'))
  t.deepEqual(await control.json(['endpoint', 'ls']), [])
})
