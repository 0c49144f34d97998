import { readFileSync } from 'node:fs'
import test from 'ava'
import { openKernel } from './open.ts'
import { routeProtocol } from './rtnl/address.ts'
import { has, sh, shown, withScratch } from './testing/namespaces.ts'
import type { Namespace, Step } from './types.ts'

const kernel = openKernel()
test.after.always(() => kernel.close())

const pair = (ns: Namespace): Step[] => [{ op: 'veth.add', ns, name: 'a', mac: '02:00:00:00:00:0a', up: true, peer: { ns, name: 'b', up: true } }]

test('addresses of both families are put, put again, listed and removed; IPv6 is usable at once', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    const put: Step[] = [
      { op: 'address.replace', ns, name: 'a', address: '10.1.2.3/20' },
      { op: 'address.replace', ns, name: 'a', address: '10.9.9.9/32' },
      { op: 'address.replace', ns, name: 'a', address: 'fd00::2:3/64' },
    ]
    await kernel.run([...pair(ns), ...put, ...put], call)
    const [link] = shown('ip', ns, 'addr', 'show', 'dev', 'a')
    const of = (local: string) => link?.addr_info.find((address: { local: string }) => address.local === local)
    has(t, of('10.1.2.3'), { prefixlen: 20, broadcast: '10.1.15.255', scope: 'global' })
    t.is(of('10.9.9.9')?.broadcast, undefined)
    has(t, of('fd00::2:3'), { prefixlen: 64, nodad: true })
    t.is(of('fd00::2:3')?.tentative, undefined)
    const listed = (await kernel.addresses(ns, call)).filter(({ address }) => !address.startsWith('fe80:'))
    t.deepEqual(listed.map(({ address }) => address).sort(), ['10.1.2.3/20', '10.9.9.9/32', 'fd00::2:3/64'])
    t.true(listed.every(({ linkIndex }) => linkIndex === link?.ifindex))
    const own = (await kernel.addressesOf(ns, link?.ifindex, call)).filter(({ address }) => !address.startsWith('fe80:'))
    t.deepEqual(own, listed)
    t.deepEqual(
      await kernel
        .addressesOf(ns, (await kernel.link(ns, 'b', call))?.index ?? 0, call)
        .then((all) => all.filter(({ linkIndex }) => linkIndex === link?.ifindex)),
      [],
    )
    await kernel.run(
      [
        { op: 'address.delete', ns, name: 'a', address: '10.9.9.9/32' },
        { op: 'address.delete', ns, name: 'a', address: 'fd00::2:3/64' },
      ],
      call,
    )
    t.deepEqual(
      (await kernel.addresses(ns, call)).filter(({ address }) => !address.startsWith('fe80:')).map(({ address }) => address),
      ['10.1.2.3/20'],
    )
    const again = await kernel.run([{ op: 'address.delete', ns, name: 'a', address: '10.9.9.9/32', tolerate: ['EADDRNOTAVAIL'] }], call)
    t.is(again[0]?.tolerated, 'EADDRNOTAVAIL')
  }))

test('routes of both families, with and without gateway, are put, changed, listed as ours and removed', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.run(
      [
        ...pair(ns),
        { op: 'address.replace', ns, name: 'a', address: '10.1.2.3/24' },
        { op: 'address.replace', ns, name: 'a', address: 'fd00::3/64' },
        { op: 'route.replace', ns, name: 'a', destination: '0.0.0.0/0', gateway: '10.1.2.1' },
        { op: 'route.replace', ns, name: 'a', destination: '0.0.0.0/0', gateway: '10.1.2.254' },
        { op: 'route.replace', ns, name: 'a', destination: '10.7.0.0/16' },
        { op: 'route.replace', ns, name: 'a', destination: '::/0', gateway: 'fd00::1' },
        { op: 'route.replace', ns, name: 'a', destination: 'fd07::/48' },
      ],
      call,
    )
    const further: Step[] = [
      { op: 'route.add', ns, name: 'a', destination: '0.0.0.0/0', gateway: '10.1.2.9', tolerate: ['EEXIST'] },
      { op: 'route.add', ns, name: 'a', destination: '::/0', gateway: 'fd00::9', tolerate: ['EEXIST'] },
    ]
    t.deepEqual(
      (await kernel.run(further, call)).map(({ tolerated }) => tolerated),
      ['EEXIST', 'EEXIST'],
      'adding takes nothing over',
    )
    const of = (rows: any[], dst: string) => rows.find((row) => row.dst === dst)
    has(t, of(shown('ip', ns, 'route'), 'default'), { gateway: '10.1.2.254', dev: 'a', protocol: String(routeProtocol) })
    has(t, of(shown('ip', ns, 'route'), '10.7.0.0/16'), { dev: 'a', scope: 'link' })
    has(t, of(shown('ip', ns, '-6', 'route'), 'default'), { gateway: 'fd00::1', dev: 'a' })
    const ours = (await kernel.routes(ns, call)).filter((route) => route.protocol === routeProtocol)
    t.deepEqual(ours.map(({ destination, gateway }) => `${destination} ${gateway}`).sort(), [
      '0.0.0.0/0 10.1.2.254',
      '10.7.0.0/16 ',
      '::/0 fd00::1',
      'fd07::/48 ',
    ])
    await kernel.run(
      [
        { op: 'route.replace', ns, name: 'a', destination: '10.8.0.0/16', gateway: '10.1.2.1', mtu: 1400, advmss: 1360, priority: 77, table: 100, scope: 200 },
        { op: 'route.replace', ns, name: 'a', destination: 'fd08::/48', gateway: 'fd00::1', table: 1000 },
      ],
      call,
    )
    const [other] = shown('ip', ns, 'route', 'show', 'table', '100')
    has(t, other, { gateway: '10.1.2.1', metric: 77, scope: 'site' })
    t.like(other.metrics?.[0], { mtu: 1400, advmss: 1360 })
    t.deepEqual(
      (await kernel.routes(ns, call, 1000)).map(({ destination }) => destination),
      ['fd08::/48'],
    )
    await kernel.run(
      [
        { op: 'route.delete', ns, name: 'a', destination: '0.0.0.0/0', gateway: '10.1.2.254' },
        { op: 'route.delete', ns, name: 'a', destination: 'fd07::/48' },
      ],
      call,
    )
    t.is((await kernel.routes(ns, call)).filter((route) => route.protocol === routeProtocol).length, 2)
    const again = await kernel.run([{ op: 'route.delete', ns, name: 'a', destination: '0.0.0.0/0', tolerate: ['ESRCH'] }], call)
    t.is(again[0]?.tolerated, 'ESRCH')
  }))

test('the three entries of a remote endpoint are put, replaced in place, listed by table and removed', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    const mac = '02:00:00:00:00:99'
    const entries = (destination: string, port: string): Step[] => [
      { op: 'fdb.vxlan.replace', ns, name: 'x0', mac, destination },
      { op: 'fdb.bridge.replace', ns, name: port, mac },
      { op: 'neighbour.replace', ns, name: 'br0', address: '10.0.0.9', mac },
      { op: 'neighbour.replace', ns, name: 'br0', address: 'fd00::9', mac },
    ]
    await kernel.run(
      [
        { op: 'bridge.add', ns, name: 'br0', up: true },
        { op: 'vxlan.add', ns, socketNs: ns, name: 'x0', vni: 5, local: '127.0.0.1', port: 4789, master: 'br0', up: true },
        { op: 'veth.add', ns, name: 'a', master: 'br0', up: true, peer: { ns, name: 'b' } },
        ...entries('192.0.2.1', 'x0'),
      ],
      call,
    )
    const index = (await kernel.link(ns, 'x0', call))?.index
    const bridgeIndex = (await kernel.link(ns, 'br0', call))?.index
    const ours = async (link: number | undefined) =>
      (await kernel.neighbours(ns, link, call))
        .filter((entry) => entry.mac === mac)
        .map(({ table, address, permanent, linkIndex }) => `${table} ${address} ${permanent} ${linkIndex}`)
    t.deepEqual(await ours(index), [`bridge  true ${index}`, `vxlan 192.0.2.1 true ${index}`])
    t.deepEqual(await ours(bridgeIndex), [`neighbour 10.0.0.9 true ${bridgeIndex}`, `neighbour fd00::9 true ${bridgeIndex}`])
    const fdb = () => shown('bridge', ns, 'fdb').filter((entry) => entry.mac === mac)
    t.like(
      fdb().find((entry) => entry.dst),
      { ifname: 'x0', dst: '192.0.2.1', state: 'permanent' },
    )
    t.like(
      fdb().find((entry) => entry.master),
      { ifname: 'x0', master: 'br0', state: 'static' },
    )
    t.like(shown('ip', ns, 'neigh', 'show', '10.0.0.9')[0], { lladdr: mac, state: ['PERMANENT'] })

    await kernel.run(entries('192.0.2.2', 'a'), call)
    t.deepEqual(
      fdb()
        .map((entry) => entry.dst ?? entry.ifname)
        .sort(),
      ['192.0.2.2', 'a'],
    )

    const removal: Step[] = [
      { op: 'neighbour.delete', ns, name: 'br0', address: '10.0.0.9' },
      { op: 'neighbour.delete', ns, name: 'br0', address: 'fd00::9' },
      { op: 'fdb.bridge.delete', ns, name: 'a', mac },
      { op: 'fdb.vxlan.delete', ns, name: 'x0', mac },
    ]
    await kernel.run(removal, call)
    t.deepEqual(await ours(undefined), [])
    const again = await kernel.run(
      removal.map((step) => ({ ...step, tolerate: ['ENOENT'] })),
      call,
    )
    t.deepEqual(
      again.map(({ tolerated }) => tolerated),
      ['ENOENT', 'ENOENT', 'ENOENT', 'ENOENT'],
    )
  }))

test('a batch of table entries names the one that was refused', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.run([{ op: 'vxlan.add', ns, socketNs: ns, name: 'x0', vni: 5, local: '127.0.0.1', port: 4789 }], call)
    const steps = Array.from({ length: 700 }, (_, number): Step => {
      const mac = `02:00:00:00:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 0xff).toString(16).padStart(2, '0')}`
      return { op: 'fdb.vxlan.replace', ns, name: 'x0', mac, destination: number === 500 ? '2001:db8::1' : '192.0.2.1' }
    })
    const error = await t.throwsAsync(kernel.run(steps, call), { code: 'kernel-refused' })
    t.like(error, { index: 500, errno: 'EAFNOSUPPORT' })
    const outcomes = await kernel.run(
      steps.map((step) => ({ ...step, tolerate: ['EAFNOSUPPORT'] })),
      call,
    )
    t.is(outcomes.length, 700)
    t.deepEqual(
      outcomes.flatMap((outcome, index) => (outcome.tolerated === undefined ? [] : [index])),
      [500],
    )
    t.is((await kernel.neighbours(ns, undefined, call)).length, 699)
  }))

test('a sysctl is written in the namespace and nowhere else', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    const own = readFileSync('/proc/sys/net/ipv4/conf/lo/arp_ignore', 'utf8')
    await kernel.run([{ op: 'sysctl', ns, path: 'net/ipv4/conf/lo/arp_ignore', value: '3' }], call)
    t.is(sh('ip', 'netns', 'exec', ns.name, 'cat', '/proc/sys/net/ipv4/conf/lo/arp_ignore').trim(), '3')
    t.is(readFileSync('/proc/sys/net/ipv4/conf/lo/arp_ignore', 'utf8'), own)
    t.like(await t.throwsAsync(kernel.run([{ op: 'sysctl', ns, path: 'net/ipv4/no_such_thing', value: '1' }], call)), {
      code: 'kernel-refused',
      errno: 'ENOENT',
    })
    // A legal interface name, if an odd one.
    await kernel.run(
      [
        { op: 'bridge.add', ns, name: 'net@1' },
        { op: 'sysctl', ns, path: 'net/ipv4/conf/net@1/arp_ignore', value: '3' },
      ],
      call,
    )
    await t.notThrowsAsync(kernel.run([{ op: 'sysctl', ns, path: 'net/bridge/bridge-nf-no-such-thing', value: '0' }], call))
    for (const path of ['kernel/hostname', 'net/../kernel/hostname', '/etc/passwd']) {
      t.like(await t.throwsAsync(kernel.run([{ op: 'sysctl', ns, path, value: 'x' }], call)), { code: 'invalid-argument', field: 'path' }, path)
    }
  }))

test('an announcement corrects what a neighbour has cached, over IPv4 and IPv6', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [one, other] = [await namespace(), await namespace()]
    const mac = '02:00:00:00:00:0a'
    await kernel.run(
      [
        { op: 'veth.add', ns: one, name: 'a', mac, up: true, peer: { ns: other, name: 'b', up: true } },
        { op: 'address.replace', ns: one, name: 'a', address: '10.0.0.1/24' },
        { op: 'address.replace', ns: one, name: 'a', address: 'fd00::1/64' },
        { op: 'address.replace', ns: other, name: 'b', address: '10.0.0.2/24' },
        { op: 'address.replace', ns: other, name: 'b', address: 'fd00::2/64' },
      ],
      call,
    )
    for (const address of ['10.0.0.1', 'fd00::1']) {
      sh('ip', '-n', other.name, 'neigh', 'replace', address, 'lladdr', '02:00:00:00:00:ff', 'dev', 'b', 'nud', 'stale')
      // The kernel ignores a change of address for a second after the last one (neigh locktime).
      sh(
        'ip',
        'netns',
        'exec',
        other.name,
        'sh',
        '-c',
        'echo 0 > /proc/sys/net/ipv4/neigh/b/locktime; echo 0 > /proc/sys/net/ipv6/neigh/b/locktime 2>/dev/null; true',
      )
    }
    await kernel.run([{ op: 'announce', ns: one, name: 'a', mac, addresses: ['10.0.0.1', 'fd00::1'] }], call)
    for (const address of ['10.0.0.1', 'fd00::1']) t.is(shown('ip', other, 'neigh', 'show', address)[0]?.lladdr, mac, address)
  }))
