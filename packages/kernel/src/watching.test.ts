import test from 'ava'
import { openKernel } from './open.ts'
import { sh, withScratch } from './testing/namespaces.ts'
import type { LinkEvent } from './types.ts'
import { Watchers } from './watchers.ts'

const kernel = openKernel()
test.after.always(() => kernel.close())

test('a watcher hears of links that come, are renamed and go, whoever did it, until it is closed', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [ns, other] = [await namespace(), await namespace()]
    const events: LinkEvent[] = []
    const heard = (kind: LinkEvent['kind'], name: string) => until(() => events.some((event) => event.kind === kind && event.name === name))
    const watch = kernel.watchLinks(ns, (event) => events.push(event))
    await kernel.links(ns, call)
    sh('ip', '-n', ns.name, 'link', 'add', 'name', 'a', 'type', 'veth', 'peer', 'name', 'b')
    await heard('new', 'a')
    await kernel.run(
      [
        { op: 'link.set', ns, name: 'a', rename: 'c' },
        { op: 'bridge.add', ns, name: 'br0' },
        { op: 'link.set', ns, name: 'c', master: 'br0' },
      ],
      call,
    )
    await heard('new', 'c')
    await kernel.run(
      [
        { op: 'link.set', ns, name: 'c', master: '' },
        { op: 'bridge.add', ns: other, name: 'elsewhere' },
        { op: 'bridge.add', ns, name: 'br1' },
      ],
      call,
    )
    await heard('new', 'br1')
    t.false(
      events.some((event) => event.kind === 'gone'),
      'leaving a bridge is no end of a link',
    )
    t.false(events.some((event) => event.name === 'elsewhere'))
    await kernel.removeLink(ns, 'c', call)
    await heard('gone', 'c')
    await heard('gone', 'b')
    t.true(events.every((event) => event.ns === ns && event.index > 0))
    watch.close()
    await kernel.links(ns, call)
    const before = events.length
    await kernel.run([{ op: 'bridge.add', ns, name: 'br2' }], call)
    await kernel.links(ns, call)
    t.is(events.length, before)
  }))

test('when notifications were lost the links are read again and the difference is told', async (t) => {
  const told: string[] = []
  let links = [{ index: 1, name: 'lo' }]
  const watchers = new Watchers({ send: () => Promise.resolve(), list: () => Promise.resolve(links as never) })
  watchers.add('own', ({ kind, name }) => told.push(`${kind} ${name}`))
  watchers.onNotice({
    watch: 1,
    events: [
      { kind: 'new', index: 2, name: 'a' },
      { kind: 'new', index: 3, name: 'b' },
    ],
  })
  links = [
    { index: 1, name: 'lo' },
    { index: 3, name: 'b' },
    { index: 4, name: 'c' },
  ]
  watchers.onNotice({ watch: 1, overrun: true })
  await new Promise(setImmediate)
  t.deepEqual(told, ['new a', 'new b', 'gone a', 'new lo', 'new b', 'new c'])
})

async function until(condition: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 1000; attempt++) {
    if (condition()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error('never came true')
}
