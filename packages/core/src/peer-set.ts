/**
 * The peers of one network and the hosts they are on, with an order-free digest kept up to date. Both ends of the peer
 * protocol hold one: `overlay` as the source, PeerFollower as the copy; equal sets, equal digests.
 */
import type { Peer, PeerHost } from '@heddle/contract'
import { SetDigest } from './digest.ts'

export class PeerSet {
  readonly #peers = new Map<string, Peer>()
  readonly #hosts = new Map<string, PeerHost>()
  /** How many peers name a host. A host nobody names is not part of the set. */
  readonly #uses = new Map<string, number>()
  readonly #digest = new SetDigest()

  get peers(): ReadonlyMap<string, Peer> {
    return this.#peers
  }

  get hosts(): ReadonlyMap<string, PeerHost> {
    return this.#hosts
  }

  /** 16 hex digits over peers and hosts; a host's revision is not part of it. */
  get digest(): string {
    return this.#digest.toString()
  }

  names(host: string): boolean {
    return this.#uses.has(host)
  }

  /** False when the very same peer was there. */
  putPeer(peer: Peer): boolean {
    const before = this.#peers.get(peer.endpointId)
    if (before !== undefined && peerEntry(before) === peerEntry(peer)) return false
    // Counted before the old one is dropped, so that a host both name keeps its entry.
    this.#uses.set(peer.host, (this.#uses.get(peer.host) ?? 0) + 1)
    if (before !== undefined) this.deletePeer(before.endpointId)
    this.#peers.set(peer.endpointId, peer)
    this.#digest.add(peerEntry(peer))
    return true
  }

  deletePeer(endpointId: string): boolean {
    const peer = this.#peers.get(endpointId)
    if (peer === undefined) return false
    this.#peers.delete(endpointId)
    this.#digest.remove(peerEntry(peer))
    const uses = (this.#uses.get(peer.host) ?? 1) - 1
    if (uses > 0) this.#uses.set(peer.host, uses)
    else {
      this.#uses.delete(peer.host)
      this.deleteHost(peer.host)
    }
    return true
  }

  /** Takes the host if a peer names it and nothing newer is known. True when the VTEP address changed. */
  putHost(host: PeerHost): boolean {
    const before = this.#hosts.get(host.name)
    if (!this.names(host.name) || (before !== undefined && before.revision >= host.revision)) return false
    this.#hosts.set(host.name, host)
    if (before?.vtep === host.vtep) return false
    if (before !== undefined) this.#digest.remove(hostEntry(before))
    this.#digest.add(hostEntry(host))
    return true
  }

  deleteHost(name: string): boolean {
    const before = this.#hosts.get(name)
    if (before === undefined) return false
    this.#hosts.delete(name)
    this.#digest.remove(hostEntry(before))
    return true
  }
}

function peerEntry(peer: Peer): string {
  return ['peer', peer.endpointId, peer.mac, peer.host, ...peer.addresses].join('\0')
}

function hostEntry(host: PeerHost): string {
  return ['host', host.name, host.vtep].join('\0')
}
