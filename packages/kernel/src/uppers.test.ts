import test from 'ava'
import { openKernel } from './open.ts'
import { has, sh, shown, withScratch } from './testing/namespaces.ts'
import type { AddMacvlan, Namespace, Step } from './types.ts'

const kernel = openKernel()
test.after.always(() => kernel.close())

const nic = (ns: Namespace): Step => ({ op: 'veth.add', ns, name: 'p0', mac: '02:00:00:00:00:0a', mtu: 1450, up: true, peer: { ns, name: 'wire', up: true } })

test('a macvlan is made in its sandbox at once, from a link of the host, which it is then known to stand on', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [host, sandbox] = [await namespace(), await namespace()]
    // An index of the sandbox that the link below has too would be taken for it.
    await kernel.run([nic(host), { op: 'bridge.add', ns: sandbox, name: 'br0' }], call)
    const add: AddMacvlan = {
      op: 'macvlan.add',
      ns: sandbox,
      name: 'eth0',
      link: 'p0',
      linkNs: host,
      mode: 'private',
      mac: '02:00:00:00:00:0b',
      alias: 'mark',
      up: true,
    }
    await kernel.run([add], call)
    const [link] = shown('ip', sandbox, 'link', 'show', 'eth0')
    has(t, link, { address: '02:00:00:00:00:0b', mtu: 1450, ifalias: 'mark', linkinfo: { info_kind: 'macvlan', info_data: { mode: 'private' } } })
    t.true(link?.flags.includes('UP'))
    const below = await kernel.link(host, 'p0', call)
    t.like(await kernel.link(sandbox, 'eth0', call), {
      kind: 'macvlan',
      upper: { mode: 'private', vlan: 0 },
      peerIndex: below?.index,
      peerElsewhere: true,
      running: true,
    })
    t.like(await t.throwsAsync(kernel.run([add], call)), { code: 'kernel-refused', errno: 'EEXIST' })
    t.like(await t.throwsAsync(kernel.run([{ ...add, name: 'eth1', link: 'p9' }], call)), { errno: 'ENODEV' })
    t.like(await t.throwsAsync(kernel.run([{ ...add, name: 'eth1', mode: 'source' as 'vepa' }], call)), { code: 'invalid-argument', field: 'mode' })
    t.is(await kernel.link(sandbox, 'eth1', call), undefined)
  }))

test('a macvlan of its own namespace, in each mode; in passthru it is the only one and has the MAC of its link', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const host = await namespace()
    await kernel.run([nic(host)], call)
    const add = (name: string, mode: AddMacvlan['mode']): AddMacvlan => ({ op: 'macvlan.add', ns: host, name, link: 'p0', mode, mac: '02:00:00:00:00:0c' })
    for (const mode of ['bridge', 'vepa', 'private', 'passthru'] as const) {
      await kernel.run([add('m0', mode)], call)
      t.like(await kernel.link(host, 'm0', call), {
        upper: { mode },
        mac: mode === 'passthru' ? '02:00:00:00:00:0a' : '02:00:00:00:00:0c',
        peerElsewhere: false,
      })
      if (mode === 'passthru') t.like(await t.throwsAsync(kernel.run([add('m1', mode)], call)), { errno: 'EINVAL' })
      await kernel.removeLink(host, 'm0', call)
    }
  }))

test('an alias that cannot be kept leaves no link', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [host, sandbox] = [await namespace(), await namespace()]
    await kernel.run([nic(host)], call)
    const add: Step = { op: 'macvlan.add', ns: sandbox, name: 'eth0', link: 'p0', linkNs: host, mode: 'bridge', alias: 'x'.repeat(300) }
    await t.throwsAsync(kernel.run([add], call))
    t.is(await kernel.link(sandbox, 'eth0', call), undefined)
  }))

for (const [what, step, module, kind] of [
  ['an ipvlan', { op: 'ipvlan.add', mode: 'l3' }, 'ipvlan', { mode: 'l3', vlan: 0 }],
  ['a VLAN subinterface', { op: 'vlan.add', vlan: 7 }, '8021q', { mode: '', vlan: 7 }],
] as const) {
  test(`${what} is made in its sandbox, or the refusal names the module the kernel lacks`, (t) =>
    withScratch(kernel, async ({ call, namespace }) => {
      const [host, sandbox] = [await namespace(), await namespace()]
      await kernel.run([nic(host)], call)
      try {
        await kernel.run([{ ...step, ns: sandbox, name: 'eth0', link: 'p0', linkNs: host, up: true }], call)
        t.like(await kernel.link(sandbox, 'eth0', call), { upper: kind, mac: '02:00:00:00:00:0a', peerElsewhere: true })
        t.is(
          sh('ip', '-n', host.name, '-o', 'link')
            .split('\n')
            .filter((line) => line.includes('eth0')).length,
          0,
        )
      } catch (error) {
        t.like(error, { code: 'unsupported', errno: 'EOPNOTSUPP', details: { module } })
        t.regex((error as { remedy?: string }).remedy ?? '', new RegExp(module))
      }
    }))
}
