import { writeFileSync } from 'node:fs'
import { withCall } from '@heddle/core'
import test from 'ava'
import { openKernel } from './open.ts'
import { newName, sh, shown, withScratch } from './testing/namespaces.ts'
import type { Step } from './types.ts'

const kernel = openKernel()
test.after.always(() => kernel.close())

test('a program ends at the first failure, names it, and keeps what was done before', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    const steps: Step[] = [
      { op: 'bridge.add', ns, name: 'br0' },
      { op: 'bridge.add', ns, name: 'br0' },
      { op: 'bridge.add', ns, name: 'br1' },
    ]
    const error = await t.throwsAsync(kernel.run(steps, call))
    t.like(error, { code: 'kernel-refused', index: 1, errno: 'EEXIST' })
    t.regex(error?.message ?? '', /bridge\.add br0 .*EEXIST/)
    t.deepEqual(
      shown('ip', ns, 'link').map((link) => link.ifname),
      ['lo', 'br0'],
    )
    const outcomes = await kernel.run(
      steps.map((step) => ({ ...step, tolerate: ['EEXIST'] })),
      call,
    )
    t.deepEqual(
      outcomes.map(({ tolerated }) => tolerated),
      ['EEXIST', 'EEXIST', undefined],
    )
    t.true(outcomes.every(({ startMs, endMs }) => endMs >= startMs && Math.abs(startMs - Date.now()) < 60_000))
  }))

test('a look after a program tells what it has made; when a step is refused, or a namespace is gone, that is told', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    const add: Step = { op: 'bridge.add', ns, name: 'br0' }
    const [one, all, none] = await kernel.look([{ ns, name: 'br0', vfs: true }, { ns }, { ns, name: 'br1' }], call, [add])
    t.like(one, { links: [{ name: 'br0', kind: 'bridge' }], vfs: [] })
    t.deepEqual(
      all?.links.map(({ name }) => name),
      ['lo', 'br0'],
    )
    t.deepEqual(none, { links: [], vfs: [] })
    t.like(await t.throwsAsync(kernel.look([{ ns }], call, [{ ...add, name: 'br1' }, add])), { code: 'kernel-refused', index: 1, errno: 'EEXIST' })
    const gone = kernel.look([{ ns: { path: '/run/netns/not-there' } }], call, [{ ...add, tolerate: ['EEXIST'] }])
    t.like(await t.throwsAsync(gone), { code: 'netns-gone', index: 1 })
  }))

test('a veth whose name is taken says on which side, and a taken name in the sandbox is never tolerated', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [fabric, sandbox] = [await namespace(), await namespace()]
    await kernel.run(
      [
        { op: 'bridge.add', ns: sandbox, name: 'eth0' },
        { op: 'bridge.add', ns: fabric, name: 'taken' },
      ],
      call,
    )
    const add = (name: string, peer: string): Step => ({ op: 'veth.add', ns: fabric, name, peer: { ns: sandbox, name: peer }, tolerate: ['EEXIST'] })
    const error = await t.throwsAsync(kernel.run([add('v0', 'eth0')], call))
    t.like(error, { code: 'interface-exists', details: { end: 'peer', name: 'eth0', errno: 'EEXIST' } })
    t.true(error?.message.includes(sandbox.path))
    t.deepEqual(
      shown('ip', fabric, 'link').map((link) => link.ifname),
      ['lo', 'taken'],
    )
    t.is((await kernel.run([add('taken', 'eth1')], call))[0]?.tolerated, 'EEXIST')
    const { tolerate: _, ...strict } = add('taken', 'eth1')
    t.like(await t.throwsAsync(kernel.run([strict], call)), { code: 'interface-exists', details: { end: 'link' } })
  }))

test('a link whose last part is refused is not left half made', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    const alias = 'x'.repeat(300)
    t.like(await t.throwsAsync(kernel.run([{ op: 'veth.add', ns, name: 'a', alias, peer: { ns, name: 'b' } }], call)), { code: 'kernel-refused' })
    t.like(await t.throwsAsync(kernel.run([{ op: 'bridge.add', ns, name: 'c', alias }], call)), { code: 'kernel-refused' })
    t.deepEqual(
      shown('ip', ns, 'link').map((link) => link.ifname),
      ['lo'],
    )
  }))

test('values that no request can be built from are refused with their field', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.run([{ op: 'bridge.add', ns, name: 'br0' }], call)
    const wrong: [string, Step][] = [
      ['name', { op: 'bridge.add', ns, name: 'a/b' }],
      ['name', { op: 'bridge.add', ns, name: 'longer-than-15-b' }],
      ['mac', { op: 'bridge.add', ns, name: 'b', mac: '02:00' }],
      ['address', { op: 'address.replace', ns, name: 'br0', address: '10.0.0.1' }],
      ['address', { op: 'address.replace', ns, name: 'br0', address: '10.0.0.256/24' }],
      ['destination', { op: 'route.replace', ns, name: 'br0', destination: '10.0.0.0/33' }],
      ['gateway', { op: 'route.replace', ns, name: 'br0', destination: '10.0.0.0/8', gateway: 'fd00::1' }],
      ['local', { op: 'vxlan.add', ns, socketNs: ns, name: 'x', vni: 1, local: 'here', port: 1 }],
      ['op', { op: 'no.such', ns } as never],
    ]
    for (const [field, step] of wrong) t.like(await t.throwsAsync(kernel.run([step], call)), { code: 'invalid-argument', field }, JSON.stringify(step))
    t.deepEqual(
      shown('ip', ns, 'link').map((link) => link.ifname),
      ['lo', 'br0'],
    )
    t.like(await t.throwsAsync(kernel.run([{ op: 'link.set', ns, name: 'nope', up: true }], call)), { code: 'kernel-refused', errno: 'ENODEV' })
  }))

test('a namespace that is absent, or only a file, or of another kind is netns-gone with its path', (t) =>
  withScratch(kernel, async ({ call }) => {
    const file = `/tmp/${newName()}`
    writeFileSync(file, '')
    t.teardown(() => sh('rm', '-f', file))
    for (const path of ['/run/netns/hdk-no-such', file, '/proc/self/ns/uts']) {
      const error = await t.throwsAsync(kernel.links({ path }, call))
      t.like(error, { code: 'netns-gone', details: { path } }, path)
      t.like(await t.throwsAsync(kernel.removeLink({ path }, 'x', call)), { code: 'netns-gone' }, path)
      t.like(await t.throwsAsync(kernel.nftLoad({ path }, '', call)), { code: 'netns-gone' }, path)
      const veth: Step = { op: 'veth.add', ns: 'own', name: 'hdknever', peer: { ns: { path }, name: 'x' } }
      t.like(await t.throwsAsync(kernel.run([veth], call)), { code: 'netns-gone' }, path)
      t.is(path === '/proc/self/ns/uts' ? undefined : kernel.namespaceInode(path), undefined)
    }
    t.is(await kernel.link('own', 'hdknever', call), undefined)
  }))

test('a command whose caller has gone is not begun', async (t) => {
  const name = newName()
  await withCall({ timeoutMs: 60_000 }, async (call) => {
    const late = withCall({ timeoutMs: 0 }, (expired) => kernel.createNamespace(`/run/netns/${name}`, expired))
    t.like(await t.throwsAsync(late), { code: 'deadline-exceeded' })
    await kernel.links('own', call)
    t.is(kernel.namespaceInode(`/run/netns/${name}`), undefined)
  })
})
