// The made-up /sys refuses what the kernel refuses, and forgets what the kernel forgets.
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { type MadeUpSysfs, madeUpSysfs, presets, type SysfsDescription, vfAddress } from './index.ts'

const pf = '0000:3b:00.0'
const device = `bus/pci/devices/${pf}`

function made(t: ExecutionContext, description: SysfsDescription) {
  const tree = madeUpSysfs(description)
  t.teardown(() => tree.remove())
  return {
    tree,
    write: (path: string, value: string) => tree.write(join(tree.root, path), value),
    read: (path: string) => readFileSync(join(tree.root, path), 'utf8').trim(),
    link: (path: string) => basename(readlinkSync(join(tree.root, path))),
  }
}

test('sriov_numvfs: 4 to 5 is EBUSY, more than there are ERANGE, 0 removes all', async (t) => {
  const { tree, write, read } = made(t, { functions: [presets.igb({ numVfs: 4 })] })
  await t.throwsAsync(write(`${device}/sriov_numvfs`, '5'), { code: 'EBUSY' })
  await t.throwsAsync(write(`${device}/sriov_numvfs`, '8'), { code: 'ERANGE' })
  t.is(read(`${device}/sriov_numvfs`), '4')
  await write(`${device}/sriov_numvfs`, '0')
  t.deepEqual(tree.vfs(pf), [])
  t.deepEqual(readdirSync(join(tree.root, 'bus/pci/devices')), [pf])
  await write(`${device}/sriov_numvfs`, '7')
  t.is(tree.vfs(pf).length, 7)
})

test('a PF without its driver makes no VFs, and loses those it has with it', async (t) => {
  const { tree, write } = made(t, { functions: [presets.igb({ numVfs: 2 })] })
  await write('bus/pci/drivers/igb/unbind', pf)
  t.deepEqual(tree.vfs(pf), [])
  await t.throwsAsync(write(`${device}/sriov_numvfs`, '1'), { code: 'ENOENT' })
})

test('a driver takes only what it matches: by its ids, or by override alone', async (t) => {
  const { tree, write, link } = made(t, { functions: [presets.igb({ numVfs: 1 })] })
  const [vf = ''] = tree.vfs(pf)
  await t.throwsAsync(write('bus/pci/drivers/vfio-pci/bind', vf), { code: 'EBUSY' })
  await write('bus/pci/drivers/igbvf/unbind', vf)
  await t.throwsAsync(write('bus/pci/drivers/igbvf/unbind', vf), { code: 'ENODEV' })
  await t.throwsAsync(write('bus/pci/drivers/vfio-pci/bind', vf), { code: 'ENODEV' })
  await write(`bus/pci/devices/${vf}/driver_override`, 'vfio-pci\n')
  await t.throwsAsync(write('bus/pci/drivers/igbvf/bind', vf), { code: 'ENODEV' })
  await write('bus/pci/drivers_probe', vf)
  t.is(link(`bus/pci/devices/${vf}/driver`), 'vfio-pci')
  t.false(existsSync(join(tree.root, 'class/net/eth0v0')))
  await t.throwsAsync(write('bus/pci/drivers_probe', '0000:ff:00.0'), { code: 'ENODEV' })
})

test('without autoprobe a VF is bound by override only', async (t) => {
  const { tree, write } = made(t, { functions: [presets.driverless({ numVfs: 1 })] })
  const [vf = ''] = tree.vfs(pf)
  await t.throwsAsync(write('bus/pci/drivers/igbvf/bind', vf), { code: 'ENODEV' })
  await write(`bus/pci/devices/${vf}/driver_override`, 'igbvf')
  await write('bus/pci/drivers/igbvf/bind', vf)
  t.true(existsSync(join(tree.root, 'class/net/eth0v0/address')))
})

test('links lead where those of the kernel lead', (t) => {
  const { tree, link } = made(t, { functions: [presets.vmd({ numVfs: 2 })] })
  const [, vf = ''] = tree.vfs('10000:01:00.0')
  t.is(link('bus/pci/devices/10000:01:00.0/virtfn1'), vf)
  t.is(link(`bus/pci/devices/${vf}/physfn`), '10000:01:00.0')
  t.is(link('class/net/eth0v1/device'), vf)
  t.is(link(`bus/pci/drivers/ixgbevf/${vf}`), vf)
  t.is(vfAddress('0000:03:00.0', { offset: 250, stride: 10 }, 1), '0000:04:00.4')
})

test('the same seed gives the same MACs, another seed others', (t) => {
  const macs = (seed: string) => {
    const { tree, read } = made(t, { functions: [presets.mlx4({ numVfs: 2 })], seed })
    return readdirSync(join(tree.root, 'class/net')).map((name) => read(`class/net/${name}/address`))
  }
  t.deepEqual(macs('a'), macs('a'))
  t.is(new Set([...macs('a'), ...macs('b')]).size, 12)
})

test('a netdev that is away is not touched by what happens here, and does not outlive its VF', async (t) => {
  const { tree, write } = made(t, { functions: [presets.igb({ numVfs: 2 })] })
  const vf = tree.takeNetdev('eth0v1')
  t.is(tree.away(vf), 1)
  t.deepEqual(tree.netdevs(vf), [])
  await write('bus/pci/drivers/igbvf/unbind', vf)
  await write('bus/pci/drivers_probe', vf)
  t.is(tree.away(vf), 0)
  t.deepEqual(tree.netdevs(vf), ['eth0v1'])
  tree.takeNetdev('eth0v1')
  tree.returnNetdev(vf, 'dev9')
  t.true(existsSync(join(tree.root, `bus/pci/devices/${vf}/net/dev9`)))
  t.throws(() => tree.takeNetdev('eth0v1'), { instanceOf: RangeError })
})

test('no inode is given twice, and nothing stays when it is removed', (t) => {
  const tree: MadeUpSysfs = madeUpSysfs({ functions: [presets.igb({ numVfs: 7 })] })
  const inodes = () => tree.vfs(pf).map((vf) => statSync(join(tree.root, 'bus/pci/devices', vf)).ino)
  const seen = new Set(inodes())
  for (let turn = 1; turn <= 3; turn++) {
    tree.setNumVfs(pf, 7)
    for (const inode of inodes()) seen.add(inode)
  }
  t.is(seen.size, 28)
  tree.remove()
  t.false(existsSync(join(tree.root, '..')))
})
