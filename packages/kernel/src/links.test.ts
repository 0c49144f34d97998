import test from 'ava'
import { openKernel } from './open.ts'
import { has, sh, shown, withScratch } from './testing/namespaces.ts'

const kernel = openKernel()
test.after.always(() => kernel.close())

test('one veth request puts both ends where they stay: ours in its bridge and up, the other in the sandbox', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [fabric, sandbox] = [await namespace(), await namespace()]
    await kernel.run(
      [
        { op: 'bridge.add', ns: fabric, name: 'br0', mac: '02:00:00:00:00:01', mtu: 1400, alias: 'heddle-net:blue', up: true },
        {
          op: 'veth.add',
          ns: fabric,
          name: 'v0',
          mac: '02:00:00:00:00:02',
          mtu: 1400,
          alias: 'heddle:e:n',
          master: 'br0',
          up: true,
          peer: { ns: sandbox, name: 'eth0', mac: '02:00:00:00:00:03', alias: 'inside', up: true },
        },
      ],
      call,
    )
    const [bridge] = shown('ip', fabric, 'link', 'show', 'br0')
    has(t, bridge, {
      address: '02:00:00:00:00:01',
      mtu: 1400,
      ifalias: 'heddle-net:blue',
      linkinfo: { info_kind: 'bridge', info_data: { stp_state: 0, mcast_snooping: 0 } },
    })
    const [ours] = shown('ip', fabric, 'link', 'show', 'v0')
    has(t, ours, { address: '02:00:00:00:00:02', mtu: 1400, ifalias: 'heddle:e:n', master: 'br0', linkinfo: { info_kind: 'veth' } })
    t.true(ours?.flags.includes('UP'))
    const [peer] = shown('ip', sandbox, 'link', 'show', 'eth0')
    has(t, peer, { address: '02:00:00:00:00:03', mtu: 1400, ifalias: 'inside' })
    t.true(peer?.flags.includes('UP'))
    t.deepEqual(
      (await kernel.links(fabric, call)).map(({ name, kind, masterIndex }) => ({ name, kind, master: masterIndex > 0 })),
      [
        { name: 'lo', kind: '', master: false },
        { name: 'br0', kind: 'bridge', master: false },
        { name: 'v0', kind: 'veth', master: true },
      ],
    )
    const link = await kernel.link(fabric, 'v0', call)
    t.like(link, {
      name: 'v0',
      alias: 'heddle:e:n',
      mac: '02:00:00:00:00:02',
      mtu: 1400,
      up: true,
      running: true,
      peerIndex: peer?.ifindex,
      peerElsewhere: true,
    })
    t.is(await kernel.link(fabric, 'v1', call), undefined)
  }))

test('both ends of a veth may be in one namespace, and one may be in the own namespace', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    const name = `hk${process.pid}`.slice(0, 15)
    await kernel.run([{ op: 'veth.add', ns, name: 'a', peer: { ns, name: 'b' } }], call)
    t.deepEqual(
      shown('ip', ns, 'link')
        .map((link) => link.ifname)
        .sort(),
      ['a', 'b', 'lo'],
    )
    await kernel.run([{ op: 'veth.add', ns: 'own', name, peer: { ns, name: 'c' } }], call)
    t.teardown(() => kernel.removeLink('own', name, call).catch(() => {}))
    t.is((await kernel.link('own', name, call))?.kind, 'veth')
    t.true(await kernel.removeLink('own', name, call))
    t.is(await kernel.link(ns, 'c', call), undefined)
  }))

for (const [family, local] of [
  ['IPv4', '127.0.0.1'],
  ['IPv6', '::1'],
] as const) {
  test(`a VXLAN device made in another namespace keeps its socket in the first, over ${family}`, (t) =>
    withScratch(kernel, async ({ call, namespace }) => {
      const [host, fabric] = [await namespace(), await namespace()]
      await kernel.run(
        [
          { op: 'link.set', ns: host, name: 'lo', up: true },
          { op: 'bridge.add', ns: fabric, name: 'br0', up: true },
          {
            op: 'vxlan.add',
            ns: fabric,
            socketNs: host,
            name: 'x0',
            vni: 4097,
            local,
            port: 14789,
            mac: '02:00:00:00:00:07',
            mtu: 1430,
            alias: 'heddle-net:blue',
            master: 'br0',
            up: true,
          },
        ],
        call,
      )
      const [device] = shown('ip', fabric, 'link', 'show', 'x0')
      has(t, device, { address: '02:00:00:00:00:07', mtu: 1430, master: 'br0', ifalias: 'heddle-net:blue', linkinfo: { info_kind: 'vxlan' } })
      has(t, device?.linkinfo.info_data, { id: 4097, [family === 'IPv4' ? 'local' : 'local6']: local, port: 14789, learning: false, ttl: 64 })
      t.like(await kernel.link(fabric, 'x0', call), { kind: 'vxlan', vxlan: { vni: 4097, local, port: 14789, learning: false }, running: true })
      t.regex(sh('ip', 'netns', 'exec', host.name, 'ss', '-Huln'), /:14789\b/)
      t.notRegex(sh('ip', 'netns', 'exec', fabric.name, 'ss', '-Huln'), /:14789\b/)
    }))
}

test('link.set renames, resizes, readdresses, moves in and out of a bridge, and takes down', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    const add = [
      { op: 'bridge.add', ns, name: 'br0' },
      { op: 'veth.add', ns, name: 'a', up: true, peer: { ns, name: 'b' } },
    ] as const
    await kernel.run([...add, { op: 'link.set', ns, name: 'a', master: 'br0', mtu: 1300, mac: '02:00:00:00:00:0a', alias: 'new' }], call)
    has(t, shown('ip', ns, 'link', 'show', 'a')[0], { master: 'br0', mtu: 1300, address: '02:00:00:00:00:0a', ifalias: 'new' })
    await kernel.run(
      [
        { op: 'link.set', ns, name: 'a', master: '', up: false },
        { op: 'link.set', ns, name: 'a', rename: 'z', up: true },
      ],
      call,
    )
    const [link] = shown('ip', ns, 'link', 'show', 'z')
    t.is(link?.master, undefined)
    t.is(link?.ifalias, 'new')
    t.true(link?.flags.includes('UP'))
  }))

test('each bridge port flag is set on its own, and the others stay', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.run(
      [
        { op: 'bridge.add', ns, name: 'br0' },
        { op: 'veth.add', ns, name: 'a', master: 'br0', peer: { ns, name: 'b' } },
      ],
      call,
    )
    const flags = {
      learning: ['learning', false],
      unicastFlood: ['flood', false],
      multicastFlood: ['mcast_flood', false],
      broadcastFlood: ['bcast_flood', false],
      neighbourSuppress: ['neigh_suppress', true],
      isolated: ['isolated', true],
      locked: ['locked', true],
      guard: ['guard', true],
      hairpin: ['hairpin', true],
    } as const
    const read = () => shown('bridge', ns, 'link', 'show', 'dev', 'a')[0] ?? {}
    const expected = read()
    for (const [flag, [shownAs, value]] of Object.entries(flags)) {
      t.not(expected[shownAs], value, `${flag} before`)
      await kernel.run([{ op: 'bridge.port', ns, name: 'a', [flag]: value }], call)
      expected[shownAs] = value
      t.deepEqual(read(), expected, flag)
    }
    t.deepEqual((await kernel.link(ns, 'a', call))?.port, {
      learning: false,
      unicastFlood: false,
      neighbourSuppress: true,
      locked: true,
      isolated: true,
      guard: true,
    })
  }))
