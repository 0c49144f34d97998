/**
 * The peer tables of all networks, built from endpoint and host records in the order of their revisions. Pure: records in,
 * deltas out. What is told of hosts carries their own revisions, because their records come by another watch.
 */
import type { Peer, PeerBeat, PeerDelta, PeerHost } from '@heddle/contract'
import { PeerSet } from '@heddle/core'

/** A change of one endpoint record as its peers see it; `peer` is absent when they shall not see it any more. */
export interface PeerChange {
  readonly networkId: string
  readonly endpointId: string
  readonly peer: Peer | undefined
}

interface Table {
  readonly set: PeerSet
  /** Of its latest change; nothing has changed since. */
  revision: bigint
  /** How to take back its latest changes, the newest last. */
  readonly undo: Undo[]
}

interface Undo {
  readonly revision: bigint
  readonly previous: bigint
  readonly before: Map<string, Peer | undefined>
}

/** So often a table that was emptied is beaten: long enough for a receiver to hear one, not for ever. */
const emptyBeats = 12
/** Changes that can be taken back: enough for the seconds in which a reader fetches the pages of one revision. */
const maxUndo = 256

export interface TableView {
  readonly networkId: string
  readonly epoch: string
  readonly revision: bigint
  readonly peers: Iterable<Peer>
  readonly hosts: Iterable<PeerHost>
  readonly digest: string
}

export class PeerTables {
  readonly #tables = new Map<string, Table>()
  /** Networks that everybody left lately, and how often that is still to be told. */
  readonly #emptied = new Map<string, number>()
  readonly #hosts = new Map<string, PeerHost>()
  #epoch = ''
  /** Revision everything up to which is in the tables. */
  #latest = 0n
  /** Since this revision every network without a table has been empty. */
  #floor = 0n

  get size(): number {
    return this.#tables.size
  }

  /** All endpoints there are at a revision. The past of every table begins here: what was missed, nobody can tell. */
  replace(peers: readonly PeerChange[], revision: bigint, epoch: string): void {
    for (const networkId of this.#tables.keys()) this.#emptied.set(networkId, emptyBeats)
    this.#tables.clear()
    this.#epoch = epoch
    this.#latest = revision
    this.#floor = revision
    for (const { networkId, peer } of peers) if (peer !== undefined) this.#putPeer(this.#tableOf(networkId).set, peer)
    for (const networkId of this.#tables.keys()) this.#emptied.delete(networkId)
  }

  /** All changes of one later revision: a delta for each network whose table they change. */
  apply(changes: readonly PeerChange[], revision: bigint): PeerDelta[] {
    const deltas = new Map<string, PeerDelta>()
    for (const { networkId, endpointId, peer } of changes) {
      const table = this.#tableOf(networkId)
      const before = table.set.peers.get(endpointId)
      const changed = peer === undefined ? table.set.deletePeer(endpointId) : this.#putPeer(table.set, peer)
      if (!changed) continue
      const delta = deltas.get(networkId) ?? this.#delta(networkId, table.revision, revision)
      if (!deltas.has(networkId)) table.undo.push({ revision, previous: table.revision, before: new Map() })
      deltas.set(networkId, delta)
      table.undo.at(-1)?.before.set(endpointId, before)
      if (peer === undefined) delta.deletedEndpointIds.push(endpointId)
      else {
        delta.put.push(peer)
        const host = this.#hosts.get(peer.host)
        if (host !== undefined && !delta.putHosts.includes(host)) delta.putHosts.push(host)
      }
    }
    this.#latest = revision
    for (const networkId of new Set(changes.map((change) => change.networkId))) this.#settle(networkId, deltas.has(networkId), revision)
    return [...deltas.values()]
  }

  /** A host registered or changed: a delta for each network with endpoints of it, if its VTEP address is another. */
  putHost(host: PeerHost): PeerDelta[] {
    this.#hosts.set(host.name, host)
    const deltas: PeerDelta[] = []
    for (const [networkId, { set, revision }] of this.#tables) {
      if (!set.names(host.name)) continue
      const before = set.hosts.get(host.name)?.vtep
      // Here the latest word holds, not the highest revision: after a restored backup revisions start over.
      set.deleteHost(host.name)
      set.putHost(host)
      if (before !== host.vtep) deltas.push({ ...this.#delta(networkId, revision, revision), putHosts: [host] })
    }
    return deltas
  }

  deleteHost(name: string): void {
    this.#hosts.delete(name)
    for (const { set } of this.#tables.values()) set.deleteHost(name)
  }

  /** Networks with endpoints of a host. */
  networksOf(host: string): string[] {
    return [...this.#tables].filter(([, { set }]) => set.names(host)).map(([networkId]) => networkId)
  }

  /** One network as it is now; a network nobody is in is empty, not unknown. */
  view(networkId: string): TableView {
    const table = this.#tables.get(networkId)
    return this.#viewOf(networkId, table?.set ?? new PeerSet(), table?.revision ?? this.#latest)
  }

  /** One network as it was at a recent revision, with the hosts of today; so that any replica can go on with another's pages. */
  viewAt(networkId: string, revision: bigint): TableView | undefined {
    const table = this.#tables.get(networkId)
    if (table === undefined || revision > table.revision || revision < (table.undo[0]?.previous ?? table.revision)) return undefined
    const peers = new Map(table.set.peers)
    for (const undo of table.undo.toReversed()) {
      if (undo.revision <= revision) break
      for (const [endpointId, before] of undo.before) {
        if (before === undefined) peers.delete(endpointId)
        else peers.set(endpointId, before)
      }
    }
    const set = new PeerSet()
    for (const peer of peers.values()) this.#putPeer(set, peer)
    return this.#viewOf(networkId, set, revision)
  }

  beat(networkId: string): PeerBeat {
    const { epoch, revision, digest } = this.view(networkId)
    return { networkId, epoch, revision, digest }
  }

  /** One round: of every table, and of those that were emptied lately; else who lost the last delta of one would keep its peer. */
  beats(): PeerBeat[] {
    const emptied = [...this.#emptied]
    for (const [networkId, left] of emptied) {
      if (left > 1) this.#emptied.set(networkId, left - 1)
      else this.#emptied.delete(networkId)
    }
    return [...this.#tables.keys(), ...emptied.map(([networkId]) => networkId)].map((networkId) => this.beat(networkId))
  }

  #putPeer(set: PeerSet, peer: Peer): boolean {
    const changed = set.putPeer(peer)
    const host = this.#hosts.get(peer.host)
    if (host !== undefined) set.putHost(host)
    return changed
  }

  #tableOf(networkId: string): Table {
    const there = this.#tables.get(networkId)
    if (there !== undefined) return there
    const table = { set: new PeerSet(), revision: this.#floor, undo: [] }
    this.#tables.set(networkId, table)
    return table
  }

  #settle(networkId: string, changed: boolean, revision: bigint): void {
    const table = this.#tables.get(networkId)
    if (table === undefined) return
    if (changed) table.revision = revision
    if (table.undo.length > maxUndo) table.undo.shift()
    if (table.set.peers.size > 0) {
      this.#emptied.delete(networkId)
      return
    }
    this.#tables.delete(networkId)
    if (!changed) return
    this.#floor = revision
    this.#emptied.set(networkId, emptyBeats)
  }

  #viewOf(networkId: string, set: PeerSet, revision: bigint): TableView {
    return { networkId, epoch: this.#epoch, revision, peers: set.peers.values(), hosts: set.hosts.values(), digest: set.digest }
  }

  #delta(networkId: string, previous: bigint, revision: bigint): PeerDelta {
    return { networkId, epoch: this.#epoch, previous, revision, put: [], deletedEndpointIds: [], putHosts: [] }
  }
}
