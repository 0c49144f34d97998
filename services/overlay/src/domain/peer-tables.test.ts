import type { Peer, PeerBeat, PeerDelta, PeerHost } from '@heddle/contract'
import { PeerFollower, PeerSet } from '@heddle/core'
import test from 'ava'
import fc from 'fast-check'
import { paginate } from './pages.ts'
import { type PeerChange, PeerTables } from './peer-tables.ts'

const peer = (endpointId: string, host = 'h1', version = 1): Peer => ({ endpointId, mac: `02:00:00:00:00:0${version}`, addresses: [`10.0.0.${version}`], host })
const put = (networkId: string, entry: Peer): PeerChange => ({ networkId, endpointId: entry.endpointId, peer: entry })
const gone = (networkId: string, endpointId: string): PeerChange => ({ networkId, endpointId, peer: undefined })
const host = (name: string, vtep: string, revision: bigint): PeerHost => ({ name, vtep, revision })

function tablesWith(...peers: PeerChange[]): PeerTables {
  const tables = new PeerTables()
  tables.replace(peers, 10n, 'e1')
  return tables
}

test('each change is told to its own network, from the revision of the change before it', (t) => {
  const tables = tablesWith(put('blue', peer('a')), put('red', peer('x')))
  tables.putHost(host('h2', '192.0.2.2', 11n))
  const [first, ...others] = tables.apply([put('blue', peer('b', 'h2')), put('blue', peer('c', 'h2'))], 12n)
  t.deepEqual(others, [])
  t.deepEqual(first, {
    networkId: 'blue',
    epoch: 'e1',
    previous: 10n,
    revision: 12n,
    put: [peer('b', 'h2'), peer('c', 'h2')],
    deletedEndpointIds: [],
    putHosts: [host('h2', '192.0.2.2', 11n)],
  })
  t.like(tables.apply([gone('blue', 'a')], 15n), [{ networkId: 'blue', previous: 12n, revision: 15n, deletedEndpointIds: ['a'] }])
  t.like(tables.apply([gone('red', 'x'), gone('blue', 'b')], 16n), [
    { networkId: 'red', previous: 10n },
    { networkId: 'blue', previous: 15n },
  ])
})

test('what changes nothing for the peers is not told', (t) => {
  const tables = tablesWith(put('blue', peer('a')))
  t.deepEqual(tables.apply([put('blue', peer('a')), gone('blue', 'never'), gone('green', 'never')], 12n), [])
  t.like(tables.apply([put('blue', peer('b'))], 13n), [{ previous: 10n }])
})

test('a host that moves is told to every network it has endpoints in, and to no other', (t) => {
  const tables = tablesWith(put('blue', peer('a')), put('red', peer('x')), put('green', peer('y', 'h2')))
  t.is(tables.putHost(host('h1', '192.0.2.1', 11n)).length, 2)
  const deltas = tables.putHost(host('h1', '192.0.2.9', 12n))
  t.deepEqual(deltas.map((delta) => [delta.networkId, delta.previous, delta.revision, delta.putHosts]).toSorted(), [
    ['blue', 10n, 10n, [host('h1', '192.0.2.9', 12n)]],
    ['red', 10n, 10n, [host('h1', '192.0.2.9', 12n)]],
  ])
  t.deepEqual(tables.putHost(host('h1', '192.0.2.9', 13n)), [], 'registering again with the same address is no news')
  t.deepEqual([...tables.view('blue').hosts], [host('h1', '192.0.2.9', 13n)])
  t.deepEqual(tables.networksOf('h1').toSorted(), ['blue', 'red'])
  tables.deleteHost('h1')
  t.deepEqual([...tables.view('blue').hosts], [])
})

test('a network that everybody left is empty as of now, and its next delta joins on', (t) => {
  const tables = tablesWith(put('blue', peer('a')))
  tables.apply([gone('blue', 'a')], 12n)
  t.is(tables.size, 0)
  tables.apply([put('red', peer('x'))], 20n)
  t.like(tables.view('blue'), { revision: 20n, digest: new PeerSet().digest })
  t.like(tables.apply([put('blue', peer('b'))], 21n), [{ previous: 12n }])
})

test('who lost the delta of the last endpoint of a network, or missed it in a listing, learns from a beat that nobody is in it', (t) => {
  for (const empty of [(tables: PeerTables) => tables.apply([gone('blue', 'a')], 12n), (tables: PeerTables) => tables.replace([], 12n, 'e1')]) {
    const tables = tablesWith(put('blue', peer('a')))
    const follower = new PeerFollower('blue')
    const load = () => paginate(tables.view('blue'), 600).map((page) => follower.onSnapshotPage(page))
    load()
    t.is(follower.peers.size, 1)
    empty(tables)
    tables.apply([put('red', peer('x')), gone('blue', 'a')], 13n)
    const heard = () => tables.beats().filter(({ networkId }) => networkId === 'blue')
    for (const beat of heard()) if (follower.onBeat(beat) !== 'in-sync') load()
    t.is(follower.peers.size, 0)
    let rounds = 1
    while (heard().length > 0) rounds++
    t.true(rounds > 1 && rounds < 100, 'told more than once, and not for ever')
    tables.apply([put('blue', peer('b'))], 14n)
    t.is(heard().length, 1)
  }
})

test('a table can be seen as it was at recent revisions, and not at those before a listing or too long ago', (t) => {
  const tables = tablesWith(put('blue', peer('a')))
  tables.putHost(host('h1', '192.0.2.1', 11n))
  const seen = new Map([[10n, tables.view('blue').digest]])
  for (let revision = 11n; revision <= 400n; revision++) {
    const id = `p${revision % 7n}`
    tables.apply([revision % 3n === 0n ? gone('blue', id) : put('blue', peer(id, 'h1', Number(revision % 4n))), put('red', peer('x'))], revision)
    seen.set(revision, tables.view('blue').digest)
    if (revision === 200n) for (const [past, digest] of seen) t.is(tables.viewAt('blue', past)?.digest, digest, String(past))
  }
  t.is(tables.viewAt('blue', 399n)?.digest, seen.get(399n))
  t.is(tables.viewAt('blue', 11n), undefined)
  t.is(tables.viewAt('blue', 401n), undefined)
  t.is(tables.viewAt('green', 399n), undefined)
})

const idOf = fc.constantFrom('a', 'b', 'c', 'd', 'e')
const networkOf = fc.constantFrom('blue', 'red')
const hostOf = fc.constantFrom('h1', 'h2', 'h3')
const deliver = { replica: fc.nat({ max: 1 }), lose: fc.boolean(), copies: fc.integer({ min: 1, max: 2 }) }
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      changes: fc.uniqueArray(fc.record({ id: idOf, network: networkOf, host: hostOf, version: fc.integer({ min: 0, max: 3 }) }), {
        selector: (c) => c.network + c.id,
        minLength: 1,
        maxLength: 4,
      }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('move' as const), host: hostOf, vtep: fc.nat({ max: 5 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('endpoints' as const), ...deliver }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('hosts' as const), ...deliver }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('beat' as const), replica: fc.nat({ max: 1 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('relist' as const), replica: fc.nat({ max: 1 }) }) },
)

/** etcd with its history; replicas read it at their own pace through two watches each, as the service does. */
class World {
  revision = 1n
  readonly log: { revision: bigint; changes: PeerChange[] }[] = []
  readonly hostLog: PeerHost[] = []
  readonly replicas = [new Replica(this), new Replica(this)]

  peersAt(networkId: string, revision: bigint): Map<string, Peer> {
    const peers = new Map<string, Peer>()
    for (const entry of this.log.filter((logged) => logged.revision <= revision)) {
      for (const change of entry.changes.filter((changed) => changed.networkId === networkId)) {
        if (change.peer === undefined) peers.delete(change.endpointId)
        else peers.set(change.endpointId, change.peer)
      }
    }
    return peers
  }
}

class Replica {
  readonly world: World
  readonly tables = new PeerTables()
  #read = 0
  #hostsRead = 0

  constructor(world: World) {
    this.world = world
    this.tables.replace([], 1n, 'e1')
  }

  readEndpoints(): PeerDelta[] {
    const entry = this.world.log[this.#read]
    if (entry === undefined) return []
    this.#read++
    return this.tables.apply(entry.changes, entry.revision)
  }

  readHosts(): PeerDelta[] {
    const entry = this.world.hostLog[this.#hostsRead]
    if (entry === undefined) return []
    this.#hostsRead++
    return this.tables.putHost(entry)
  }

  relist(): void {
    this.#read = this.world.log.length
    const changes = ['blue', 'red'].flatMap((networkId) =>
      [...this.world.peersAt(networkId, this.world.revision).values()].map((entry) => put(networkId, entry)),
    )
    this.tables.replace(changes, this.world.revision, 'e1')
  }

  catchUp(): void {
    while (this.readEndpoints().length > 0 || this.#read < this.world.log.length);
    while (this.readHosts().length > 0 || this.#hostsRead < this.world.hostLog.length);
  }
}

test('two replicas at different paces, either restarting, with deltas lost and doubled: receivers have the table of their revision, and end with the newest', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const world = new World()
      const follower = new PeerFollower('blue')
      const load = (replica: Replica) =>
        paginate(replica.tables.view('blue'), 600)
          .map((page) => follower.onSnapshotPage(page))
          .at(-1)
      const hear = (beat: PeerBeat, replica: Replica) => {
        if (follower.onBeat(beat) !== 'in-sync') load(replica)
      }
      for (const entry of steps) {
        if (entry.do === 'write') {
          const changes = entry.changes.map(({ id, network, host: on, version }) => (version === 0 ? gone(network, id) : put(network, peer(id, on, version))))
          world.log.push({ revision: ++world.revision, changes })
        } else if (entry.do === 'move') world.hostLog.push(host(entry.host, `192.0.2.${entry.vtep}`, ++world.revision))
        else {
          const replica = world.replicas[entry.replica] as Replica
          if (entry.do === 'beat') hear(replica.tables.beat('blue'), replica)
          else if (entry.do === 'relist') replica.relist()
          else {
            const deltas = (entry.do === 'endpoints' ? replica.readEndpoints() : replica.readHosts()).filter((delta) => delta.networkId === 'blue')
            for (let copy = 0; copy < entry.copies && !entry.lose; copy++) for (const delta of deltas) if (follower.onDelta(delta) === 'gap') load(replica)
          }
        }
        if (follower.epoch !== '') t.deepEqual(new Map([...follower.peers].toSorted()), new Map([...world.peersAt('blue', follower.revision)].toSorted()))
      }
      for (const replica of world.replicas) {
        replica.catchUp()
        hear(replica.tables.beat('blue'), replica)
      }
      const [one, two] = world.replicas as [Replica, Replica]
      t.is(one.tables.view('blue').digest, two.tables.view('blue').digest)
      t.is(follower.digest, one.tables.view('blue').digest)
      t.deepEqual([...follower.peers.keys()].toSorted(), [...world.peersAt('blue', world.revision).keys()].toSorted())
      for (const { name, vtep } of follower.hosts.values()) t.is(world.hostLog.findLast((entry) => entry.name === name)?.vtep, vtep)
    }),
    { numRuns: 500 },
  )
})
