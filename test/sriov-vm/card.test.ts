// The card itself: found, its VFs made and removed, and the kernel's parts of Heddle on it.
import { join } from 'node:path'
import { withLab } from '@heddle/testkit'
import test from 'ava'
import { pf } from './rig/guest.ts'
import { startControl, startHost } from './rig/host.ts'
import { allReady, vfsOf } from './rig/vfs.ts'

test('a card is found when its driver comes, and has 0 to 7 VFs and 0 again, each with its baseline', async (t) => {
  await withLab(async ({ scope, dir }) => {
    const control = await startControl(scope, join(dir, 'control'))
    const { guest } = await startHost(scope, { name: 'h1', dir: join(dir, 'h1'), control, vfs: 0 })
    const [found] = await control.json(['pf', 'ls', '--host', 'h1'])
    t.like(found, { pci: pf, driver: 'igb', vendor: '8086', device: '10c9', totalVfs: 7, names: ['eth0'] })

    await control.cli(['pf', 'set-vfs', 'eth0', '7', '--host', 'h1'])
    const seven = await allReady(control, 'h1', 7)
    t.deepEqual([...new Set(seven.map((vf) => vf.driver))], ['igbvf'])
    t.is(new Set(seven.map((vf) => vf.baseline?.mac)).size, 7)
    t.regex((await t.throwsAsync(control.cli(['pf', 'set-vfs', 'eth0', '8', '--host', 'h1'])))?.message ?? '', /7/)

    await control.cli(['pf', 'set-vfs', pf, '2', '--host', 'h1'])
    const two = await allReady(control, 'h1', 2)
    t.false(
      seven.some((vf) => two.some((other) => other.generation === vf.generation)),
      'a VF made anew has another baseline',
    )
    await control.cli(['pf', 'set-vfs', 'eth0', '0', '--host', 'h1'])
    t.deepEqual(await vfsOf(control, 'h1'), [])
    t.is((await guest.run(`cat /sys/bus/pci/devices/${pf}/sriov_numvfs`)).trim(), '0')
  })
})
