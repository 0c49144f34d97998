import { execFile } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { promisify } from 'node:util'
import test from 'ava'
import { openKernel } from './open.ts'
import { newName, sh, shown, withScratch } from './testing/namespaces.ts'
import type { Step } from './types.ts'
import { Namespaces } from './worker/namespaces.ts'
import { ProgramFailure, runProgram } from './worker/program.ts'

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

test('a program whose sandbox is removed between two of its steps says netns-gone or is done whole, and nothing of it stays', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const fabric = await namespace()
    const namespaces = new Namespaces(undefined, [])
    const outcomes: string[] = []
    for (let removeBefore = 1; outcomes.at(-1) !== 'not removed'; removeBefore++) {
      const sandbox = await namespace()
      const steps: Step[] = [
        { op: 'bridge.add', ns: fabric, name: 'br0' },
        { op: 'veth.add', ns: fabric, name: 'v0', master: 'br0', up: true, peer: { ns: sandbox, name: 'eth0', up: true } },
        { op: 'bridge.port', ns: fabric, name: 'v0', learning: false },
        { op: 'address.replace', ns: sandbox, name: 'eth0', address: '10.0.0.1/24' },
        { op: 'route.replace', ns: sandbox, name: 'eth0', destination: '0.0.0.0/0', gateway: '10.0.0.254' },
      ]
      let opened = 0
      const interrupted: Pick<Namespaces, 'use'> = {
        use: (body) =>
          namespaces.use((open) =>
            body((ns) => {
              if (++opened === removeBefore) sh('ip', 'netns', 'delete', sandbox.name)
              return open(ns)
            }),
          ),
      }
      let outcome = 'done'
      try {
        t.is(runProgram(interrupted, steps).length, steps.length)
      } catch (error) {
        outcome = error instanceof ProgramFailure ? error.failure.kind : String(error)
      }
      outcomes.push(opened < removeBefore ? 'not removed' : outcome)
      if (opened >= removeBefore) await eventually(async () => (await kernel.link(fabric, 'v0', call)) === undefined)
      else await kernel.removeLink(fabric, 'v0', call)
      await kernel.removeLink(fabric, 'br0', call)
    }
    t.deepEqual([...new Set(outcomes)], ['netns-gone', 'done', 'not removed'])
  }))

test('programs whose sandbox another process removes meanwhile are done or say netns-gone, and nothing of them stays', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const fabric = await namespace()
    const codes = new Set<string>()
    const codeOf = (work: Promise<unknown>) =>
      work.then(
        () => 'done',
        (error: { code: string }) => error.code,
      )
    for (let round = 0; round < 5; round++) {
      const sandbox = await namespace()
      const attach = async (number: number) => {
        const steps: Step[] = [
          { op: 'veth.add', ns: fabric, name: `v${number}`, peer: { ns: sandbox, name: `e${number}`, up: true } },
          { op: 'address.replace', ns: sandbox, name: `e${number}`, address: '10.0.0.1/24' },
        ]
        codes.add(await codeOf(kernel.run(steps, call)))
      }
      // One before it begins: on a busy machine none is done before it is over.
      await attach(0)
      const removal = promisify(execFile)('ip', ['netns', 'delete', sandbox.name])
      let removed = false
      void removal.then(() => (removed = true))
      for (let number = 1; !removed; number++) await attach(number)
      codes.add(await codeOf(kernel.addresses(sandbox, call)))
      await eventually(async () => (await kernel.links(fabric, call)).length === 1)
    }
    t.deepEqual([...codes].sort(), ['done', 'netns-gone'])
  }))

async function eventually(condition: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error('never came true')
}
