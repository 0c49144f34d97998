/**
 * The receiving side of the peer protocol (proto/heddle/v1/overlay.proto) as a pure state machine: deltas, snapshot pages
 * and beats in, the peer table of one network out. Deltas may be lost, doubled or late; a beat shows it, a snapshot heals it.
 */
import type { Peer, PeerBeat, PeerDelta, PeerHost, SnapshotResponse } from '@heddle/contract'
import { PeerSet } from './peer-set.ts'

/** What may differ since it was last asked for: look each one up in `peers` and `hosts`; absent means gone. */
export interface PeerChanges {
  readonly endpointIds: ReadonlySet<string>
  readonly hosts: ReadonlySet<string>
}

/** Deltas kept while a snapshot is on its way; more than these are lost and found missing by the next beat. */
const maxHeldDeltas = 512

interface Assembly {
  readonly epoch: string
  readonly revision: bigint
  readonly peers: Peer[]
  readonly hosts: PeerHost[]
  nextPage: number
}

/**
 * Subscribe to deltas and beats first, then fetch a snapshot page by page; fetch again on 'gap', 'behind', 'diverged' and
 * 'restart' (from page 0, after a pause when it repeats), and after each reconnection of the bus.
 */
export class PeerFollower {
  readonly networkId: string
  #set = new PeerSet()
  #epoch = ''
  #revision = 0n
  #assembly: Assembly | undefined
  #held: PeerDelta[] = []
  /** Revision that is known to exist and has not been reached. */
  #wanted = 0n
  #diverged = false
  #endpointIds = new Set<string>()
  #hosts = new Set<string>()

  constructor(networkId: string) {
    this.networkId = networkId
  }

  /** Revision of the table as it stands; 0 before the first snapshot. */
  get revision(): bigint {
    return this.#revision
  }

  /** History the revision counts in; empty before the first snapshot. */
  get epoch(): string {
    return this.#epoch
  }

  get digest(): string {
    return this.#set.digest
  }

  /** By endpoint id; those of this very host are among them. */
  get peers(): ReadonlyMap<string, Peer> {
    return this.#set.peers
  }

  /** By name; a host that a peer names and that is not here has not registered yet. */
  get hosts(): ReadonlyMap<string, PeerHost> {
    return this.#set.hosts
  }

  /** What changed since the last call, for a receiver that programs only differences. */
  takeChanges(): PeerChanges {
    const changes = { endpointIds: this.#endpointIds, hosts: this.#hosts }
    this.#endpointIds = new Set()
    this.#hosts = new Set()
    return changes
  }

  /** 'more': fetch page + 1 with this revision; 'done'; 'restart': useless or already overtaken, fetch from page 0. */
  onSnapshotPage(page: SnapshotResponse): 'more' | 'done' | 'restart' {
    if (page.page === 0) this.#assembly = { epoch: page.epoch, revision: page.revision, peers: [], hosts: [], nextPage: 0 }
    const assembly = this.#assembly
    if (assembly === undefined || page.page !== assembly.nextPage || page.revision !== assembly.revision || page.epoch !== assembly.epoch) {
      this.#assembly = undefined
      return 'restart'
    }
    assembly.peers.push(...page.peers)
    assembly.hosts.push(...page.hosts)
    assembly.nextPage++
    if (!page.last) return 'more'
    this.#assembly = undefined
    const set = setOf(assembly.peers, assembly.hosts)
    if (set.digest !== page.digest) return 'restart'
    if (assembly.epoch === this.#epoch && assembly.revision < this.#revision) {
      return this.#diverged || this.#wanted > this.#revision ? 'restart' : 'done'
    }
    this.#install(assembly.epoch, assembly.revision, set)
    this.#replay()
    return this.#wanted <= this.#revision ? 'done' : 'restart'
  }

  /** 'gap': something before it was lost or its history is another one; fetch a snapshot. */
  onDelta(delta: PeerDelta): 'applied' | 'ignored' | 'gap' {
    if (delta.epoch !== this.#epoch) return this.#hold(delta)
    // Hosts have revisions of their own, so they are never too late or too early.
    const peers = this.#applyPeers(delta)
    const hosts = delta.putHosts.filter((host) => this.#set.putHost(host))
    for (const host of hosts) this.#hosts.add(host.name)
    return peers === 'ignored' && hosts.length > 0 ? 'applied' : peers
  }

  /** 'behind': a delta was lost; 'diverged': same revision, other content. Fetch a snapshot on either. */
  onBeat(beat: PeerBeat): 'in-sync' | 'behind' | 'diverged' {
    if (beat.epoch !== this.#epoch) return 'behind'
    // A replica that is behind this table says nothing about it.
    if (beat.revision < this.#revision) return 'in-sync'
    if (beat.digest === this.#set.digest) {
      this.#revision = beat.revision
      this.#diverged = false
      return 'in-sync'
    }
    if (beat.revision > this.#revision) {
      this.#want(beat.revision)
      return 'behind'
    }
    this.#diverged = true
    return 'diverged'
  }

  #applyPeers(delta: PeerDelta): 'applied' | 'ignored' | 'gap' {
    if (delta.revision <= this.#revision) return 'ignored'
    if (delta.previous > this.#revision) return this.#hold(delta)
    this.#apply(delta)
    this.#replay()
    return 'applied'
  }

  #apply(delta: PeerDelta): void {
    for (const peer of delta.put) {
      this.#touch(this.#set.peers.get(peer.endpointId))
      if (this.#set.putPeer(peer)) this.#touch(peer)
    }
    for (const endpointId of delta.deletedEndpointIds) {
      this.#touch(this.#set.peers.get(endpointId))
      this.#set.deletePeer(endpointId)
    }
    this.#revision = delta.revision
  }

  #hold(delta: PeerDelta): 'gap' {
    this.#held.push(delta)
    if (this.#held.length > maxHeldDeltas) this.#held.shift()
    if (delta.epoch === this.#epoch) this.#want(delta.revision)
    return 'gap'
  }

  #want(revision: bigint): void {
    if (revision > this.#wanted) this.#wanted = revision
  }

  #install(epoch: string, revision: bigint, set: PeerSet): void {
    const before = this.#set
    if (epoch !== this.#epoch) this.#wanted = 0n
    // A replica may be behind with a host; one it does not have at all was removed. After a divergence only the snapshot counts.
    else if (!this.#diverged) for (const host of before.hosts.values()) if (set.hosts.has(host.name)) set.putHost(host)
    this.#set = set
    this.#epoch = epoch
    this.#revision = revision
    this.#diverged = false
    for (const peer of before.peers.values()) if (!set.peers.has(peer.endpointId)) this.#touch(peer)
    for (const peer of set.peers.values()) this.#touch(peer)
  }

  /** Applies what came too early: while a snapshot was under way, or out of order. */
  #replay(): void {
    if (this.#held.length === 0) return
    const held = this.#held.filter((delta) => delta.epoch === this.#epoch)
    held.sort((a, b) => (a.revision < b.revision ? -1 : a.revision > b.revision ? 1 : 0))
    this.#held = []
    for (const delta of held) {
      if (delta.previous > this.#revision) this.#held.push(delta)
      else if (delta.revision > this.#revision) this.#apply(delta)
      for (const host of delta.putHosts) if (this.#set.putHost(host)) this.#hosts.add(host.name)
    }
  }

  #touch(peer: Peer | undefined): void {
    if (peer === undefined) return
    this.#endpointIds.add(peer.endpointId)
    this.#hosts.add(peer.host)
  }
}

function setOf(peers: readonly Peer[], hosts: readonly PeerHost[]): PeerSet {
  const set = new PeerSet()
  for (const peer of peers) set.putPeer(peer)
  for (const host of hosts) set.putHost(host)
  return set
}
