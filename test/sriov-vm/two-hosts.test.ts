// Two hosts whose cards are on one wire: one network, one pool of addresses of each family, packets across, and nothing left.
import { join } from 'node:path'
import { withLab } from '@heddle/testkit'
import test from 'ava'
import { type Container, startContainer } from './rig/container.ts'
import { startControl, startHost } from './rig/host.ts'
import { allReady, freeAddresses, shapeOf } from './rig/vfs.ts'

const fast = { name: 'fast' }
const slow = { name: 'slow' }

test('containers of two hosts share a network and its addresses and reach each other by their cards, those of another VLAN do not', async (t) => {
  await withLab(async ({ scope, dir }) => {
    const control = await startControl(scope, join(dir, 'control'))
    const host = (name: string, end: 'first' | 'second') =>
      startHost(scope, { name, dir: join(dir, name), control, vfs: 2, wire: { path: join(dir, 'wire'), end } })
    const [h1, h2] = await Promise.all([host('h1', 'first'), host('h2', 'second')])
    const before = (await Promise.all(['h1', 'h2'].map((name) => allReady(control, name, 2)))).map((vfs) => vfs.map(shapeOf))
    const both = ['--subnet', '10.81.0.0/24', '--subnet', 'fd00:81::/64']
    await control.cli(['network', 'create', 'fast', '--kind', 'sriov', '--pf', 'eth0', '--vlan', '100', ...both])
    await control.cli(['network', 'create', 'slow', '--kind', 'sriov', '--pf', 'eth0', '--vlan', '200', '--subnet', '10.82.0.0/24'])
    const untouched = await freeAddresses(control)

    const [a, b, other] = (await Promise.all([startContainer(h1.guest, 'a'), startContainer(h2.guest, 'b'), startContainer(h2.guest, 'other')])) as [
      Container,
      Container,
      Container,
    ]
    const [hasA, hasB, hasOther] = await Promise.all([a.add(fast), b.add(fast), other.add(slow)])
    const families = ({ addresses }: { addresses: readonly string[] }) => addresses.map((address) => address.replace(/[^.:]+$/, ''))
    t.deepEqual(families(hasA), ['10.81.0.', 'fd00:81::'])
    t.deepEqual(families(hasB), families(hasA))
    t.is(new Set([...hasA.addresses, ...hasB.addresses]).size, 4, 'one pool for both hosts')

    // As one whose addresses are meant to reach: only its VLAN keeps it apart.
    await other.run('ip address add 10.81.0.200/24 dev net1; ip address add fd00:81::200/64 dev net1 nodad')
    const [toA, toB] = [hasA.addresses, hasB.addresses]
    const reached = await Promise.all([...toB.map((address) => a.reaches(address)), ...toA.map((address) => b.reaches(address))])
    t.deepEqual(reached, [true, true, true, true])
    const astray = await Promise.all([...toA, ...toB].map((address) => other.reaches(address)))
    t.deepEqual(astray, [false, false, false, false], 'another VLAN, of the other host and of its own')
    t.deepEqual(await Promise.all(toB.map((address) => sumAcross(a, b, address))), [sumOfMegabyte, sumOfMegabyte])

    const used = ((await control.json(['vf', 'ls'])) as Shown[]).filter(({ vf }) => vf.state === 'used')
    const places = [
      ['h1', hasA, a, 'fast'],
      ['h2', hasB, b, 'fast'],
      ['h2', hasOther, other, 'slow'],
    ] as const
    t.deepEqual(
      used.map(({ vf, endpoint }) => [vf.host, vf.pci, endpoint?.containerId, endpoint?.networkName].join()).sort(),
      places.map(([name, { pci }, container, network]) => [name, pci, container.name, network].join()).sort(),
    )
    for (const [name, { addresses, mac, pci }, container] of places) {
      for (const question of [...addresses, mac, container.name]) {
        const { endpoints, vfs } = await control.json(['who-has', question])
        t.deepEqual([endpoints.length, endpoints[0]?.containerId, endpoints[0]?.host], [1, container.name, name], question)
        t.like(vfs, { 0: { host: name, pci }, length: 1 }, question)
      }
    }

    await Promise.all([a.remove(fast), b.remove(fast), other.remove(slow)])
    const after = await Promise.all(['h1', 'h2'].map((name) => allReady(control, name, 2)))
    t.deepEqual(
      after.map((vfs) => vfs.map(shapeOf)),
      before,
    )
    t.deepEqual(await control.json(['endpoint', 'ls']), [])
    t.deepEqual(await freeAddresses(control), untouched)
    for (const container of [a, b, other]) t.is((await container.run('ls /sys/class/net')).trim(), 'lo')
  })
})

interface Shown {
  readonly vf: { readonly host: string; readonly pci: string; readonly state: string }
  readonly endpoint?: { readonly containerId: string; readonly networkName: string }
}

/** SHA-256 of 1,000,000 zero bytes. */
const sumOfMegabyte = 'd29751f2649b32ff572b5e0a9f541ea660a50f94ff0beedfb0b692b924cc8025'
let port = 7000

/** A megabyte by TCP, and what the other end says of it. */
async function sumAcross(from: Container, to: Container, address: string): Promise<string> {
  const at = ++port
  const served = to.run(`timeout 40 /rig/nc -l -p ${at} -e /usr/bin/sha256sum`)
  const sum = await from.run(`for try in {1..20}; do head -c 1000000 /dev/zero | timeout 30 /rig/nc ${address} ${at} && exit; sleep 0.5; done; exit 1`)
  await served
  return sum.split(' ')[0] ?? ''
}
