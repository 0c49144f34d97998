import test from 'ava'
import { openKernel } from './open.ts'
import { has, sh, shown, withScratch } from './testing/namespaces.ts'
import type { MoveLink, Namespace, Step } from './types.ts'

const kernel = openKernel()
test.after.always(() => kernel.close())

interface Place {
  readonly path: string
  readonly name: string
}

const names = (ns: Place) =>
  shown('ip', ns, 'link')
    .map((link) => link.ifname as string)
    .filter((name) => name !== 'lo')

/** A veth stands for a VF's netdev: `va` in a host, its other end out of the way. */
const standIn = (ns: Namespace, elsewhere: Namespace): Step => ({
  op: 'veth.add',
  ns,
  name: 'va',
  mac: '02:00:00:00:00:0a',
  mtu: 1450,
  alias: 'before',
  up: true,
  peer: { ns: elsewhere, name: 'far', up: true },
})

const settled = { rename: 'eth0', mac: '02:00:00:00:00:07', mtu: 1400, alias: 'heddle:e:n', up: true } as const

test('one request moves a link and settles it: name, MAC, MTU, alias, up; a second brings it back as it was', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [host, sandbox, far] = [await namespace(), await namespace(), await namespace()]
    await kernel.run([standIn(host, far), { op: 'link.move', ns: host, name: 'va', to: sandbox, ...settled }], call)
    const [link] = shown('ip', sandbox, 'link', 'show', 'eth0')
    has(t, link, { address: '02:00:00:00:00:07', mtu: 1400, ifalias: 'heddle:e:n' })
    t.true(link?.flags.includes('UP'))
    t.deepEqual(names(host), [])
    await kernel.run([{ op: 'link.move', ns: sandbox, name: 'eth0', to: host, rename: 'va', mac: '02:00:00:00:00:0a', mtu: 1450, alias: '' }], call)
    const [back] = shown('ip', host, 'link', 'show', 'va')
    has(t, back, { address: '02:00:00:00:00:0a', mtu: 1450 })
    t.is(back?.ifalias, undefined)
    t.false(back?.flags.includes('UP'))
    t.deepEqual(names(sandbox), [])
  }))

test('a name that is taken there is interface-exists, and the link has not moved', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [host, sandbox, far] = [await namespace(), await namespace(), await namespace()]
    await kernel.run([standIn(host, far), { op: 'bridge.add', ns: sandbox, name: 'eth0' }, { op: 'bridge.add', ns: sandbox, name: 'br0' }], call)
    sh('ip', '-n', sandbox.name, 'link', 'property', 'add', 'dev', 'br0', 'altname', 'also')
    const address: Step = { op: 'address.replace', ns: host, name: 'va', address: '10.0.0.1/24' }
    await kernel.run([address], call)
    for (const rename of ['eth0', 'also']) {
      const error = await t.throwsAsync(kernel.run([{ op: 'link.move', ns: host, name: 'va', to: sandbox, ...settled, rename }], call))
      t.like(error, { code: 'interface-exists', errno: 'EEXIST', field: 'name', details: { name: rename } })
      t.true(error?.message.includes(sandbox.path))
    }
    has(t, shown('ip', host, 'link', 'show', 'va')[0], { address: '02:00:00:00:00:0a', mtu: 1450, ifalias: 'before' })
    t.deepEqual(
      (await kernel.addresses(host, call)).map((one) => one.address).filter((one) => one.includes('.')),
      ['10.0.0.1/24'],
    )
    t.deepEqual(names(sandbox).sort(), ['br0', 'eth0'])
  }))

for (const [what, part, errno] of [
  ['the MAC', { mac: '01:00:00:00:00:01' }, 'EADDRNOTAVAIL'],
  ['the MTU', { mtu: 1 }, 'EINVAL'],
  ['the name', { rename: 'bad%s' }, 'EINVAL'],
] as const) {
  for (const oldNameTaken of [false, true]) {
    test(`a move that is refused for ${what} leaves the link where and as it was${oldNameTaken ? ', also when its old name is taken there' : ''}`, (t) =>
      withScratch(kernel, async ({ call, namespace }) => {
        const [host, sandbox, far] = [await namespace(), await namespace(), await namespace()]
        const before = oldNameTaken ? [{ op: 'bridge.add', ns: sandbox, name: 'va', alias: 'another' } as const] : []
        await kernel.run([standIn(host, far), ...before], call)
        const move: MoveLink = { op: 'link.move', ns: host, name: 'va', to: sandbox, ...settled, ...part }
        t.like(await t.throwsAsync(kernel.run([move], call)), { code: 'kernel-refused', errno })
        const [link] = shown('ip', host, 'link', 'show', 'va')
        has(t, link, { address: '02:00:00:00:00:0a', mtu: 1450, ifalias: 'before' })
        t.true(link?.flags.includes('UP'))
        t.deepEqual(names(sandbox), oldNameTaken ? ['va'] : [])
      }))
  }
}

test('a link that cannot be put up where it was moved comes back, though it had its new name already', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [host, sandbox, far] = [await namespace(), await namespace(), await namespace()]
    await kernel.run([standIn(host, far)], call)
    sh('ip', '-n', host.name, 'link', 'add', 'link', 'va', 'name', 'mv0', 'address', '02:00:00:00:00:0b', 'type', 'macvlan')
    // A macvlan takes the MAC of the link below it, but cannot be put up with it.
    const move: MoveLink = { op: 'link.move', ns: host, name: 'mv0', to: sandbox, ...settled, mac: '02:00:00:00:00:0a' }
    t.like(await t.throwsAsync(kernel.run([move], call)), { errno: 'EADDRINUSE' })
    has(t, shown('ip', host, 'link', 'show', 'mv0')[0], { address: '02:00:00:00:00:0b', mtu: 1450 })
    t.deepEqual(names(sandbox), [])
    await kernel.run([{ ...move, mac: '02:00:00:00:00:0c' }], call)
    t.true((await kernel.link(sandbox, 'eth0', call))?.up)
  }))

test('the altname that udev gave a link does not keep it from that name, and is back when the move is refused', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [host, sandbox, far] = [await namespace(), await namespace(), await namespace()]
    await kernel.run([standIn(host, far)], call)
    for (const altName of ['ens1f0v0', 'enp59s0f0v0']) sh('ip', '-n', host.name, 'link', 'property', 'add', 'dev', 'va', 'altname', altName)
    const move: MoveLink = { op: 'link.move', ns: host, name: 'va', to: sandbox, rename: 'ens1f0v0' }
    t.like(await t.throwsAsync(kernel.run([{ ...move, mtu: 1 }], call)), { errno: 'EINVAL' })
    t.deepEqual(shown('ip', host, 'link', 'show', 'va')[0]?.altnames.toSorted(), ['enp59s0f0v0', 'ens1f0v0'])
    await kernel.run([move], call)
    t.deepEqual(shown('ip', sandbox, 'link', 'show', 'ens1f0v0')[0]?.altnames, ['enp59s0f0v0'])
  }))

test('a link that is not there is ENODEV, a namespace that has ended is netns-gone, on either side', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [host, far] = [await namespace(), await namespace()]
    const gone = { path: '/run/netns/hdk-no-such' }
    await kernel.run([standIn(host, far)], call)
    const move: MoveLink = { op: 'link.move', ns: host, name: 'va', to: gone, rename: 'eth0' }
    t.like(await t.throwsAsync(kernel.run([move], call)), { code: 'netns-gone', details: { path: gone.path } })
    t.like(await t.throwsAsync(kernel.run([{ ...move, ns: gone, to: host }], call)), { code: 'netns-gone', details: { path: gone.path } })
    t.like(await t.throwsAsync(kernel.run([{ ...move, name: 'vx', to: far }], call)), { code: 'kernel-refused', errno: 'ENODEV' })
    t.deepEqual(names(host), ['va'])
  }))

test('thirty moves at once all end well, and each link is where it belongs', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [host, sandbox] = [await namespace(), await namespace()]
    const count = 30
    const numbers = Array.from({ length: count }, (_, number) => number)
    await kernel.run(
      numbers.map((number): Step => ({ op: 'veth.add', ns: host, name: `v${number}`, peer: { ns: host, name: `p${number}` } })),
      call,
    )
    await Promise.all(numbers.map((number) => kernel.run([{ op: 'link.move', ns: host, name: `v${number}`, to: sandbox, rename: `eth${number}` }], call)))
    t.deepEqual(names(sandbox).toSorted(), numbers.map((number) => `eth${number}`).toSorted())
  }))
