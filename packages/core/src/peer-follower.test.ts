import type { Peer, PeerBeat, PeerDelta, PeerHost, SnapshotResponse } from '@heddle/contract'
import test from 'ava'
import fc from 'fast-check'
import { PeerFollower, PeerSet } from './index.ts'

const networkId = 'blue'
const peer = (id: string, host: string, version = 1): Peer => ({ endpointId: id, mac: `02:00:00:00:00:${id}`, addresses: [`10.0.0.${version}`], host })
const peerHost = (name: string, vtep: number, revision: bigint): PeerHost => ({ name, vtep: `192.168.0.${vtep}`, revision })
const deltaOf = (previous: bigint, revision: bigint, parts: Partial<PeerDelta> = {}): PeerDelta => ({
  networkId,
  epoch: 'e1',
  previous,
  revision,
  put: [],
  deletedEndpointIds: [],
  putHosts: [],
  ...parts,
})

/** The store and the replicas that publish from it, as far as a receiver can tell. */
class Source {
  epoch = 'e1'
  now = 1n
  peers = new Map<string, Peer>()
  hosts = new Map<string, PeerHost>()
  /** Last change of the table; a second replica that listed later claims `floor` for everything before. */
  changed = 1n
  floor = 1n
  /** Digest of the peers alone at each revision at which they changed. */
  history: { epoch: string; revision: bigint; digest: string }[] = [{ epoch: 'e1', revision: 0n, digest: new PeerSet().digest }]

  change(put: readonly Peer[], deletedEndpointIds: readonly string[]): PeerDelta[] {
    this.now++
    for (const entry of put) this.peers.set(entry.endpointId, entry)
    for (const id of deletedEndpointIds) this.peers.delete(id)
    const names = new Set(put.map((entry) => entry.host))
    const delta = deltaOf(this.changed, this.now, {
      epoch: this.epoch,
      put: [...put],
      deletedEndpointIds: [...deletedEndpointIds],
      putHosts: [...this.hosts.values()].filter((host) => names.has(host.name)),
    })
    const late = { ...delta, previous: latest(this.changed, this.floor) }
    this.changed = this.now
    this.history.push({ epoch: this.epoch, revision: this.now, digest: peersDigest(this.peers.values()) })
    return [delta, late]
  }

  moveHost(host: PeerHost): PeerDelta[] {
    this.now++
    const moved = { ...host, revision: this.now }
    this.hosts.set(host.name, moved)
    return [deltaOf(this.changed, this.changed, { epoch: this.epoch, putHosts: [moved] })]
  }

  /** A replica restarts and lists: what it says of the past begins now. */
  relist(): void {
    this.now++
    this.floor = this.now
  }

  restore(): void {
    this.epoch = `e${Number.parseInt(this.epoch.slice(1), 10) + 1}`
    this.now = 1n
    this.changed = 1n
    this.floor = 1n
    for (const [name, host] of this.hosts) this.hosts.set(name, { ...host, revision: 1n })
    this.history.push({ epoch: this.epoch, revision: 0n, digest: peersDigest(this.peers.values()) })
  }

  #set(): PeerSet {
    const set = new PeerSet()
    for (const entry of this.peers.values()) set.putPeer(entry)
    for (const host of this.hosts.values()) set.putHost(host)
    return set
  }

  beat(): PeerBeat {
    return { networkId, epoch: this.epoch, revision: latest(this.changed, this.floor), digest: this.#set().digest }
  }

  /** Pages of two peers each. */
  snapshot(): SnapshotResponse[] {
    const { revision, digest, epoch } = this.beat()
    const set = this.#set()
    const peers = [...set.peers.values()]
    const pages: SnapshotResponse[] = []
    for (let page = 0; page === 0 || page * 2 < peers.length; page++) {
      const last = (page + 1) * 2 >= peers.length
      pages.push({ networkId, epoch, revision, page, last, peers: peers.slice(page * 2, page * 2 + 2), hosts: last ? [...set.hosts.values()] : [], digest })
    }
    return pages
  }
}

function latest(a: bigint, b: bigint): bigint {
  return a < b ? b : a
}

function peersDigest(peers: Iterable<Peer>): string {
  const set = new PeerSet()
  for (const entry of peers) set.putPeer(entry)
  return set.digest
}

function load(follower: PeerFollower, source: Source): string {
  let outcome = ''
  for (const page of source.snapshot()) outcome = follower.onSnapshotPage(page)
  return outcome
}

const idOf = fc.integer({ min: 10, max: 17 }).map(String)
const hostOf = fc.constantFrom('h1', 'h2', 'h3')
const fate = fc.record({ loseFirst: fc.boolean(), loseSecond: fc.boolean(), copies: fc.integer({ min: 1, max: 2 }), delay: fc.integer({ min: 0, max: 3 }) })
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('put' as const), id: idOf, host: hostOf, version: fc.integer({ min: 1, max: 3 }), fate }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('delete' as const), id: idOf, fate }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('move' as const), host: hostOf, vtep: fc.integer({ min: 1, max: 4 }), fate }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('beat' as const), fate }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('snapshot' as const), pages: fc.integer({ min: 1, max: 5 }), between: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('relist' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restore' as const) }) },
)

test('whatever is lost, doubled or late: the table is always that of its revision, and a last beat and snapshot make it the newest', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const source = new Source()
      const follower = new PeerFollower(networkId)
      const air: { due: number; deliver: () => void }[] = []
      let clock = 0
      let seen: { epoch: string; revision: bigint } = { epoch: '', revision: 0n }
      const check = () => {
        if (follower.epoch === '') return
        if (follower.epoch === seen.epoch) t.true(follower.revision >= seen.revision, 'never backwards within one history')
        seen = { epoch: follower.epoch, revision: follower.revision }
        const then = source.history.findLast((entry) => entry.epoch === follower.epoch && entry.revision <= follower.revision)
        t.is(then?.digest, peersDigest(follower.peers.values()))
      }
      const deliverDue = () => {
        for (const entry of air.filter((e) => e.due <= clock)) {
          entry.deliver()
          check()
        }
        air.splice(0, air.length, ...air.filter((e) => e.due > clock))
      }
      const send = (
        deltas: readonly PeerDelta[],
        { loseFirst, loseSecond, copies, delay }: { loseFirst: boolean; loseSecond: boolean; copies: number; delay: number },
      ) => {
        for (const [index, delta] of deltas.entries()) {
          if (index === 0 ? loseFirst : loseSecond) continue
          for (let copy = 0; copy < copies; copy++) air.push({ due: clock + delay * (1 + copy), deliver: () => void follower.onDelta(delta) })
        }
      }
      for (const entry of steps) {
        clock++
        if (entry.do === 'put') send(source.change([peer(entry.id, entry.host, entry.version)], []), entry.fate)
        else if (entry.do === 'delete') send(source.change([], [entry.id]), entry.fate)
        else if (entry.do === 'move') send(source.moveHost(peerHost(entry.host, entry.vtep, 0n)), entry.fate)
        else if (entry.do === 'relist') source.relist()
        else if (entry.do === 'restore') source.restore()
        else if (entry.do === 'beat') {
          const beat = source.beat()
          if (!entry.fate.loseFirst) air.push({ due: clock + entry.fate.delay, deliver: () => void follower.onBeat(beat) })
        } else {
          for (const page of source.snapshot().slice(0, entry.pages)) {
            follower.onSnapshotPage(page)
            check()
            if (entry.between) send(source.change([peer('10', 'h1')], []), { loseFirst: false, loseSecond: true, copies: 1, delay: 0 })
            deliverDue()
          }
        }
        deliverDue()
      }
      if (follower.onBeat(source.beat()) !== 'in-sync') t.is(load(follower, source), 'done')
      t.is(follower.onBeat(source.beat()), 'in-sync')
      t.is(follower.digest, source.beat().digest)
      t.deepEqual(new Map([...follower.peers].toSorted()), new Map([...source.peers].toSorted()))
      for (const host of follower.hosts.values()) t.is(source.hosts.get(host.name)?.vtep, host.vtep)
    }),
    { numRuns: 1000 },
  )
})

test('a delta with an unknown past asks for a snapshot, and is applied by itself once the past has arrived', (t) => {
  const source = new Source()
  const follower = new PeerFollower(networkId)
  t.is(load(follower, source), 'done')
  const [first] = source.change([peer('11', 'h1')], [])
  const [second] = source.change([peer('12', 'h1')], [])
  if (first === undefined || second === undefined) return t.fail()
  t.is(follower.onDelta(second), 'gap')
  t.is(follower.onDelta(first), 'applied')
  t.deepEqual([...follower.peers.keys()], ['11', '12'])
  t.is(follower.onDelta(second), 'ignored')
})

test('deltas that come while the pages of a snapshot do are not lost', (t) => {
  const source = new Source()
  for (const id of ['11', '12', '13']) source.change([peer(id, 'h1')], [])
  const follower = new PeerFollower(networkId)
  const pages = source.snapshot()
  const [first, second] = pages
  if (first === undefined || second === undefined) return t.fail()
  t.is(follower.onSnapshotPage(first), 'more')
  const [delta] = source.change([], ['11'])
  if (delta === undefined) return t.fail()
  t.is(follower.onDelta(delta), 'gap')
  t.is(follower.onSnapshotPage(second), 'done')
  t.deepEqual([...follower.peers.keys()], ['12', '13'])
})

test('a page of another revision, a page out of order and a table that is not what its digest says start over', (t) => {
  const source = new Source()
  for (const id of ['11', '12', '13']) source.change([peer(id, 'h1')], [])
  const [first, second] = source.snapshot()
  if (first === undefined || second === undefined) return t.fail()
  const follower = new PeerFollower(networkId)
  t.is(follower.onSnapshotPage(second), 'restart')
  t.is(follower.onSnapshotPage(first), 'more')
  t.is(follower.onSnapshotPage({ ...second, revision: second.revision + 1n }), 'restart')
  t.is(follower.onSnapshotPage(first), 'more')
  t.is(follower.onSnapshotPage({ ...second, peers: [] }), 'restart')
  t.is(follower.revision, 0n)
  t.is(load(follower, source), 'done')
})

test('a snapshot from a replica that is behind never takes the table back', (t) => {
  const source = new Source()
  const follower = new PeerFollower(networkId)
  source.change([peer('11', 'h1')], [])
  const old = source.snapshot()
  source.change([peer('12', 'h1')], [])
  load(follower, source)
  t.deepEqual(
    old.map((page) => follower.onSnapshotPage(page)),
    ['done'],
  )
  t.is(follower.peers.size, 2)
  t.is(follower.onBeat({ ...source.beat(), revision: source.now + 1n, digest: '0' }), 'behind')
  t.deepEqual(
    old.map((page) => follower.onSnapshotPage(page)),
    ['restart'],
    'and it does not end a search for something newer',
  )
})

test('a host that moves is followed whatever the order, an older address never comes back', (t) => {
  const source = new Source()
  const follower = new PeerFollower(networkId)
  const [before] = source.moveHost(peerHost('h1', 1, 0n))
  source.change([peer('11', 'h1')], [])
  load(follower, source)
  follower.takeChanges()
  const [moved] = source.moveHost(peerHost('h1', 2, 0n))
  if (before === undefined || moved === undefined) return t.fail()
  t.is(follower.onDelta(moved), 'applied')
  t.is(follower.onDelta(before), 'ignored')
  t.is(follower.hosts.get('h1')?.vtep, '192.168.0.2')
  t.deepEqual(follower.takeChanges(), { endpointIds: new Set(), hosts: new Set(['h1']) })
  t.is(follower.onBeat({ ...source.beat(), digest: '0' }), 'diverged')
  source.hosts.delete('h1')
  t.is(load(follower, source), 'done')
  t.is(follower.hosts.size, 0, 'a host that was removed goes with the next snapshot')
})

test('every change can be asked for once', (t) => {
  const source = new Source()
  source.hosts.set('h2', peerHost('h2', 2, 1n))
  const follower = new PeerFollower(networkId)
  source.change([peer('11', 'h1'), peer('12', 'h2')], [])
  load(follower, source)
  t.deepEqual(follower.takeChanges(), { endpointIds: new Set(['11', '12']), hosts: new Set(['h1', 'h2']) })
  for (const delta of source.change([peer('11', 'h2')], ['12'])) follower.onDelta(delta)
  t.deepEqual(follower.takeChanges(), { endpointIds: new Set(['11', '12']), hosts: new Set(['h1', 'h2']) })
  t.deepEqual(follower.takeChanges(), { endpointIds: new Set(), hosts: new Set() })
})
