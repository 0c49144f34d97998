// What is written to sysfs, in which order, and what is left when the kernel refuses.
import { HeddleError, withCall } from '@heddle/core'
import { type MadeUpSysfs, madeUpSysfs, presets, type SysfsDescription } from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'
import { openSysfs } from './open.ts'
import type { Sysfs } from './types.ts'

interface Opened {
  readonly tree: MadeUpSysfs
  readonly sysfs: Sysfs
  readonly vf: string
}

function opened(t: ExecutionContext, description: SysfsDescription): Opened {
  const tree = madeUpSysfs(description)
  t.teardown(() => tree.remove())
  return { tree, sysfs: openSysfs(tree.root, tree), vf: tree.vfs(pf)[0] ?? '' }
}

const pf = '0000:3b:00.0'
const soon = { timeoutMs: 60_000 }
const refuse = (errno: string) => Object.assign(new Error(errno), { code: errno })
const setNumVfs = (sysfs: Sysfs, count: number, autoprobe?: boolean) =>
  withCall(soon, (call) => sysfs.setNumVfs(pf, count, autoprobe === undefined ? {} : { autoprobe }, call))
const bind = (sysfs: Sysfs, pci: string, driver: string) => withCall(soon, (call) => sysfs.bind(pci, driver, call))
const numVfs = async (sysfs: Sysfs) => (await sysfs.physicalFunction(pf))?.numVfs
const state = async (sysfs: Sysfs, vf: string) => {
  const { driver, driverOverride, netdevs } = (await sysfs.virtualFunction(vf)) ?? t404()
  return { driver, driverOverride, netdevs: netdevs.map(({ name }) => name) }
}
const t404 = (): never => {
  throw new Error('there is no such VF')
}

async function refusal(t: ExecutionContext, promise: Promise<unknown>): Promise<HeddleError> {
  const error = await t.throwsAsync(promise)
  t.true(HeddleError.is(error), String(error))
  return error as HeddleError
}

test('from one number of VFs to another goes through none; the number there is costs nothing', async (t) => {
  const { tree, sysfs } = opened(t, { functions: [presets.igb({ numVfs: 4 })] })
  await setNumVfs(sysfs, 4)
  t.deepEqual(tree.written, [])
  await setNumVfs(sysfs, 5)
  t.deepEqual(tree.written, [`bus/pci/devices/${pf}/sriov_numvfs=0`, `bus/pci/devices/${pf}/sriov_numvfs=5`])
  t.is((await sysfs.physicalFunction(pf))?.vfs.length, 5)
  await setNumVfs(sysfs, 0)
  t.deepEqual((await sysfs.physicalFunction(pf))?.vfs, [])
})

test('more VFs than the card has are refused before those that there are go', async (t) => {
  const { tree, sysfs } = opened(t, { functions: [presets.igb({ numVfs: 4 })] })
  const error = await refusal(t, setNumVfs(sysfs, 8))
  t.like(error, { code: 'kernel-refused', field: 'numVfs', details: { errno: 'ERANGE', value: '8' } })
  t.regex(error.remedy ?? '', /7 VFs at most/)
  t.deepEqual(tree.written, [])
  for (const count of [-1, 1.5, Number.NaN]) t.is((await refusal(t, setNumVfs(sysfs, count))).code, 'invalid-argument')
})

test('a device that can have no VFs is named as such', async (t) => {
  const { sysfs } = opened(t, { functions: [presets.plain({ pci: pf })] })
  t.is((await refusal(t, setNumVfs(sysfs, 1))).code, 'pf-unknown')
})

test('VFs that somebody else made meanwhile: EBUSY and what to do', async (t) => {
  const { tree, sysfs } = opened(t, { functions: [presets.igb()] })
  tree.beforeWrite = () => {
    tree.beforeWrite = () => {}
    tree.setNumVfs(pf, 2)
  }
  const error = await refusal(t, setNumVfs(sysfs, 4))
  t.like(error, { code: 'kernel-refused', details: { errno: 'EBUSY', value: '4' } })
  t.regex(error.sentence, /in use.*heddle vf ls/)
  t.true(error.details['path']?.endsWith('sriov_numvfs'))
})

test('a driver that fails to make as many gets the number back that there was', async (t) => {
  const { tree, sysfs } = opened(t, { functions: [presets.igb({ numVfs: 2 })] })
  tree.beforeWrite = (_, value) => {
    if (value === '5') throw refuse('ENOMEM')
  }
  const error = await refusal(t, setNumVfs(sysfs, 5, false))
  t.like(error, { details: { errno: 'ENOMEM' } })
  t.regex(error.remedy ?? '', /pci=realloc/)
  t.like(await sysfs.physicalFunction(pf), { numVfs: 2, driversAutoprobe: true })
})

test('a /sys that is mounted read-only says so', async (t) => {
  const { tree, sysfs } = opened(t, { functions: [presets.igb()] })
  tree.beforeWrite = () => {
    throw refuse('EROFS')
  }
  t.regex((await refusal(t, setNumVfs(sysfs, 1))).sentence, /EROFS.*mounted writable/)
})

test('VFs may be left without driver', async (t) => {
  const { sysfs } = opened(t, { functions: [presets.igb({ numVfs: 1 })] })
  await setNumVfs(sysfs, 2, false)
  t.like(await sysfs.physicalFunction(pf), { driversAutoprobe: false, vfs: [{ driver: '' }, { driver: '' }] })
  await setNumVfs(sysfs, 1, true)
  t.like(await sysfs.physicalFunction(pf), { driversAutoprobe: true, vfs: [{ driver: 'igbvf' }] })
})

test('a write that hangs: the caller is answered, the next one waits for it, and a call over by its turn begins nothing', async (t) => {
  const { tree, sysfs } = opened(t, { functions: [presets.igb(), presets.ixgbe({ pci: '0000:5e:00.0', name: 'eth1' })] })
  let release = () => {}
  tree.beforeWrite = (path, value) => (path.includes(pf) && value === '3' ? new Promise((resolve) => (release = resolve)) : undefined)
  const hung = await refusal(
    t,
    withCall({ timeoutMs: 30 }, (call) => sysfs.setNumVfs(pf, 3, {}, call)),
  )
  t.is(hung.code, 'deadline-exceeded')
  const late = await refusal(
    t,
    withCall({ timeoutMs: 30 }, (call) => sysfs.setNumVfs(pf, 6, {}, call)),
  )
  t.is(late.code, 'deadline-exceeded')
  await withCall(soon, (call) => sysfs.setNumVfs('0000:5e:00.0', 1, {}, call))
  t.is((await sysfs.physicalFunction('0000:5e:00.0'))?.numVfs, 1, 'another PF waits for nobody')
  const next = setNumVfs(sysfs, 2)
  t.is(await numVfs(sysfs), 0)
  release()
  await next
  t.is(await numVfs(sysfs), 2)
  t.false(tree.written.some((line) => line.endsWith('=6')))
})

test('a user-space driver holds the VF by its override, and the way back leaves none', async (t) => {
  const { sysfs, vf } = opened(t, { functions: [presets.igb({ numVfs: 1 })] })
  await bind(sysfs, vf, 'vfio-pci')
  t.deepEqual(await state(sysfs, vf), { driver: 'vfio-pci', driverOverride: 'vfio-pci', netdevs: [] })
  await bind(sysfs, vf, 'igbvf')
  t.deepEqual(await state(sysfs, vf), { driver: 'igbvf', driverOverride: '', netdevs: ['eth0v0'] })
})

test('no name of a driver: whatever matches by itself, for VFs of a PF that gives none as well', async (t) => {
  const { sysfs, vf } = opened(t, { functions: [presets.igb({ numVfs: 1 })] })
  await bind(sysfs, vf, 'vfio-pci')
  await bind(sysfs, vf, '')
  t.deepEqual(await state(sysfs, vf), { driver: 'igbvf', driverOverride: '', netdevs: ['eth0v0'] })
  const bare = opened(t, { functions: [presets.driverless({ numVfs: 1 })] })
  await bind(bare.sysfs, bare.vf, 'vfio-pci')
  await bind(bare.sysfs, bare.vf, '')
  t.deepEqual(await state(bare.sysfs, bare.vf), { driver: '', driverOverride: '', netdevs: [] })
  await bind(bare.sysfs, bare.vf, 'igbvf')
  t.like(await state(bare.sysfs, bare.vf), { driver: 'igbvf', driverOverride: '' })
})

test('binding what is bound writes nothing, but clears an override that was left behind', async (t) => {
  const { tree, sysfs, vf } = opened(t, { functions: [presets.igb({ numVfs: 1 })] })
  await bind(sysfs, vf, 'igbvf')
  await bind(sysfs, vf, '')
  t.deepEqual(tree.written, [])
  for (const driver of ['igbvf', '']) {
    await tree.write(`${tree.root}/bus/pci/devices/${vf}/driver_override`, 'igbvf')
    const before = tree.written.length
    await bind(sysfs, vf, driver)
    t.deepEqual(tree.written.slice(before), [`bus/pci/devices/${vf}/driver_override=`])
    t.is((await state(sysfs, vf)).driverOverride, '')
  }
})

test('a driver that is bound anew keeps no override that a killed process left behind', async (t) => {
  const { tree, sysfs, vf } = opened(t, { functions: [presets.igb({ numVfs: 1 })] })
  await tree.write(`${tree.root}/bus/pci/devices/${vf}/driver_override`, 'igbvf')
  await withCall(soon, (call) => sysfs.rebind(vf, call))
  t.like(await state(sysfs, vf), { driver: 'igbvf', driverOverride: '' })
})

test('a driver that is not loaded is unsupported, and nothing was touched', async (t) => {
  const { tree, sysfs, vf } = opened(t, { functions: [presets.igb({ numVfs: 1 })], drivers: [] })
  const error = await refusal(t, bind(sysfs, vf, 'vfio-pci'))
  t.like(error, { code: 'unsupported', field: 'driver', remedy: 'load it: modprobe vfio-pci' })
  t.deepEqual(tree.written, [])
  tree.loadDriver('vfio-pci')
  t.true(await sysfs.hasDriver('vfio-pci'))
  await bind(sysfs, vf, 'vfio-pci')
  for (const name of ['..', 'a/b', '']) await t.throwsAsync(sysfs.hasDriver(name), { code: 'invalid-argument' })
})

for (const failing of ['driver_override', 'unbind', 'bind']) {
  test(`a refusal at ${failing} leaves driver, override and netdev as they were`, async (t) => {
    for (const [from, to] of [
      ['igbvf', 'vfio-pci'],
      ['vfio-pci', 'igbvf'],
    ] as const) {
      const { tree, sysfs, vf } = opened(t, { functions: [presets.igb({ numVfs: 1 })] })
      await bind(sysfs, vf, from)
      const before = await state(sysfs, vf)
      tree.beforeWrite = (path) => {
        if (!path.endsWith(`/${failing}`)) return
        tree.beforeWrite = () => {}
        throw refuse('EIO')
      }
      t.like(await refusal(t, bind(sysfs, vf, to)), { code: 'kernel-refused', details: { errno: 'EIO' } })
      t.deepEqual(await state(sysfs, vf), before)
    }
  })
}

test('a refusal after which nothing can be put back says both', async (t) => {
  const { tree, sysfs, vf } = opened(t, { functions: [presets.igb({ numVfs: 1 })] })
  tree.beforeWrite = (path) => {
    if (path.endsWith('/bind')) throw refuse('EIO')
  }
  const error = await refusal(t, bind(sysfs, vf, 'vfio-pci'))
  t.regex(error.message, /binding 0000:3b:10.0 to vfio-pci: EIO; putting back.*to igbvf: EIO/)
  t.true(error.details['path']?.endsWith('vfio-pci/bind'))
})

test('vfio-pci without an IOMMU is refused with the remedy', async (t) => {
  const { sysfs, vf } = opened(t, { functions: [{ ...presets.igb({ numVfs: 1 }), iommu: false }] })
  t.regex((await refusal(t, bind(sysfs, vf, 'vfio-pci'))).sentence, /EINVAL.*intel_iommu=on/)
  t.deepEqual(await state(sysfs, vf), { driver: 'igbvf', driverOverride: '', netdevs: ['eth0v0'] })
})

test('rebinding takes the driver away and gives it back, under autoprobe or not', async (t) => {
  for (const preset of [presets.igb, presets.driverless]) {
    const { tree, sysfs, vf } = opened(t, { functions: [preset({ numVfs: 1 })] })
    await bind(sysfs, vf, 'igbvf')
    tree.written.length = 0
    await withCall(soon, (call) => sysfs.rebind(vf, call))
    t.deepEqual(await state(sysfs, vf), { driver: 'igbvf', driverOverride: '', netdevs: ['eth0v0'] })
    t.true(tree.written.includes(`bus/pci/drivers/igbvf/unbind=${vf}`))
    await withCall(soon, (call) => sysfs.unbind(vf, call))
    await withCall(soon, (call) => sysfs.unbind(vf, call))
    t.like(
      await refusal(
        t,
        withCall(soon, (call) => sysfs.rebind(vf, call)),
      ),
      { code: 'kernel-refused', details: { errno: 'ENODEV' } },
    )
  }
})

test('what is unbound from a user-space driver is free for any other', async (t) => {
  const { sysfs, vf } = opened(t, { functions: [presets.igb({ numVfs: 1 })] })
  await bind(sysfs, vf, 'vfio-pci')
  await withCall(soon, (call) => sysfs.unbind(vf, call))
  t.deepEqual(await state(sysfs, vf), { driver: '', driverOverride: '', netdevs: [] })
})

test('a function that is not there is no device', async (t) => {
  const { sysfs } = opened(t, { functions: [] })
  for (const change of [bind(sysfs, pf, 'vfio-pci'), bind(sysfs, pf, ''), withCall(soon, (call) => sysfs.unbind(pf, call))]) {
    t.like(await refusal(t, change), { code: 'kernel-refused', details: { errno: 'ENODEV' } })
  }
  t.is((await refusal(t, bind(sysfs, '../..', 'vfio-pci'))).code, 'invalid-argument')
})

test('a function that goes while its driver is changed is gone, and no more is said of it', async (t) => {
  const { tree, sysfs, vf } = opened(t, { functions: [presets.igb({ numVfs: 1 })] })
  tree.beforeWrite = (path) => {
    if (path.endsWith('/bind')) tree.removeFunction(pf)
  }
  const error = await refusal(t, bind(sysfs, vf, 'vfio-pci'))
  t.like(error, { code: 'kernel-refused', details: { errno: 'ENODEV' } })
  t.false(error.message.includes('putting back'))
})

test('VLANs are admitted by the trunk file of the PF, where its driver has one', async (t) => {
  const { sysfs } = opened(t, { functions: [presets.i40e({ numVfs: 2 })] })
  const file = (await sysfs.physicalFunction(pf))?.vfs[1]?.trunkFile ?? ''
  t.true(file.endsWith(`${pf}/sriov/1/trunk`))
  const write = (path: string, text: string) => withCall(soon, (call) => sysfs.writeTrunk(path, text, call))
  await write(file, 'add 2,4-7')
  await write(file, 'rem 5')
  t.like(await refusal(t, write(file, 'add 5000')), { code: 'kernel-refused', field: 'settings.trunk', details: { errno: 'EINVAL' } })
  for (const path of ['/etc/passwd', `${sysfs.root}/bus/pci/devices/${pf}/sriov_numvfs`, `/sys/bus/pci/devices/${pf}/sriov/0/trunk`]) {
    t.is((await refusal(t, write(path, 'add 2'))).code, 'invalid-argument')
  }
})
