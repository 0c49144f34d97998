// packages/kernel on a card: what the unit tests say with stand-ins, said by a driver.
import { join } from 'node:path'
import { withLab } from '@heddle/testkit'
import test from 'ava'
import { startGuest } from './rig/guest.ts'

test('VFs are made, set, read back, moved and bound to vfio-pci, and what igb lacks is named', async (t) => {
  await withLab(async ({ scope, dir }) => {
    const guest = await startGuest(scope, { name: 'port', dir: join(dir, 'port') })
    await guest.run('modprobe igb && modprobe igbvf && modprobe vfio-pci')
    const modprobe = ['#!/rig/busybox sh', 'echo "$*" >>/run/modules', 'exec /rig/modprobe "$@"'].map((line) => `'${line}'`).join(' ')
    await guest.run(`printf '%s\\n' ${modprobe} >/run/modprobe; chmod 755 /run/modprobe; echo /run/modprobe >/proc/sys/kernel/modprobe; touch /run/modules`)
    const seen = JSON.parse(await guest.run('node /proj/kernel-port.js'))
    t.like(seen.found, { driver: 'igb', totalVfs: 7, numVfs: 0, switchdev: false, netdevs: { length: 1 } })
    t.like(seen.made, { numVfs: 2, vfs: { 0: { driver: 'igbvf', index: 0 }, 1: { driver: 'igbvf', index: 1 } } })
    t.like(seen.tooMany, { code: 'kernel-refused', details: { errno: 'ERANGE' } })
    t.is(seen.madeAgain, 2, 'a number that is refused costs no VF')

    t.like(seen.fresh[0], { mac: '00:00:00:00:00:00', vlan: 0, spoofchk: true, trust: false })
    t.deepEqual(seen.set[0], {
      ...{ index: 0, mac: '02:00:00:00:00:10', vlan: 100, qos: 3, protocol: '802.1q', minTxRate: 0, maxTxRate: 100 },
      ...{ spoofchk: true, linkState: 'auto', trust: true },
    })
    t.deepEqual(seen.set[1], seen.fresh[1])
    t.like(seen.linkState, { code: 'unsupported', details: { setting: 'linkState' } })
    t.like(seen.qinq, { code: 'unsupported', details: { setting: 'vlan' } })
    t.like(seen.noSuchVf, { code: 'kernel-refused', details: { errno: 'EINVAL' } })

    t.not(seen.macBeforeRebind, '02:00:00:00:00:10', 'igbvf takes what its PF sets only when it is bound')
    t.is(seen.macAfterRebind, '02:00:00:00:00:10')
    t.like(seen.inside, { name: 'net1', alias: 'heddle:test', mac: '02:00:00:00:00:10', mtu: 1400, up: true })
    t.deepEqual(seen.outsideWhileIn, [], 'sysfs of the host tells nothing of a netdev elsewhere')
    t.notRegex(await guest.run('cat /run/modules'), /netdev-/, 'whether a name is free is asked without a modprobe')
    t.is(seen.trunk, 'vlan')
    t.like(seen.back, { alias: '', mtu: 1500, up: false, parentDevice: seen.inside.parentDevice })
    t.is(seen.orphan, 'net1', 'a namespace that dies gives the netdev back under the name it had there')

    t.deepEqual(seen.hasVfio, [true, false])
    t.like(seen.vfio, { driver: 'vfio-pci', netdevs: { length: 0 } })
    t.not(seen.vfio.iommuGroup, '')
    t.like(seen.kernelAgain, { driver: 'igbvf', driverOverride: '', netdevs: { length: 1 } })
    t.is(seen.gone, 0)
    for (const event of ['add net', 'remove net', 'add pci', 'remove pci', 'bind pci']) t.true(seen.events.includes(event), event)
  })
})
