// One host with a card, from its discovery to the packets between containers, by CNI, by Docker, by DPDK's driver, and back to the baseline.
import { join } from 'node:path'
import { type HeddleProcess, LabScope, labDirectory } from '@heddle/testkit'
import test from 'ava'
import { type Container, startContainer } from './rig/container.ts'
import { startDockerd } from './rig/docker.ts'
import { pf } from './rig/guest.ts'
import { eventually, type Host, setVfs, startControl, startHost } from './rig/host.ts'
import { allReady, shapeOf, vfsOf } from './rig/vfs.ts'

const scope = new LabScope()
let control: HeddleProcess
let host: Host

test.before(async () => {
  const dir = labDirectory(scope)
  control = await startControl(scope, join(dir, 'control'))
  host = await startHost(scope, { name: 'h1', dir: join(dir, 'h1'), control, vfs: 0 })
})
test.after.always(() => scope.close())

/** The N of `ip link set PF vf N`. */
const indexOf = async (pci: string) => (await vfsOf(control, 'h1')).find((vf) => vf.pci === pci)?.index ?? 0
const ipam = { type: 'heddle', subnet: '10.80.0.0/16' }
const on = (vlan: number, more: object = {}) => ({ name: 'cards', pf: 'eth0', vlan, ipam, ...more })

test.serial('a card is found when its driver comes, and has 0 to 7 VFs and 0 again, each with its baseline', async (t) => {
  const [found] = await control.json(['pf', 'ls', '--host', 'h1'])
  t.like(found, { pci: pf, driver: 'igb', vendor: '8086', device: '10c9', totalVfs: 7, names: ['eth0'] })

  await setVfs(control, 'h1', 7)
  const seven = await allReady(control, 'h1', 7)
  t.deepEqual([...new Set(seven.map((vf) => vf.driver))], ['igbvf'])
  t.is(new Set(seven.map((vf) => vf.baseline?.mac)).size, 7)
  t.regex((await control.tryCli(['pf', 'set-vfs', 'eth0', '8', '--host', 'h1'])).stderr, /eth0.*7/s)

  await setVfs(control, 'h1', 0, pf)
  t.deepEqual(await vfsOf(control, 'h1'), [])
  await setVfs(control, 'h1', 4)
  const four = await allReady(control, 'h1', 4)
  t.false(
    seven.some((vf) => four.some((other) => other.generation === vf.generation)),
    'a VF made anew has another baseline',
  )
})

test.serial('containers of one VLAN reach each other through the card, others do not, a trunk reaches what it may', async (t) => {
  const before = (await allReady(control, 'h1', 4)).map(shapeOf)
  const [a, b, other, trunk] = (await Promise.all(['a', 'b', 'other', 'trunk'].map((name) => startContainer(host.guest, name)))) as [
    Container,
    Container,
    Container,
    Container,
  ]
  const configA = on(100, { vlanQoS: 3, max_tx_rate: 100, spoofchk: 'on', trust: 'on' })
  const trunked = { name: 'cards', pf: 'eth0', vlanTrunk: [{ id: 100 }], ipam }
  const [hasA, hasB, hasOther, hasTrunk] = [await a.add(configA), await b.add(on(100)), await other.add(on(200)), await trunk.add(trunked)]
  const set = (await host.guest.run('ip -d link show eth0')).split('\n').find((line) => line.includes('vlan 100, qos 3')) ?? ''
  for (const what of ['max_tx_rate 100', 'spoof checking on', 'trust on']) t.true(set.includes(what), `${what} in ${set}`)

  t.true(await a.reaches(hasB.address))
  t.true(await b.reaches(hasA.address))
  t.false(await a.reaches(hasOther.address, 3), 'another VLAN')
  t.false(await trunk.reaches(hasA.address, 3), 'untagged, a trunk is on no VLAN')
  await trunk.run(`ip address flush dev net1; ip address add ${hasTrunk.address}/16 dev net1.100`)
  t.true(await trunk.reaches(hasA.address))
  t.false(await other.reaches(hasB.address, 3), 'another VLAN')

  const check = { ...configA, prevResult: hasA.result }
  t.deepEqual(await a.cni('CHECK', check), { code: 0, json: undefined })
  t.regex(await control.cli(['who-has', hasA.mac]), new RegExp(hasA.pci))
  await host.guest.run(`ip link set eth0 vf ${await indexOf(hasA.pci)} vlan 7`)
  const { code, json } = await a.cni('CHECK', check)
  t.not(code, 0)
  t.regex(json.msg, /vlan is 7, not 100/)

  for (const [container, config] of [
    [a, configA],
    [b, on(100)],
    [other, on(200)],
    [trunk, trunked],
  ] as const)
    await container.remove(config)
  t.deepEqual((await allReady(control, 'h1', 4)).map(shapeOf), before)
  t.is((await trunk.run('ls /sys/class/net')).trim(), 'lo')
})

test.serial('a namespace deleted under its VF leaves the VF findable, and it is put back and free after DEL', async (t) => {
  const before = (await allReady(control, 'h1', 4)).map(shapeOf)
  const gone = await startContainer(host.guest, 'gone')
  const { pci } = await gone.add(on(300))
  await gone.vanish()
  await eventually('the netdev is back on the host', async () => (await host.guest.run(`ls /sys/bus/pci/devices/${pci}/net`)).trim() !== '')
  t.is((await gone.cni('DEL', on(300))).code, 0)
  t.deepEqual((await allReady(control, 'h1', 4)).map(shapeOf), before)
})

test.serial('what igb lacks is refused with setting, device and remedy, and costs neither VF nor address', async (t) => {
  const before = (await allReady(control, 'h1', 4)).map(shapeOf)
  const limited = await startContainer(host.guest, 'limited')
  for (const [option, setting, more] of [
    ['link_state', 'link_state disable', { link_state: 'disable' }],
    ['vlanProto', 'vlanProto 802.1ad', { vlanProto: '802.1ad' }],
  ] as const) {
    const { code, json } = await limited.cni('ADD', on(50, more))
    t.not(code, 0, option)
    t.regex(json.msg, new RegExp(`^PF eth0 does not take ${setting} for VF 0000:01:1.*; `), option)
    t.regex(json.details, /code: unsupported, field: \S+, .*device: eth0/, option)
    t.deepEqual((await allReady(control, 'h1', 4)).map(shapeOf), before, option)
  }
  t.is((await limited.run('ls /sys/class/net')).trim(), 'lo')
  t.deepEqual(await control.json(['endpoint', 'ls']), [])
})

test.serial('a VF is bound to vfio-pci for a container and comes back to its kernel driver', async (t) => {
  const before = (await allReady(control, 'h1', 4)).map(shapeOf)
  await control.cli(['vf', 'pool', 'create', 'dpdk', '--pf', 'eth0#3', '--bind', 'vfio-pci'])
  const user = await startContainer(host.guest, 'user')
  const config = { name: 'dpdk', vfPool: 'dpdk', vlan: 9 }
  const { pci } = await user.add(config)
  t.is((await host.guest.run(`basename $(readlink /sys/bus/pci/devices/${pci}/driver)`)).trim(), 'vfio-pci')
  t.is((await host.guest.run(`test -c /dev/vfio/$(basename $(readlink /sys/bus/pci/devices/${pci}/iommu_group)) && echo there`)).trim(), 'there')
  await user.remove(config)
  t.deepEqual((await allReady(control, 'h1', 4)).map(shapeOf), before)
})

test.serial('the commands that were written for an older plugin give containers of a real dockerd VFs, and take them back', async (t) => {
  const before = (await allReady(control, 'h1', 4)).map(shapeOf)
  const docker = await startDockerd(host.guest)
  await docker('network create -d sriov --internal --opt pf_iface=eth0 --opt vlanid=100 vfnet')
  await docker('run --net=vfnet -itd --name one busybox top')
  await docker('run --net=vfnet -itd --name two busybox top')
  const addressOf = (name: string) => docker(`inspect ${name} --format '{{.NetworkSettings.Networks.vfnet.IPAddress}}'`)
  t.regex(await docker(`exec one ping -q -c 1 -w 10 ${await addressOf('two')}`), /1 packets received/)
  t.is((await vfsOf(control, 'h1')).filter(({ state, claim }) => state === 'used' && claim !== undefined).length, 2)
  t.is((await host.guest.run('ip link show eth0')).split('vlan 100').length - 1, 2)
  await docker('rm --force one two')
  t.deepEqual((await allReady(control, 'h1', 4)).map(shapeOf), before)
  await docker('network rm vfnet')
  t.notRegex(await control.cli(['network', 'ls']), /vfnet/)
})
