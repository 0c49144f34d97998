// A host that lost its power under its containers: its VFs are made anew, and what the dead containers had is given to nobody before its time, nor kept.
import { join } from 'node:path'
import { startHeddle, withLab } from '@heddle/testkit'
import test from 'ava'
import { containerOf, startContainer } from './rig/container.ts'
import { type Host, setVfs, startControl, startHost } from './rig/host.ts'
import { allReady, freeAddresses, vfsOf } from './rig/vfs.ts'

const cards = { name: 'cards' }
const dpdk = { name: 'dpdk', vfPool: 'dpdk', vlan: 9 }
/** No sweep of the control deletes a record while the test runs; a claim without one goes soon. */
const patient = {
  networks: { graceMs: 3_600_000 },
  ipam: { graceMs: 20_000, sweepIntervalMs: 500 },
  vfAllocator: { graceMs: 20_000, sweepIntervalMs: 500 },
}

test('after a power failure late DELs free what dead containers had, what no DEL comes for is swept, and nobody else has it before', async (t) => {
  await withLab(async ({ scope, dir }) => {
    const control = await startControl(scope, join(dir, 'control'), patient)
    const start = (life: string, vfs: number): Promise<Host> => startHost(scope, { name: 'h1', dir: join(dir, life), control, vfs })
    const first = await start('first', 3)
    const before = await allReady(control, 'h1', 3)
    await control.cli([...['network', 'create', 'cards', '--kind', 'sriov', '--pf', 'eth0', '--vlan', '100'], ...['--subnet', '10.83.0.0/24']])
    await control.cli(['vf', 'pool', 'create', 'dpdk', '--pf', 'eth0#1', '--bind', 'vfio-pci'])
    const untouched = await freeAddresses(control)
    const attached = async (name: string, config: object) => (await startContainer(first.guest, name)).add(config)
    const user = await attached('user', dpdk)
    const [late, silent] = await Promise.all([attached('late', cards), attached('silent', cards)])
    t.is(new Set([user, late, silent].map((one) => one.pci)).size, 3)

    await first.guest.powerOff()
    const { guest } = await start('second', 0)
    // The container runtime tidies up after a start, before anybody has made VFs.
    t.deepEqual(await containerOf(guest, 'user').cni('DEL', dpdk), { code: 0, json: undefined })
    await setVfs(control, 'h1', 3)
    const after = await allReady(control, 'h1', 3)
    t.deepEqual(
      after.map(({ pci }) => pci),
      before.map(({ pci }) => pci),
    )
    for (const [index, vf] of after.entries()) {
      t.not(vf.generation, before[index]?.generation)
      t.not(vf.baseline?.mac, before[index]?.baseline?.mac, 'each generation has a baseline of its own')
      t.is(vf.driver, 'igbvf')
    }

    const [x, y, z] = [await startContainer(guest, 'x'), await startContainer(guest, 'y'), await startContainer(guest, 'z')]
    const hasX = await x.add(cards)
    t.is(hasX.pci, user.pci)
    const refused = await y.cni('ADD', cards)
    t.regex(JSON.stringify(refused.json), /vf-exhausted/, 'the others are those of the dead containers on record')
    t.deepEqual(await containerOf(guest, 'late').cni('DEL', cards), { code: 0, json: undefined })
    const hasY = await y.add(cards)
    t.is(hasY.pci, late.pci)
    t.true(await x.reaches(hasY.address))
    t.regex(JSON.stringify((await z.cni('ADD', cards)).json), /vf-exhausted/, 'nobody has said that this one is gone')
    t.false([hasX.address, hasY.address].includes(silent.address))

    // Another replica of networks, with less patience: to be swept is a matter of time only.
    await startHeddle(scope, {
      ...{ host: 'sweeper', dir: join(dir, 'sweeper'), services: ['networks'], nats: control.nats, etcd: control.etcd },
      config: { networks: { graceMs: 0, sweepIntervalMs: 500 } },
    })
    let hasZ = await z.cni('ADD', cards)
    for (let tries = 0; hasZ.code !== 0 && tries < 20; tries++) hasZ = await z.cni('ADD', cards)
    t.is(hasZ.code, 0, JSON.stringify(hasZ.json))
    t.is((await vfsOf(control, 'h1')).find(({ pci }) => pci === silent.pci)?.state, 'used')

    for (const container of [x, y, z]) await container.remove(cards)
    await allReady(control, 'h1', 3)
    t.deepEqual(await control.json(['endpoint', 'ls']), [])
    t.deepEqual(await freeAddresses(control), untouched)
  })
})
