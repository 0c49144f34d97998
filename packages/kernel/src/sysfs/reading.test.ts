// Every kind of card as its driver shows it, read from a made-up tree of real files.
import { withCall } from '@heddle/core'
import { type MadeUpSysfs, madeUpSysfs, presets, type SysfsDescription } from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'
import { openSysfs } from './open.ts'
import type { Sysfs } from './types.ts'

function opened(t: ExecutionContext, description: SysfsDescription): { tree: MadeUpSysfs; sysfs: Sysfs } {
  const tree = madeUpSysfs(description)
  t.teardown(() => tree.remove())
  return { tree, sysfs: openSysfs(tree.root, tree) }
}

const pf = '0000:3b:00.0'

for (const [name, preset] of Object.entries(presets)) {
  test(`${name}: each VF is listed once, by index, and alone it reads as it does in the list`, async (t) => {
    const description = preset({ numVfs: 5 })
    const { tree, sysfs } = opened(t, { functions: [description] })
    const functions = await sysfs.physicalFunctions()
    if (description.vfs === undefined) {
      t.deepEqual(functions, [])
      t.is(await sysfs.physicalFunction(description.pci), undefined)
      t.is(await sysfs.virtualFunction(description.pci), undefined)
      return
    }
    t.deepEqual(
      await sysfs.netdevs(description.pci),
      (description.netdevs ?? []).map((netdev) => netdev.name),
    )
    t.deepEqual(await sysfs.netdevs('0000:ff:1f.7'), [])
    const [one] = functions
    t.like(one, { pci: description.pci, vendor: description.vendor, device: description.device, driver: description.driver, numaNode: description.numaNode })
    t.like(one, { totalVfs: description.vfs.total, numVfs: 5, rdmaDevices: description.rdma === undefined ? [] : [description.rdma] })
    t.deepEqual(
      one?.netdevs.map((netdev) => netdev.name),
      description.netdevs?.map((netdev) => netdev.name),
    )
    t.deepEqual(
      one?.vfs.map(({ pci, index, pf: of }) => ({ pci, index, of })),
      tree.vfs(description.pci).map((pci, index) => ({ pci, index, of: description.pci })),
    )
    for (const vf of one?.vfs ?? []) {
      t.deepEqual(await sysfs.virtualFunction(vf.pci), vf)
      const netdevs = vf.netdevs.map((netdev) => ({ ...netdev, carrier: false, physSwitchId: '', physPortName: '' }))
      t.deepEqual(await sysfs.virtualFunction(vf.pci, { atOnce: true }), { ...vf, netdevs, driverOverride: '', representor: '' })
    }
    t.deepEqual(await sysfs.physicalFunction(description.pci), one)
  })
}

test('a virtual function is no physical one, nor the other way round', async (t) => {
  const { tree, sysfs } = opened(t, { functions: [presets.igb({ numVfs: 1 })] })
  t.is(await sysfs.virtualFunction(pf), undefined)
  t.is(await sysfs.physicalFunction(tree.vfs(pf)[0] ?? ''), undefined)
})

test('an address is read in any spelling, and what is none is refused before it becomes a path', async (t) => {
  const { sysfs } = opened(t, { functions: [presets.igb()] })
  t.is((await sysfs.physicalFunction('3B:00.0'))?.pci, pf)
  for (const text of ['../../../etc', 'eth0', '']) await t.throwsAsync(sysfs.physicalFunction(text), { code: 'invalid-argument' })
})

test('a VF beyond the tenth comes after the ninth, and one beyond the bus on the next', async (t) => {
  const { sysfs } = opened(t, { functions: [presets.ixgbe({ numVfs: 63 })] })
  const vfs = (await sysfs.physicalFunction(pf))?.vfs ?? []
  t.deepEqual(
    vfs.map((vf) => vf.index),
    Array.from({ length: 63 }, (_, index) => index),
  )
  t.is(vfs[0]?.pci, '0000:3b:10.0')
  t.is(vfs[62]?.pci, '0000:3b:1f.4')
})

test('a machine without NUMA or IOMMU, a PCI domain of five digits', async (t) => {
  const { sysfs } = opened(t, { functions: [{ ...presets.noNuma({ numVfs: 1 }), iommu: false }, presets.vmd({ name: 'eth1', numVfs: 1 })] })
  const [plain, vmd] = await sysfs.physicalFunctions()
  t.like(plain?.vfs[0], { numaNode: -1, iommuGroup: '' })
  t.like(vmd?.vfs[0], { pci: '10000:01:10.0', pf: '10000:01:00.0' })
})

test('the two ports of one function come in the order of the card, not of their names', async (t) => {
  const { sysfs } = opened(t, { functions: [presets.mlx4({ numVfs: 1 })] })
  const one = await sysfs.physicalFunction(pf)
  t.deepEqual(
    one?.netdevs.map((netdev) => netdev.name),
    ['eth0', 'aeth0'],
  )
  t.deepEqual(
    one?.vfs[0]?.netdevs.map((netdev) => netdev.name),
    ['eth0v0', 'aeth0v0'],
  )
})

for (const [where, preset] of [
  ['devices of the PF', presets.switchdev],
  ['devices of their own', presets.switchdevApart],
] as const) {
  test(`representors that are ${where} stand for their VFs and are no netdevs of the PF`, async (t) => {
    const { tree, sysfs } = opened(t, { functions: [preset({ numVfs: 3 })] })
    const one = await sysfs.physicalFunction(pf)
    t.true(one?.switchdev)
    t.deepEqual(
      one?.netdevs.map((netdev) => netdev.name),
      ['eth0'],
    )
    t.deepEqual(
      one?.vfs.map((vf) => vf.representor),
      ['eth0_0', 'eth0_1', 'eth0_2'],
    )
    t.is((await sysfs.virtualFunction(tree.vfs(pf)[2] ?? ''))?.representor, 'eth0_2')
    tree.renameNetdev('eth0_1', 'aaa')
    t.deepEqual(
      (await sysfs.physicalFunction(pf))?.netdevs.map((netdev) => netdev.name),
      ['eth0'],
    )
    t.is((await sysfs.physicalFunction(pf))?.vfs[1]?.representor, 'aaa')
  })
}

test("representors of another PF on the same switch are not taken for one's own", async (t) => {
  const first = presets.switchdevApart({ numVfs: 2 })
  const second = presets.switchdevApart({ pci: '0000:3b:00.1', name: 'eth1', numVfs: 2 })
  const onSameSwitch = (card: typeof first, port: string, offset: number) => ({
    ...card,
    netdevs: (card.netdevs ?? []).map((netdev) => ({ ...netdev, physPortName: port })),
    ...(card.vfs === undefined ? {} : { vfs: { ...card.vfs, offset } }),
  })
  // Addresses of the VFs of both follow one another behind the second.
  const { sysfs } = opened(t, { functions: [onSameSwitch(first, 'p0', 2), onSameSwitch(second, 'p1', 9)] })
  const [one, two] = await sysfs.physicalFunctions()
  t.deepEqual(
    one?.vfs.map((vf) => vf.representor),
    ['eth0_0', 'eth0_1'],
  )
  t.deepEqual(
    two?.vfs.map((vf) => vf.representor),
    ['eth1_0', 'eth1_1'],
  )
})

test('a switch id alone makes no switchdev mode: ice has one in legacy mode', async (t) => {
  const { sysfs } = opened(t, { functions: [presets.ice({ numVfs: 1 })] })
  t.like(await sysfs.physicalFunction(pf), { switchdev: false, vfs: [{ representor: '' }] })
})

test('InfiniBand: its long address is no MAC', async (t) => {
  const { sysfs } = opened(t, { functions: [presets.infiniband({ numVfs: 1 })] })
  t.like(await sysfs.physicalFunction(pf), { netdevs: [{ type: 32, mac: '', mtu: 2044 }], rdmaDevices: ['mlx5_0'], vfs: [{ rdmaDevices: ['mlx5_0v0'] }] })
  t.deepEqual(
    await sysfs.rdmaNodes(pf),
    ['uverbs0', 'issm0', 'umad0', 'rdma_cm'].map((name) => `/dev/infiniband/${name}`),
  )
})

test('the netdev of a vDPA device is a netdev of its VF', async (t) => {
  const { sysfs } = opened(t, { functions: [presets.vdpa({ numVfs: 2 })] })
  t.like((await sysfs.physicalFunction(pf))?.vfs[1], { vdpaDevices: ['vdpa1'], netdevs: [{ name: 'eth0v1' }] })
})

test('VFs that were given no driver have none, and no netdev', async (t) => {
  const { sysfs } = opened(t, { functions: [presets.driverless({ numVfs: 1 })] })
  t.like(await sysfs.physicalFunction(pf), { driversAutoprobe: false, vfs: [{ driver: '', netdevs: [] }] })
})

test('a VF in a sandbox shows no netdev, and shows it again when it is back under another name', async (t) => {
  const { tree, sysfs } = opened(t, { functions: [presets.ixgbe({ numVfs: 1 })] })
  const vf = tree.takeNetdev('eth0v0')
  t.deepEqual((await sysfs.virtualFunction(vf))?.netdevs, [])
  tree.returnNetdev(vf, 'dev7')
  t.like(await sysfs.virtualFunction(vf), { netdevs: [{ name: 'dev7' }] })
})

test('of a VF that is known only what may have changed is read, and all of it once it has', async (t) => {
  const { tree, sysfs } = opened(t, { functions: [presets.ixgbe({ numVfs: 1 })] })
  const first = await sysfs.physicalFunction(pf)
  const known = first?.vfs[0]
  if (known === undefined) return t.fail()
  const now = () => sysfs.virtualFunction(known.pci, { atOnce: true, known })
  tree.setMtu('eth0v0', 9000)
  t.deepEqual(await now(), known)
  tree.takeNetdev('eth0v0')
  t.deepEqual(await now(), { ...known, netdevs: [] })
  tree.returnNetdev(known.pci, 'dev7')
  t.like(await now(), { netdevs: [{ name: 'dev7', mtu: 1500 }] })
  await withCall({ timeoutMs: 5000 }, (call) => sysfs.unbind(known.pci, call))
  t.like(await now(), { driver: '', netdevs: [] })
  tree.setNumVfs(pf, 1)
  const anew = await now()
  t.not(anew?.inode, known.inode)
  t.deepEqual(anew?.netdevs, (await sysfs.virtualFunction(known.pci, { atOnce: true }))?.netdevs)
})

test('carrier, MAC and MTU are those of now', async (t) => {
  const { tree, sysfs } = opened(t, { functions: [presets.ixgbe({ numVfs: 1 })] })
  tree.setCarrier('eth0', false)
  tree.setMac('eth0v0', '02:00:00:00:00:09')
  tree.setMtu('eth0v0', 9000)
  t.like(await sysfs.physicalFunction(pf), {
    netdevs: [{ carrier: false, operstate: 'down' }],
    vfs: [{ netdevs: [{ carrier: true, mac: '02:00:00:00:00:09', mtu: 9000 }] }],
  })
})

test('a VF that was made anew is another, by its inode', async (t) => {
  const { tree, sysfs } = opened(t, { functions: [presets.igb({ numVfs: 2 })] })
  const inodes = async () => (await sysfs.physicalFunction(pf))?.vfs.map((vf) => vf.inode) ?? []
  const before = await inodes()
  t.deepEqual(await inodes(), before)
  tree.setNumVfs(pf, 2)
  for (const inode of await inodes()) t.false(before.includes(inode))
})

test('a function that vanishes while it is read is left out, whatever was read of it by then', async (t) => {
  const { tree, sysfs } = opened(t, { functions: [presets.ixgbe({ numVfs: 20 }), presets.igb({ pci: '0000:5e:00.0', name: 'eth1', numVfs: 2 })] })
  const reads = Array.from({ length: 8 }, async (_, at) => {
    for (let turn = 0; turn < at * 4; turn++) await new Promise((resolve) => setImmediate(resolve))
    return await sysfs.physicalFunctions()
  })
  await new Promise((resolve) => setImmediate(resolve))
  tree.removeFunction(pf)
  for (const read of await Promise.all(reads)) {
    t.is(read.at(-1)?.pci, '0000:5e:00.0')
    for (const one of read) for (const vf of one.vfs) t.is(vf.netdevs.length, 1, 'a VF is read whole')
  }
  t.deepEqual(
    (await sysfs.physicalFunctions()).map((one) => one.pci),
    ['0000:5e:00.0'],
  )
})

test('a generation is of one boot', async (t) => {
  const { tree, sysfs } = opened(t, { functions: [] })
  const first = await sysfs.bootId()
  tree.boot('another')
  t.is(await sysfs.bootId(), 'another')
  t.not(first, 'another')
})

test("this machine's own /sys is read without failing", async (t) => {
  const sysfs = openSysfs()
  t.regex(await sysfs.bootId(), /^[0-9a-f-]{36}$/)
  for (const one of await sysfs.physicalFunctions()) t.true(one.totalVfs > 0)
  t.is(await sysfs.physicalFunction('ffff:ff:1f.7'), undefined)
  t.false(await sysfs.hasDriver('heddle-no-such-driver'))
})
