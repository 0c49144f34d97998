// Whatever the machine has and whatever is done to it, sysfs is read as it is and left as it should be.
import { HeddleError, withCall } from '@heddle/core'
import { type FunctionDescription, type MadeUpSysfs, madeUpSysfs, presets } from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { isUserSpaceDriver } from './bind.ts'
import { openSysfs } from './open.ts'
import type { PhysicalFunction, Sysfs } from './types.ts'

const names = Object.keys(presets) as (keyof typeof presets)[]

/** Cards of any kind, each on a bus of its own. */
const machine: fc.Arbitrary<FunctionDescription[]> = fc
  .array(
    fc.record({
      kind: fc.constantFrom(...names),
      numVfs: fc.nat({ max: 7 }),
      numaNode: fc.integer({ min: -1, max: 3 }),
      domain: fc.constantFrom('0000', '0001', '10000'),
    }),
    {
      maxLength: 4,
    },
  )
  .map((cards) =>
    cards.map(({ kind, domain, ...at }, slot) => presets[kind]({ ...at, pci: `${domain}:${(16 + slot * 16).toString(16)}:00.0`, name: `eth${slot}` })),
  )

test('what is read is what the machine was described to have', async (t) => {
  await fc.assert(
    fc.asyncProperty(machine, async (functions) => {
      await using({ functions }, async (_tree, sysfs) => {
        const read = await sysfs.physicalFunctions()
        const expected = functions.filter(({ vfs }) => vfs !== undefined)
        t.deepEqual(read.map(({ pci }) => pci).sort(), expected.map(({ pci }) => pci).sort())
        for (const { pci, vendor, device, driver, numaNode, vfs, netdevs = [], rdma } of expected) {
          const one = read.find((each) => each.pci === pci) as PhysicalFunction
          t.like(one, { vendor, device, driver, numaNode: numaNode ?? 0, totalVfs: vfs?.total ?? 0, numVfs: vfs?.count ?? 0 })
          t.deepEqual(one.rdmaDevices, rdma === undefined ? [] : [rdma])
          t.deepEqual(
            one.netdevs.map(({ name, type, mtu, physPortName }) => ({ name, type, mtu, physPortName })),
            netdevs.map(({ name, type = 1, mtu = 1500, physPortName = '' }) => ({ name, type, mtu, physPortName })),
          )
          for (const vf of one.vfs) {
            const bound = vfs?.autoprobe === false ? '' : vfs?.driver
            t.like(vf, { pf: pci, vendor, device: vfs?.device ?? '', driver: bound ?? '', numaNode: numaNode ?? 0 })
            t.deepEqual(
              vf.netdevs.map(({ name }) => name),
              bound === '' ? [] : netdevs.map(({ name }) => `${name}v${vf.index}`),
            )
            t.is(vf.representor === '', vfs?.representors === undefined)
          }
        }
      })
    }),
    { numRuns: 30 },
  )
})

const action = fc.oneof(
  fc.record({ kind: fc.constant('numvfs' as const), count: fc.nat({ max: 8 }) }),
  fc.record({
    kind: fc.constantFrom('vfio' as const, 'natural' as const, 'rebind' as const, 'unbind' as const, 'take' as const, 'give' as const),
    at: fc.nat({ max: 7 }),
  }),
  fc.record({ kind: fc.constant('refuse' as const), write: fc.nat({ max: 5 }) }),
  fc.record({ kind: fc.constant('others' as const), count: fc.nat({ max: 7 }) }),
)

test('no sequence of changes, refused or not, loses a VF, mixes up generations or leaves an override behind', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('igb' as const, 'switchdev' as const, 'driverless' as const, 'vdpa' as const),
      fc.array(action, { maxLength: 14 }),
      async (kind, actions) => {
        const pf = '0000:3b:00.0'
        await using({ functions: [presets[kind]({ numVfs: 3 })] }, async (tree, sysfs) => {
          let before = await look(t, tree, sysfs)
          for (const each of actions) {
            const vf = 'at' in each ? before.vfs[each.at] : undefined
            const count = before.vfs.length
            let remade = false
            if (each.kind === 'refuse') tree.beforeWrite = refusing(tree, each.write)
            else if (each.kind === 'others') {
              tree.setNumVfs(pf, each.count)
              remade = true
            } else if (each.kind === 'numvfs') {
              await attempt(t, () => withCall({ timeoutMs: 60_000 }, (call) => sysfs.setNumVfs(pf, each.count, {}, call)))
              remade = each.count !== count
            } else if (vf !== undefined) await touch(t, tree, sysfs, each.kind, vf)
            const after = await look(t, tree, sysfs)
            if (!remade)
              t.deepEqual(
                after.vfs.map(({ inode }) => inode),
                before.vfs.map(({ inode }) => inode),
                'the same VFs are of the same generation',
              )
            else if (each.kind === 'others' || after.vfs.length !== count)
              for (const { inode } of after.vfs)
                t.false(
                  before.vfs.some((old) => old.inode === inode),
                  'VFs made anew are others',
                )
            before = after
          }
        })
      },
    ),
    { numRuns: 40 },
  )
})

type Vf = PhysicalFunction['vfs'][number]

async function touch(
  t: ExecutionContext,
  tree: MadeUpSysfs,
  sysfs: Sysfs,
  kind: 'vfio' | 'natural' | 'rebind' | 'unbind' | 'take' | 'give',
  vf: Vf,
): Promise<void> {
  const [netdev] = vf.netdevs
  if (kind === 'take') {
    if (netdev !== undefined) tree.takeNetdev(netdev.name)
  } else if (kind === 'give') {
    if (tree.away(vf.pci) > 0) tree.returnNetdev(vf.pci, `dev${vf.index}`)
  } else {
    await attempt(t, () =>
      withCall({ timeoutMs: 60_000 }, async (call) => {
        if (kind === 'vfio') await sysfs.bind(vf.pci, 'vfio-pci', call)
        else if (kind === 'natural') await sysfs.bind(vf.pci, '', call)
        else if (kind === 'rebind') await sysfs.rebind(vf.pci, call)
        else await sysfs.unbind(vf.pci, call)
      }),
    )
  }
}

/** The nth write from now is refused, once. */
function refusing(tree: MadeUpSysfs, nth: number): MadeUpSysfs['beforeWrite'] {
  let left = nth
  return () => {
    if (left-- > 0) return
    tree.beforeWrite = () => {}
    throw Object.assign(new Error('EIO'), { code: 'EIO' })
  }
}

/** A refusal is an error of the catalogue, with errno and path. */
async function attempt(t: ExecutionContext, body: () => Promise<void>): Promise<void> {
  try {
    await body()
  } catch (error) {
    const failure = HeddleError.from(error)
    t.is(failure.code, 'kernel-refused', failure.message)
    t.true('errno' in failure.details && 'path' in failure.details)
  }
}

async function look(t: ExecutionContext, tree: MadeUpSysfs, sysfs: Sysfs): Promise<PhysicalFunction> {
  const [one] = await sysfs.physicalFunctions()
  if (one === undefined) throw new Error('the PF is gone')
  t.deepEqual(
    one.vfs.map(({ pci }) => pci),
    tree.vfs(one.pci),
    'every VF is listed once, by index',
  )
  t.deepEqual(
    one.vfs.map(({ index }) => index),
    one.vfs.map((_, at) => at),
  )
  t.is(one.numVfs, one.vfs.length)
  for (const vf of one.vfs) t.is(vf.driverOverride, isUserSpaceDriver(vf.driver) ? vf.driver : '', `${vf.pci} is bound to ${vf.driver || 'nothing'}`)
  return one
}

async function using(description: { readonly functions: FunctionDescription[] }, body: (tree: MadeUpSysfs, sysfs: Sysfs) => Promise<void>): Promise<void> {
  const tree = madeUpSysfs(description)
  try {
    await body(tree, openSysfs(tree.root, tree))
  } finally {
    tree.remove()
  }
}
