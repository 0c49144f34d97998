import test from 'ava'
import { openKernel } from './open.ts'
import { RTM_NEWLINK, RTMGRP_LINK } from './rtnl/constants.ts'
import { readLink } from './rtnl/link-parse.ts'
import { shown, withScratch } from './testing/namespaces.ts'
import type { Namespace, Step } from './types.ts'
import { startWrite, type Write } from './worker/aio.ts'
import { Namespaces } from './worker/namespaces.ts'
import { Poller } from './worker/poller.ts'
import { Removals } from './worker/removals.ts'

const kernel = openKernel()
test.after.always(() => kernel.close())

const veths = (ns: Namespace, count: number): Step[] => [
  { op: 'bridge.add', ns, name: 'br0', up: true },
  ...Array.from(
    { length: count },
    (_, number): Step => ({ op: 'veth.add', ns, name: `v${number}`, master: 'br0', up: true, peer: { ns, name: `p${number}` } }),
  ),
]

test('a removed link is gone when the removal answers, and one that never was answers false', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.run(veths(ns, 1), call)
    t.true(await kernel.removeLink(ns, 'v0', call))
    t.deepEqual(
      shown('ip', ns, 'link').map((link) => link.ifname),
      ['lo', 'br0'],
    )
    t.false(await kernel.removeLink(ns, 'v0', call))
    await kernel.run([{ op: 'veth.add', ns, name: 'v0', peer: { ns, name: 'p0' } }], call)
    t.true(await kernel.removeLink(ns, 'p0', call))
  }))

test('many removals at once, of two namespaces, doubled, all end well', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [one, other] = [await namespace(), await namespace()]
    for (const ns of [one, other]) await kernel.run(veths(ns, 50), call)
    const names = Array.from({ length: 50 }, (_, number) => `v${number}`)
    const answers = await Promise.all(
      [one, other].flatMap((ns) =>
        names.map(async (name) => (await Promise.all([kernel.removeLink(ns, name, call), kernel.removeLink(ns, name, call)])).includes(true)),
      ),
    )
    t.true(answers.every((answer) => answer))
    for (const ns of [one, other])
      t.deepEqual(
        shown('ip', ns, 'link').map((link) => link.ifname),
        ['lo', 'br0'],
      )
  }))

test('what cannot be deleted is refused and does not keep its company from being deleted', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.run(veths(ns, 20), call)
    const outcomes = await Promise.allSettled(
      ['v0', 'v1', 'lo', ...Array.from({ length: 18 }, (_, number) => `v${number + 2}`)].map((name) => kernel.removeLink(ns, name, call)),
    )
    t.deepEqual(outcomes.filter((outcome) => outcome.status === 'fulfilled' && outcome.value).length, 20)
    const refused = outcomes.find((outcome) => outcome.status === 'rejected')
    t.like(refused?.reason, { code: 'kernel-refused', errno: 'EOPNOTSUPP' })
    t.deepEqual(
      shown('ip', ns, 'link').map((link) => link.ifname),
      ['lo', 'br0'],
    )
  }))

test('the notification answers while the request is still in its barrier, and fifty links go as one group', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.run(veths(ns, 60), call)
    const namespaces = new Namespaces(undefined, [])
    const netns = namespaces.open(ns)
    const monitor = netns.open(0, RTMGRP_LINK)
    const poller = new Poller()
    const removals = new Removals(namespaces, poller)
    const remove = (names: readonly string[]) => {
      const answers: unknown[] = []
      for (const name of names) removals.add(ns, name, (answer) => answers.push(answer))
      removals.start()
      while (answers.length < names.length) poller.wait(1000)
      const inBarrier = removals.busy
      while (removals.busy) {
        poller.wait(1000)
        removals.start()
      }
      return { answers, inBarrier }
    }
    const groups = new Set<number>()
    const readGroups = () =>
      monitor.readAvailable((reader, message) => {
        if (message.type !== RTM_NEWLINK || reader.u8(message.from) !== 0) return
        const { name, group } = readLink(reader, message)
        if (name.startsWith('v') && group !== 0) groups.add(group)
      })
    const { answers } = remove(Array.from({ length: 50 }, (_, number) => `v${number}`))
    readGroups()
    t.deepEqual(answers, new Array(50).fill(true))
    t.is(groups.size, 1)
    // Ten tries: on a crowded machine both may have happened before anybody looked.
    t.true(Array.from({ length: 10 }, (_, number) => remove([`v${number + 50}`])).some(({ inBarrier }) => inBarrier))
    readGroups()
    t.is(groups.size, 1)
    monitor.close()
    netns.close()
  }))

test('a request that could not be written, or is not answered, fails its removals and keeps no later one waiting', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.run(veths(ns, 3), call)
    const ENOBUFS = 105
    const writes: Write[] = [{ errno: ENOBUFS }, { errno: undefined }]
    const poller = new Poller()
    const removals = new Removals(new Namespaces(undefined, []), poller, (fd, bytes) => writes.shift() ?? startWrite(fd, bytes))
    const answers: unknown[] = []
    const overdue = () => performance.timeOrigin + performance.now() + 60_000 * (answers.length + 1)
    for (const [name, failure] of [
      ['v0', { errno: 'ENOBUFS' }],
      ['v1', { name: 'Unavailable' }],
    ] as const) {
      removals.add(ns, name, (answer) => answers.push(answer))
      removals.start()
      removals.endOverdue(overdue())
      t.like(answers.at(-1), failure)
    }
    removals.add(ns, 'v2', (answer) => answers.push(answer))
    removals.start()
    while (answers.length < 3) poller.wait(1000)
    t.true(answers[2])
  }))
