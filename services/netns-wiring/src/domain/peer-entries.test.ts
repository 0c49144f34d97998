import { PeerFollower, PeerSet } from '@heddle/core'
import type { LinkInfo, NeighbourInfo, Step } from '@heddle/kernel'
import test from 'ava'
import * as fc from 'fast-check'
import { actualEntries, entrySteps, PeerEntries } from './peer-entries.ts'

const place = { ns: { path: '/fabric' }, vxlan: 'hx', bridge: 'hb' }
const peer = (endpointId: string, host: string, mac = `02:00:00:00:00:0${endpointId.slice(-1)}`, addresses = [`10.0.0.${endpointId.slice(-1)}`]) => ({
  endpointId,
  host,
  mac,
  addresses,
})
const hosts = new Map(['a', 'b', 'c'].map((name, index) => [name, { name, vtep: `192.0.2.${index + 1}`, revision: 1n }]))
const table = (...peers: ReturnType<typeof peer>[]) => new Map(peers.map((one) => [one.endpointId, one]))
const all = { endpointIds: new Set(['e1', 'e2', 'e3']), hosts: new Set(['a', 'b', 'c']) }

test('three entries are wanted for a remote endpoint, and none for a local one', (t) => {
  const entries = new PeerEntries('a', '192.0.2.1')
  entries.update(all, table(peer('e1', 'a'), peer('e2', 'b')), hosts)
  t.deepEqual(
    [...entries.tracker.desired],
    [
      ['vxlan 02:00:00:00:00:02', '192.0.2.2'],
      ['bridge 02:00:00:00:00:02', 'port'],
      ['neighbour 10.0.0.2', '02:00:00:00:00:02'],
    ],
  )
  t.deepEqual([...entries.members], ['192.0.2.2'])
})

test('an endpoint of a host without an address, or with one of the other family, waits', (t) => {
  const entries = new PeerEntries('a', '192.0.2.1')
  const odd = new Map([['b', { name: 'b', vtep: '2001:db8::1', revision: 1n }]])
  entries.update(all, table(peer('e1', 'b'), peer('e2', 'c')), odd)
  t.is(entries.tracker.desired.size, 0)
  entries.update({ endpointIds: new Set(), hosts: new Set(['c']) }, table(peer('e1', 'b'), peer('e2', 'c')), hosts)
  t.is(entries.tracker.desired.get('vxlan 02:00:00:00:00:02'), '192.0.2.3')
})

test('a host that moves changes the destination of its endpoints and nothing else', (t) => {
  const entries = new PeerEntries('a', '192.0.2.1')
  const peers = table(peer('e1', 'b'), peer('e2', 'c'))
  entries.update(all, peers, hosts)
  entries.programmed(entries.takeDirty())
  entries.update({ endpointIds: new Set(), hosts: new Set(['b']) }, peers, new Map([...hosts, ['b', { name: 'b', vtep: '192.0.2.9', revision: 2n }]]))
  t.deepEqual(entries.takeDirty(), ['vxlan 02:00:00:00:00:01'])
  t.deepEqual([...entries.members].sort(), ['192.0.2.3', '192.0.2.9'])
})

test('a MAC taken over by a new endpoint survives the old one being deleted later', (t) => {
  const entries = new PeerEntries('a', '192.0.2.1')
  entries.update(all, table(peer('e1', 'b', '02:00:00:00:00:77')), hosts)
  entries.update(all, table(peer('e1', 'b', '02:00:00:00:00:77'), peer('e2', 'c', '02:00:00:00:00:77')), hosts)
  entries.update({ endpointIds: new Set(['e1']), hosts: new Set() }, table(peer('e2', 'c', '02:00:00:00:00:77')), hosts)
  t.is(entries.tracker.desired.get('vxlan 02:00:00:00:00:77'), '192.0.2.3')
})

test('an address that another endpoint takes over is announced, from wherever the other one was, and only once', (t) => {
  const entries = new PeerEntries('a', '192.0.2.1')
  const mac = (n: number) => `02:00:00:00:00:0${n}`
  const at = (...peers: ReturnType<typeof peer>[]) => entries.update(all, table(...peers), hosts)
  at(peer('e1', 'b'), peer('e2', 'a'))
  t.is(entries.takeMoved().size, 0, 'nobody believed anything else')
  at()
  at(peer('e3', 'c', mac(3), ['10.0.0.1', '10.0.0.2']))
  t.deepEqual([...entries.takeMoved()], [[mac(3), ['10.0.0.1', '10.0.0.2']]])
  at(peer('e3', 'c', mac(3), ['10.0.0.1', '10.0.0.2']))
  t.is(entries.takeMoved().size, 0)
  at(peer('e1', 'a', mac(1), ['10.0.0.1']))
  t.is(entries.takeMoved().size, 0, 'an endpoint of this host is announced where it is attached')
  at(peer('e2', 'b', mac(2), ['10.0.0.1']))
  at(peer('e2', 'b', mac(2), ['10.0.0.1']))
  t.deepEqual([...entries.takeMoved()], [[mac(2), ['10.0.0.1']]], 'told twice before it was announced')
})

test('an address that another endpoint took over while nobody looked is announced after the read-back', (t) => {
  const entries = new PeerEntries('a', '192.0.2.1')
  entries.update(all, table(peer('e1', 'b'), peer('e2', 'b')), hosts)
  const known = [...entries.tracker.desired].filter(([key]) => key !== 'neighbour 10.0.0.2')
  entries.tracker.replaceActual([...known, ['neighbour 10.0.0.2', '02:00:00:00:00:99']])
  entries.takeAll()
  t.deepEqual([...entries.takeMoved()], [['02:00:00:00:00:02', ['10.0.0.2']]])
})

test('the neighbour is put last and removed first', (t) => {
  const keys = ['neighbour 10.0.0.1', 'bridge m1', 'vxlan m1', 'vxlan m2', 'bridge m2', 'neighbour 10.0.0.2']
  const desired = new Map([
    ['vxlan m1', '192.0.2.2'],
    ['bridge m1', 'port'],
    ['neighbour 10.0.0.1', 'm1'],
  ])
  const { steps } = entrySteps(keys, desired, place)
  t.deepEqual(
    steps.map((step: Step) => step.op),
    ['fdb.vxlan.replace', 'fdb.bridge.replace', 'neighbour.replace', 'neighbour.delete', 'fdb.bridge.delete', 'fdb.vxlan.delete'],
  )
})

test('a read-back leaves out what the kernel made or learned itself', (t) => {
  const link = (index: number, mac: string) => ({ index, mac }) as LinkInfo
  const entry = (table: NeighbourInfo['table'], linkIndex: number, mac: string, address = '', permanent = true) => ({
    table,
    linkIndex,
    mac,
    address,
    permanent,
  })
  const actual = actualEntries(link(7, '02:00:00:00:00:aa'), link(8, '02:00:00:00:00:bb'), [
    entry('vxlan', 7, '02:00:00:00:00:01', '192.0.2.2'),
    entry('bridge', 7, '02:00:00:00:00:01'),
    entry('bridge', 7, '02:00:00:00:00:aa'),
    entry('bridge', 7, '33:33:00:00:00:01'),
    entry('bridge', 7, '02:00:00:00:00:05', '', false),
    entry('neighbour', 8, '02:00:00:00:00:01', '10.0.0.1'),
    entry('neighbour', 8, '02:00:00:00:00:09', '10.0.0.9', false),
  ])
  t.deepEqual(
    [...actual],
    [
      ['vxlan 02:00:00:00:00:01', '192.0.2.2'],
      ['bridge 02:00:00:00:00:01', 'port'],
      ['neighbour 10.0.0.1', '02:00:00:00:00:01'],
    ],
  )
})

test('following any sequence of changes ends at the same entries as starting from the last table', (t) => {
  const change = fc.record({ id: fc.integer({ min: 1, max: 6 }), host: fc.constantFrom('a', 'b', 'c'), gone: fc.boolean() })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      const follower = new PeerFollower('n')
      const source = new PeerSet()
      const entries = new PeerEntries('a', '192.0.2.1')
      follower.onSnapshotPage({ networkId: 'n', epoch: 'e', revision: 1n, page: 0, last: true, peers: [], hosts: [], digest: source.digest })
      for (const [index, { id, host, gone }] of changes.entries()) {
        const one = peer(`e${id}`, host)
        if (gone) source.deletePeer(one.endpointId)
        else source.putPeer(one)
        const revision = BigInt(index + 2)
        follower.onDelta({
          networkId: 'n',
          epoch: 'e',
          previous: revision - 1n,
          revision,
          put: gone ? [] : [one],
          deletedEndpointIds: gone ? [one.endpointId] : [],
          putHosts: gone ? [] : [hosts.get(host) ?? { name: host, vtep: '', revision: 1n }],
        })
        if (index % 3 === 0) {
          entries.update(follower.takeChanges(), follower.peers, follower.hosts)
          entries.programmed(entries.takeDirty())
        }
      }
      entries.update(follower.takeChanges(), follower.peers, follower.hosts)
      entries.programmed(entries.takeDirty())
      const fresh = new PeerEntries('a', '192.0.2.1')
      fresh.update(all4(source), source.peers, hosts)
      t.deepEqual(new Map([...entries.tracker.actual].sort()), new Map([...fresh.tracker.desired].sort()))
      t.deepEqual([...entries.members].sort(), [...fresh.members].sort())
    }),
  )
})

const all4 = (source: PeerSet) => ({ endpointIds: new Set(source.peers.keys()), hosts: new Set(['a', 'b', 'c']) })
