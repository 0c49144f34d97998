/** A peer table in pages that fit the bus. A reader fetches them one by one, so the pages of one revision are kept for a while. */
import { type Peer, Peer as PeerCodec, type PeerHost, PeerHost as PeerHostCodec, type SnapshotResponse } from '@heddle/contract'
import { HeddleError, maxPageBytes } from '@heddle/core'
import type { PeerTables, TableView } from './peer-tables.ts'

export interface PageLimits {
  /** Of one encoded page. */
  readonly maxBytes: number
  /** Copies kept at once, of all networks. */
  readonly maxCopies: number
}

/** Room for the fields around the lists. */
const overheadBytes = 512
/** Tag and length of one entry. */
const entryBytes = 5

export const defaultPageLimits: PageLimits = { maxBytes: maxPageBytes, maxCopies: 32 }

/** In one order on every replica, so that a reader may get the pages of a revision from several. */
export function paginate(view: TableView, maxBytes: number): SnapshotResponse[] {
  const { networkId, epoch, revision, digest } = view
  const pages: SnapshotResponse[] = []
  let bytes = Number.POSITIVE_INFINITY
  const pageFor = (size: number): SnapshotResponse => {
    bytes += size + entryBytes
    if (bytes > maxBytes) {
      pages.push({ networkId, epoch, revision, page: pages.length, last: false, peers: [], hosts: [], digest })
      bytes = overheadBytes + size + entryBytes
    }
    return pages.at(-1) as SnapshotResponse
  }
  for (const peer of [...view.peers].toSorted(by((entry: Peer) => entry.endpointId))) pageFor(PeerCodec.encode(peer).finish().length).peers.push(peer)
  for (const host of [...view.hosts].toSorted(by((entry: PeerHost) => entry.name))) pageFor(PeerHostCodec.encode(host).finish().length).hosts.push(host)
  pageFor(0).last = true
  return pages
}

export class SnapshotPages {
  readonly #limits: PageLimits
  readonly #copies = new Map<string, readonly SnapshotResponse[]>()

  constructor(limits: PageLimits = defaultPageLimits) {
    this.#limits = limits
  }

  /** Page 0 is of the present; a later one of the revision the reader began with, or `conflict`: begin again. */
  page(tables: Pick<PeerTables, 'view' | 'viewAt'>, networkId: string, page: number, revision: bigint): SnapshotResponse {
    const pages =
      page === 0 ? this.#pagesOf(tables.view(networkId)) : (this.#copies.get(keyOf(networkId, revision)) ?? this.#pagesOf(tables.viewAt(networkId, revision)))
    const found = pages?.[page]
    if (found === undefined) {
      throw new HeddleError('conflict', `page ${page} of revision ${revision} is not here any more`, {
        field: 'page',
        remedy: 'fetch the snapshot again from page 0',
      })
    }
    return found
  }

  #pagesOf(view: TableView | undefined): readonly SnapshotResponse[] | undefined {
    if (view === undefined) return undefined
    const key = keyOf(view.networkId, view.revision)
    const copy = this.#copies.get(key)
    if (copy?.[0]?.epoch === view.epoch && copy[0].digest === view.digest) return copy
    const pages = paginate(view, this.#limits.maxBytes)
    this.#copies.delete(key)
    this.#copies.set(key, pages)
    for (const oldest of this.#copies.keys()) {
      if (this.#copies.size <= this.#limits.maxCopies) break
      this.#copies.delete(oldest)
    }
    return pages
  }
}

function keyOf(networkId: string, revision: bigint): string {
  return `${networkId} ${revision}`
}

function by<T>(name: (entry: T) => string): (a: T, b: T) => number {
  return (a, b) => (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0)
}
