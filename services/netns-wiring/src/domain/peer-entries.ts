/**
 * The peer table of one network as kernel entries. Three per remote endpoint: VXLAN table (MAC -> VTEP), bridge table
 * (MAC -> the VXLAN port) and a neighbour per address, by which the bridge answers ARP and ND. All three are needed:
 * with the VXLAN entry alone ARP is neither answered nor forwarded.
 */
import { isIPv6 } from 'node:net'
import type { Peer, PeerHost } from '@heddle/contract'
import { DeltaTracker, type PeerChanges } from '@heddle/core'
import type { LinkInfo, Namespace, NeighbourInfo, Step } from '@heddle/kernel'

/** `vxlan mac`, `bridge mac` or `neighbour address`. */
type EntryKey = string
const onPort = 'port'
const neighbour = 'neighbour '
/** Addresses whose last MAC is remembered; a larger network announces fewer changes, and its containers find out by themselves. */
const maxRemembered = 16_384

interface Programmed {
  readonly host: string
  readonly vtep: string
  readonly keys: readonly EntryKey[]
}

/** Invariant: an entry is removed only by the endpoint that put it last, so a reused MAC or address survives a late delete. */
export class PeerEntries {
  readonly tracker = new DeltaTracker<EntryKey, string>((a, b) => a === b)
  readonly #ownHost: string
  readonly #own: string
  readonly #byEndpoint = new Map<string, Programmed>()
  readonly #byHost = new Map<string, Set<string>>()
  readonly #owner = new Map<EntryKey, string>()
  readonly #vtepOf = new Map<string, string>()
  readonly #uses = new Map<string, number>()
  #dirty = new Set<EntryKey>()
  /** Address to the MAC of the endpoint that had it last, here or elsewhere: what containers of this host may still believe. */
  readonly #believed = new Map<string, string>()
  #moved = new Map<string, string>()

  /** `vtep` is this host's own: endpoints here are local, and a device speaks one address family only. */
  constructor(ownHost: string, vtep: string) {
    this.#ownHost = ownHost
    this.#own = vtep
  }

  /** Outer addresses that may send into this network. */
  get members(): ReadonlySet<string> {
    return new Set(this.#uses.keys())
  }

  /** Takes in what a PeerFollower reports as changed. */
  update(changes: PeerChanges, peers: ReadonlyMap<string, Peer>, hosts: ReadonlyMap<string, PeerHost>): void {
    const touched = new Set(changes.endpointIds)
    for (const name of changes.hosts) {
      const vtep = hosts.get(name)?.vtep ?? ''
      if (this.#vtepOf.get(name) === vtep) continue
      if (vtep === '') this.#vtepOf.delete(name)
      else this.#vtepOf.set(name, vtep)
      for (const id of this.#byHost.get(name) ?? []) touched.add(id)
    }
    // All removals first: within one change the same MAC may go with one endpoint and come with another.
    for (const id of touched) this.#remove(id)
    for (const id of touched) {
      const peer = peers.get(id)
      if (peer !== undefined) this.#put(peer)
    }
  }

  /**
   * Addresses that are at another MAC now. Nobody's announcement crosses the underlay, so whoever here talked to the endpoint
   * that had the address before would go on talking to it. By MAC; each is answered once.
   */
  takeMoved(): Map<string, string[]> {
    const byMac = new Map<string, string[]>()
    for (const [address, mac] of this.#moved) byMac.set(mac, [...(byMac.get(mac) ?? []), address])
    this.#moved = new Map()
    return byMac
  }

  #put(peer: Peer): void {
    // An endpoint of this host is announced here when it is attached.
    if (peer.host === this.#ownHost) {
      this.#believe(peer, false)
      return
    }
    const vtep = this.#vtepOf.get(peer.host) ?? ''
    const usable = vtep !== '' && vtep !== this.#own && isIPv6(vtep) === isIPv6(this.#own)
    const keys = usable ? [`vxlan ${peer.mac}`, `bridge ${peer.mac}`, ...peer.addresses.map((address) => `neighbour ${address}`)] : []
    this.#byEndpoint.set(peer.endpointId, { host: peer.host, vtep, keys })
    const ofHost = this.#byHost.get(peer.host)
    if (ofHost === undefined) this.#byHost.set(peer.host, new Set([peer.endpointId]))
    else ofHost.add(peer.endpointId)
    if (!usable) return
    this.#believe(peer, true)
    this.#uses.set(vtep, (this.#uses.get(vtep) ?? 0) + 1)
    for (const key of keys) {
      this.tracker.setDesired(key, key.startsWith('vxlan') ? vtep : key.startsWith('bridge') ? onPort : peer.mac)
      this.#owner.set(key, peer.endpointId)
      this.#dirty.add(key)
    }
  }

  #believe({ addresses, mac }: Peer, announced: boolean): void {
    for (const address of addresses) {
      const before = this.#believed.get(address)
      if (!announced) this.#moved.delete(address)
      else if (before !== undefined && before !== mac) this.#moved.set(address, mac)
      // Put last, so that what is forgotten first is what did not change for longest.
      this.#believed.delete(address)
      this.#believed.set(address, mac)
    }
    for (const [address] of this.#believed) {
      if (this.#believed.size <= maxRemembered) break
      this.#believed.delete(address)
    }
  }

  #remove(endpointId: string): void {
    const was = this.#byEndpoint.get(endpointId)
    if (was === undefined) return
    this.#byEndpoint.delete(endpointId)
    const ofHost = this.#byHost.get(was.host)
    ofHost?.delete(endpointId)
    if (ofHost?.size === 0) this.#byHost.delete(was.host)
    if (was.keys.length === 0) return
    const uses = (this.#uses.get(was.vtep) ?? 1) - 1
    if (uses > 0) this.#uses.set(was.vtep, uses)
    else this.#uses.delete(was.vtep)
    for (const key of was.keys) {
      if (this.#owner.get(key) !== endpointId) continue
      this.#owner.delete(key)
      this.tracker.deleteDesired(key)
      this.#dirty.add(key)
    }
  }

  /** Keys whose desired value may differ from the actual one; those returned are no longer dirty. */
  takeDirty(): EntryKey[] {
    const { desired, actual } = this.tracker
    const dirty = [...this.#dirty].filter((key) => desired.get(key) !== actual.get(key))
    this.#dirty = new Set()
    return dirty
  }

  /** Everything that differs, after a read-back. */
  takeAll(): EntryKey[] {
    this.#dirty = new Set()
    const { put, remove } = this.tracker.changes()
    // The bridge answered with another MAC until now: of before this process, which does not remember it.
    for (const [key, mac] of put) if (key.startsWith(neighbour) && this.tracker.actual.has(key)) this.#moved.set(key.slice(neighbour.length), mac)
    return [...put.map(([key]) => key), ...remove]
  }

  /** The kernel now is as desired for these keys. */
  programmed(keys: readonly EntryKey[]): void {
    for (const key of keys) {
      const value = this.tracker.desired.get(key)
      if (value === undefined) this.tracker.deleteActual(key)
      else this.tracker.setActual(key, value)
    }
  }
}

export interface EntryPlace {
  readonly ns: Namespace
  readonly vxlan: string
  readonly bridge: string
}

/**
 * One step a key. Puts before removals (make before break); a neighbour comes last and goes first, so the bridge never
 * answers for what it cannot forward.
 */
export function entrySteps(
  keys: readonly EntryKey[],
  desired: ReadonlyMap<EntryKey, string>,
  place: EntryPlace,
): { readonly keys: EntryKey[]; readonly steps: Step[] } {
  const rank = (key: EntryKey) => {
    const table = key.startsWith('vxlan') ? 0 : key.startsWith('bridge') ? 1 : 2
    return desired.has(key) ? table : 5 - table
  }
  const ordered = keys.toSorted((a, b) => rank(a) - rank(b))
  return { keys: ordered, steps: ordered.map((key) => entryStep(key, desired.get(key), place)) }
}

function entryStep(key: EntryKey, value: string | undefined, { ns, vxlan, bridge }: EntryPlace): Step {
  const [table, what = ''] = key.split(' ')
  const tolerate = ['ENOENT']
  if (table === 'vxlan') {
    return value === undefined
      ? { op: 'fdb.vxlan.delete', ns, name: vxlan, mac: what, tolerate }
      : { op: 'fdb.vxlan.replace', ns, name: vxlan, mac: what, destination: value }
  }
  if (table === 'bridge') {
    return value === undefined ? { op: 'fdb.bridge.delete', ns, name: vxlan, mac: what, tolerate } : { op: 'fdb.bridge.replace', ns, name: vxlan, mac: what }
  }
  return value === undefined
    ? { op: 'neighbour.delete', ns, name: bridge, address: what, tolerate }
    : { op: 'neighbour.replace', ns, name: bridge, address: what, mac: value }
}

/** What the kernel holds of a network's entries. */
export function actualEntries(vxlan: LinkInfo, bridge: LinkInfo, dump: readonly NeighbourInfo[]): Map<EntryKey, string> {
  const entries = new Map<EntryKey, string>()
  for (const { linkIndex, table, mac, address, permanent } of dump) {
    if (table === 'vxlan' && linkIndex === vxlan.index) entries.set(`vxlan ${mac}`, address)
    if (table === 'bridge' && linkIndex === vxlan.index && permanent && mac !== vxlan.mac && mac !== bridge.mac && !isGroup(mac))
      entries.set(`bridge ${mac}`, onPort)
    if (table === 'neighbour' && linkIndex === bridge.index && permanent) entries.set(`neighbour ${address}`, mac)
  }
  return entries
}

/** IEEE 802: the group bit is the lowest of the first octet. */
function isGroup(mac: string): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1
}
