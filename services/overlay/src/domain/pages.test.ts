import { SnapshotResponse } from '@heddle/contract'
import { PeerFollower } from '@heddle/core'
import test from 'ava'
import { defaultPageLimits, paginate, SnapshotPages } from './pages.ts'
import { PeerTables } from './peer-tables.ts'

function tablesWith(count: number): PeerTables {
  const tables = new PeerTables()
  for (let host = 0; host < 50; host++) tables.putHost({ name: `host-${host}`, vtep: `192.0.2.${host}`, revision: BigInt(host + 1) })
  const peers = Array.from({ length: count }, (_, index) => {
    const endpointId = index.toString(16).padStart(64, '0')
    return { networkId: 'blue', endpointId, peer: { endpointId, mac: '02:00:00:00:00:01', addresses: ['10.1.2.3', 'fd00::1:2:3'], host: `host-${index % 50}` } }
  })
  tables.replace(peers, 100n, 'e1')
  return tables
}

test('ten thousand peers travel in pages below 256 KiB and arrive whole', (t) => {
  const view = tablesWith(10_000).view('blue')
  const pages = paginate(view, defaultPageLimits.maxBytes)
  t.true(pages.length > 2)
  const follower = new PeerFollower('blue')
  for (const [index, page] of pages.entries()) {
    const bytes = SnapshotResponse.encode(page).finish()
    t.true(bytes.length <= 256 * 1024, `page ${index} has ${bytes.length} bytes`)
    t.is(page.last, index === pages.length - 1)
    t.is(follower.onSnapshotPage(SnapshotResponse.decode(bytes)), page.last ? 'done' : 'more')
  }
  t.is(follower.peers.size, 10_000)
  t.is(follower.hosts.size, 50)
  t.is(follower.digest, view.digest)
})

test('a network without peers is one empty page', (t) => {
  t.like(paginate(tablesWith(1).view('red'), 1000), [{ networkId: 'red', page: 0, last: true, revision: 100n, peers: [], hosts: [] }])
})

const newcomer = (id: string) => ({ networkId: 'blue', endpointId: id, peer: { endpointId: id, mac: '02:00:00:00:00:02', addresses: [], host: 'host-1' } })

test('the pages of a revision stay while the table goes on; when they are forgotten the reader begins again', (t) => {
  const tables = tablesWith(100)
  const pages = new SnapshotPages({ maxBytes: 4_000, maxCopies: 2 })
  const page = (number: number, revision: bigint) => pages.page(tables, 'blue', number, revision)
  const first = page(0, 0n)
  tables.apply([newcomer('new')], 101n)
  t.is(page(1, first.revision).revision, 100n)
  t.is(page(0, 0n).revision, 101n)
  t.is(page(1, 101n).page, 1)
  t.throws(() => page(99, 101n), { code: 'conflict' })
  t.throws(() => page(1, 99n), { code: 'conflict' })
  t.throws(() => page(1, 102n), { code: 'conflict' })
  // A listing is the end of the past.
  tables.replace([newcomer('new')], 102n, 'e1')
  t.is(page(0, 0n).revision, 102n)
  t.is(page(1, 101n).revision, 101n)
  t.throws(() => page(1, 100n), { code: 'conflict' })
})

test('the pages may come from several replicas, also from one whose table has gone on', (t) => {
  const replicas = [tablesWith(100), tablesWith(100), tablesWith(100)].map((tables) => ({
    tables,
    pages: new SnapshotPages({ maxBytes: 4_000, maxCopies: 2 }),
  }))
  const follower = new PeerFollower('blue')
  for (const { tables } of replicas) tables.apply([newcomer('early')], 101n)
  let outcome = ''
  for (let page = 0; page === 0 || outcome === 'more'; page++) {
    const from = replicas[page % 3]
    if (from === undefined) return t.fail()
    outcome = follower.onSnapshotPage(from.pages.page(from.tables, 'blue', page, 101n))
    const revision = BigInt(102 + page)
    const gone = { networkId: 'blue', endpointId: page.toString(16).padStart(64, '0'), peer: undefined }
    for (const { tables } of replicas) for (const delta of tables.apply([gone, newcomer(`new-${page}`)], revision)) follower.onDelta(delta)
  }
  t.is(outcome, 'done')
  t.is(replicas[0]?.tables.view('blue').digest, follower.digest)
})
