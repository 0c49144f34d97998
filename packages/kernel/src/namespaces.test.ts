import { existsSync, statSync } from 'node:fs'
import test from 'ava'
import { openKernel } from './open.ts'
import { newName, sh, shown, withScratch } from './testing/namespaces.ts'
import type { Step } from './types.ts'

const resident = `/run/netns/${newName()}`
const kernel = openKernel({ residents: [resident] })
test.after.always(() => kernel.close())

test('a namespace is made once, has an inode, and its links end with it', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [one, other] = [await namespace(), await namespace()]
    t.false(await kernel.createNamespace(one.path, call))
    t.is(kernel.namespaceInode(one.path), statSync(one.path, { bigint: true }).ino)
    t.not(kernel.namespaceInode(one.path), kernel.namespaceInode(other.path))
    t.is(shown('ip', one, 'link').length, 1)
    await kernel.deleteNamespace(one.path, call)
    t.false(existsSync(one.path))
    t.is(kernel.namespaceInode(one.path), undefined)
    await t.notThrowsAsync(kernel.deleteNamespace(one.path, call))
  }))

test('a file whose namespace has ended is used again', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    sh('umount', ns.path)
    t.true(existsSync(ns.path))
    t.true(await kernel.createNamespace(ns.path, call))
    t.is((await kernel.links(ns, call)).length, 1)
  }))

test('a resident namespace that was replaced behind our back is noticed, and lives no longer than its file', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const other = await namespace()
    const ns = { path: resident, name: resident.replace('/run/netns/', '') }
    t.teardown(() => sh('sh', '-c', `ip netns del ${ns.name} 2>/dev/null || true`))
    await kernel.createNamespace(resident, call)
    const veth: Step = { op: 'veth.add', ns, name: 'a', peer: { ns: other, name: 'b' } }
    await kernel.run([veth], call)
    sh('ip', 'netns', 'del', ns.name)
    sh('ip', 'netns', 'add', ns.name)
    t.deepEqual(
      (await kernel.links(ns, call)).map(({ name }) => name),
      ['lo'],
    )
    await kernel.run([{ ...veth, name: 'c', peer: { ns: other, name: 'd' } }], call)
    t.deepEqual(
      shown('ip', ns, 'link')
        .map((link) => link.ifname)
        .sort(),
      ['c', 'lo'],
    )
    // With its last descriptor closed the old namespace ended, and its veth's other end with it.
    await eventually(async () => (await kernel.link(other, 'b', call)) === undefined)
    const watch = kernel.watchLinks(ns, () => {})
    await kernel.deleteNamespace(resident, call)
    await eventually(async () => (await kernel.link(other, 'd', call)) === undefined)
    watch.close()
    t.pass()
  }))

test('programs whose sandbox is being removed succeed or say netns-gone, and nothing of them stays', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const fabric = await namespace()
    const codes = new Map<string, number>()
    for (let round = 0; round < 20; round++) {
      const sandbox = await namespace()
      const programs = Array.from({ length: 10 }, (_, number) =>
        kernel
          .run(
            [
              { op: 'veth.add', ns: fabric, name: `v${number}`, peer: { ns: sandbox, name: `e${number}`, up: true } },
              { op: 'address.replace', ns: sandbox, name: `e${number}`, address: '10.0.0.1/24' },
            ],
            call,
          )
          .then(
            () => 'done',
            (error: { code: string }) => error.code,
          ),
      )
      const removal = kernel.deleteNamespace(sandbox.path, call)
      const late = kernel.addresses(sandbox, call).then(
        () => 'done',
        (error: { code: string }) => error.code,
      )
      for (const code of await Promise.all([...programs, late])) codes.set(code, (codes.get(code) ?? 0) + 1)
      await removal
      await eventually(async () => (await kernel.links(fabric, call)).length === 1)
    }
    t.deepEqual([...codes.keys()].sort(), ['done', 'netns-gone'])
    t.true((codes.get('netns-gone') ?? 0) >= 20)
  }))

async function eventually(condition: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error('never came true')
}
