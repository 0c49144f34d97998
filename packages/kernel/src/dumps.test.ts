import { execFileSync } from 'node:child_process'
import test from 'ava'
import { openKernel } from './open.ts'
import { dumpLinks } from './rtnl/link-build.ts'
import { readLink } from './rtnl/link-parse.ts'
import { withScratch } from './testing/namespaces.ts'
import type { LinkInfo, Namespace, Step } from './types.ts'
import { Namespaces } from './worker/namespaces.ts'

const kernel = openKernel()
test.after.always(() => kernel.close())

const bridges = (ns: Namespace, count: number): Step[] =>
  Array.from({ length: count }, (_, number) => ({ op: 'veth.add', ns, name: `v${number}`, peer: { ns, name: `p${number}` } }))

/** Drives a dump on this thread, so that what happens between its pieces, or while the first of them is read, is certain. */
function dump(ns: Namespace, between: (piece: number) => Promise<unknown>, within: () => void = () => {}): Promise<LinkInfo[]> {
  const netns = new Namespaces(undefined, []).open(ns)
  const pieces = netns.route.dump(dumpLinks, (reader, message) => {
    const link = readLink(reader, message)
    if (link?.name === 'lo') within()
    return link
  })
  const next = async (piece: number): Promise<LinkInfo[]> => {
    const step = pieces.next()
    if (step.done === true) return step.value
    await between(piece)
    return next(piece + 1)
  }
  return next(1).finally(() => netns.close())
}

test('a table that changed while it was read is read again', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.run(bridges(ns, 200), call)
    let pieces = 0
    const links = await dump(ns, async (piece) => {
      pieces = piece
      // Its name is in the first piece already.
      if (piece === 1) await kernel.removeLink(ns, 'v0', call)
    })
    t.true(pieces > 2)
    t.deepEqual(
      links.map((link) => link.name).filter((name) => name === 'v0' || name === 'p0'),
      [],
    )
    t.is(links.length, 399)
    t.is(new Set(links.map((link) => link.index)).size, 399)
  }))

test('a table that our own programs change between any two of its pieces is read in one go', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.run(bridges(ns, 100), call)
    // A veth comes and goes between any two pieces (a bridge would hold the RTNL lock for 17 ms when it goes).
    const change = async (piece: number) => {
      await kernel.run([{ op: 'veth.add', ns, name: `c${piece}`, peer: { ns, name: `d${piece}` } }], call)
      await kernel.removeLink(ns, `c${piece}`, call)
    }
    t.is((await dump(ns, change)).length, 201)
  }))

test('a table that never holds still is given up with a retryable error, not a wrong answer', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.run(bridges(ns, 100), call)
    let changes = 0
    const change = () => execFileSync('nsenter', [`--net=${ns.path}`, 'ip', 'link', 'add', `c${changes++}`, 'type', 'veth'])
    const error = await t.throwsAsync(dump(ns, async () => {}, change))
    t.is(error?.name, 'Unavailable')
  }))

test('dumps and programs at once: each answer is whole and its own', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [busy, quiet] = [await namespace(), await namespace()]
    await kernel.run(bridges(quiet, 150), call)
    const fixed = bridges(busy, 20)
    await kernel.run(fixed, call)
    const churn = Array.from({ length: 40 }, async (_, number) => {
      await kernel.run([{ op: 'veth.add', ns: busy, name: `c${number}`, peer: { ns: busy, name: `d${number}` } }], call)
      t.is((await kernel.link(busy, `c${number}`, call))?.name, `c${number}`)
      t.true(await kernel.removeLink(busy, `c${number}`, call))
    })
    const reads = Array.from({ length: 30 }, async () => {
      const names = (await kernel.links(quiet, call)).map((link) => link.name)
      t.is(names.length, 301)
      const [moving, addresses] = await Promise.all([kernel.links(busy, call), kernel.addresses(quiet, call)])
      const seen = moving.map((link) => link.name)
      t.is(new Set(seen).size, seen.length)
      for (const step of fixed) if ('name' in step) t.true(seen.includes(step.name))
      t.deepEqual(addresses, [])
    })
    await Promise.all([...churn, ...reads])
  }))
