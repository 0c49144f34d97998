import test from 'ava'
import { openKernel } from './open.ts'
import type { Notice } from './protocol.ts'
import { sh, withScratch } from './testing/namespaces.ts'
import { NetlinkThread } from './thread.ts'
import type { DeviceEvent } from './types.ts'
import { readUevent } from './uevents/read.ts'
import { Watchers } from './watchers.ts'
import * as libc from './worker/libc.ts'
import { Namespaces } from './worker/namespaces.ts'
import type { Poller } from './worker/poller.ts'
import { Watches } from './worker/watches.ts'
import { workerUrl } from './worker-url.ts'

const kernel = openKernel()
test.after.always(() => kernel.close())

const text = (...parts: string[]) => new TextEncoder().encode(`${parts.join('\0')}\0`)

test('a uevent is read by its action, path and subsystem; what is none is nothing', (t) => {
  const path = '/devices/pci0000:00/0000:00:01.0/0000:01:10.0'
  t.deepEqual(readUevent(text(`bind@${path}`, 'ACTION=bind', `DEVPATH=${path}`, 'SUBSYSTEM=pci', 'DRIVER=igbvf', 'SEQNUM=1234')), {
    action: 'bind',
    subsystem: 'pci',
    path,
  })
  for (const wrong of [
    text('libudev', 'SUBSYSTEM=net'),
    text('add@/devices/x', 'ACTION=add'),
    text('@/devices/x', 'SUBSYSTEM=net'),
    text('add@x', 'SUBSYSTEM=net'),
    new Uint8Array(0),
  ])
    t.is(readUevent(wrong), undefined)
})

test('devices of the own namespace that come, are renamed and go are told, until the watch is closed', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [ns, other] = [await namespace(), await namespace()]
    const host = openKernel({ own: ns.path })
    t.teardown(() => host.close())
    const events: (DeviceEvent | undefined)[] = []
    const watch = host.watchDevices((event) => events.push(event))
    const heard = (action: string, name: string) => until(() => events.some((event) => event?.action === action && event.path.endsWith(`/${name}`)))
    await host.links('own', call)
    sh('ip', '-n', other.name, 'link', 'add', 'name', 'elsewhere', 'type', 'veth', 'peer', 'name', 'b')
    sh('ip', '-n', ns.name, 'tuntap', 'add', 'name', 'tap0', 'mode', 'tap')
    await heard('add', 'tap0')
    await host.run([{ op: 'link.set', ns: 'own', name: 'tap0', rename: 'tap1' }], call)
    await heard('move', 'tap1')
    await host.run([{ op: 'link.move', ns: 'own', name: 'tap1', to: other }], call)
    await heard('remove', 'tap1')
    t.deepEqual([...new Set(events.map((event) => event?.subsystem))], ['net'], 'not of the queues, nor of any other device')
    t.false(events.some((event) => event?.path.endsWith('/elsewhere')))
    watch.close()
    await host.links('own', call)
    const before = events.length
    await host.run([{ op: 'bridge.add', ns: 'own', name: 'br0' }], call)
    await host.links('own', call)
    t.is(events.length, before)
  }))

test('when device events were lost, or the thread that heard them has died, it is told and the watch goes on', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    const thread = new NetlinkThread({
      own: ns.path,
      residents: [],
      workerUrl: workerUrl(),
      onNotice: (notice) => watchers.onNotice(notice),
      onRestart: () => watchers.restart(),
    })
    t.teardown(() => thread.close())
    const watchers = new Watchers({ send: (request) => thread.send(request, Number.POSITIVE_INFINITY), list: () => Promise.resolve([]) })
    const events: (DeviceEvent | undefined)[] = []
    watchers.addDevices((event) => events.push(event))
    await thread.send({ kind: 'links', ns: 'own' }, Number.POSITIVE_INFINITY)
    await thread.worker?.terminate()
    await until(() => events.length > 0)
    t.deepEqual(events, [undefined])
    await thread.send({ kind: 'links', ns: 'own' }, Number.POSITIVE_INFINITY)
    await kernel.run([{ op: 'bridge.add', ns, name: 'br0' }], call)
    await until(() => events.some((event) => event?.path.endsWith('/br0')))
    watchers.onNotice({ watch: 1, overrun: true })
    t.is(events.at(-1), undefined)
  }))

test('a burst beyond the socket’s buffer is a loss, and what comes after it is read again', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    const notices: Notice[] = []
    let socket = -1
    let read = () => {}
    const poller = {
      add(fd: number, onReadable: () => void) {
        socket = fd
        read = onReadable
      },
      remove() {},
    } as unknown as Poller
    const watches = new Watches(new Namespaces(ns.path, []), poller, (notice) => notices.push(notice))
    watches.addDevices(1)
    t.teardown(() => watches.remove(1))
    const SOL_SOCKET = 1
    const SO_RCVBUF = 8
    libc.setOption(socket, SOL_SOCKET, SO_RCVBUF, new Uint8Array(4))
    const add = (from: number) =>
      kernel.run(
        [0, 1, 2, 3].map((number) => ({ op: 'bridge.add', ns, name: `br${from + number}` }) as const),
        call,
      )
    await add(0)
    read()
    t.deepEqual(notices.at(-1), { watch: 1, overrun: true })
    read()
    notices.length = 0
    libc.setOption(socket, SOL_SOCKET, SO_RCVBUF, new Uint8Array([0, 0, 4, 0]))
    await add(4)
    read()
    t.is(notices.length, 1)
    t.like(notices[0], { watch: 1 })
    t.true('devices' in (notices[0] ?? {}))
  }))

async function until(condition: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 1000; attempt++) {
    if (condition()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error('never came true')
}
