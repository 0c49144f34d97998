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

test('the pages of a revision stay while the table goes on; those of one that is forgotten make the reader begin again', (t) => {
  const tables = tablesWith(100)
  const pages = new SnapshotPages({ maxBytes: 4_000, maxCopies: 2 })
  const first = pages.page(tables.view('blue'), 0, 0n)
  tables.apply([{ networkId: 'blue', endpointId: 'new', peer: { endpointId: 'new', mac: '02:00:00:00:00:02', addresses: [], host: 'host-1' } }], 101n)
  t.is(pages.page(tables.view('blue'), 1, first.revision).revision, 100n)
  t.is(pages.page(tables.view('blue'), 0, 0n).revision, 101n)
  t.is(pages.page(tables.view('blue'), 1, 101n).page, 1)
  tables.apply([{ networkId: 'blue', endpointId: 'new', peer: undefined }], 102n)
  t.is(pages.page(tables.view('blue'), 0, 0n).revision, 102n)
  t.throws(() => pages.page(tables.view('blue'), 1, 100n), { code: 'conflict' })
  t.throws(() => pages.page(tables.view('blue'), 99, 102n), { code: 'conflict' })
})

test('a replica that never served the first page serves the others while its table is at that revision', (t) => {
  const [one, two] = [tablesWith(100), tablesWith(100)]
  const [first, second] = [new SnapshotPages({ maxBytes: 4_000, maxCopies: 2 }), new SnapshotPages({ maxBytes: 4_000, maxCopies: 2 })]
  const follower = new PeerFollower('blue')
  let outcome = follower.onSnapshotPage(first.page(one.view('blue'), 0, 0n))
  for (let page = 1; outcome === 'more'; page++)
    outcome = follower.onSnapshotPage((page % 2 ? second : first).page((page % 2 ? two : one).view('blue'), page, 100n))
  t.is(outcome, 'done')
})
