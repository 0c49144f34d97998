/**
 * Keeps one overlay network's peer entries in the kernel as the overlay service says: deltas as they come, a snapshot when
 * something was missed, a read-back when the kernel may differ. Until the first snapshot nothing is touched.
 */

import { isIPv6 } from 'node:net'
import { busServices, eventSubjects, PeerBeat, PeerDelta } from '@heddle/contract'
import { type Call, type KeyedQueue, PeerFollower, sleep } from '@heddle/core'
import type { Namespace, NftElement } from '@heddle/kernel'
import type { NetworkShape } from './domain/network-shape.ts'
import { actualEntries, entrySteps, PeerEntries } from './domain/peer-entries.ts'
import { kernelFailure } from './errors.ts'
import { background, type HostContext } from './host-context.ts'
import type { NftTable } from './nft-table.ts'

/** Deltas are gathered this long, so a burst becomes few programs. */
const gatherMs = 5
/** Steps of one program: 5 ms of the netlink thread, so an attach never waits longer behind a big table. */
const maxSteps = 256
const firstRetryMs = 50
const lastRetryMs = 5000

export type VxlanNetwork = NetworkShape & { readonly vxlan: NonNullable<NetworkShape['vxlan']> }

export class PeerSync {
  /** Resolves when the first snapshot is in the kernel. */
  readonly ready: Promise<void>
  readonly shape: VxlanNetwork
  readonly #context: HostContext
  readonly #ns: Namespace
  readonly #table: NftTable
  readonly #queue: KeyedQueue
  readonly #follower: PeerFollower
  readonly #entries: PeerEntries
  readonly #stop = new AbortController()
  readonly #closers: { close(): void }[] = []
  readonly #onBroken: () => Promise<void>
  #markReady: () => void = () => {}
  #isReady = false
  #members: ReadonlySet<string> = new Set()
  #synced = false
  #fetching = false
  #refetch = false
  #scheduled = false
  /** The kernel has to be read before anything is compared with it. */
  #doubt: boolean
  #failures = 0

  /** `fresh`: the devices were made just now and hold no entry. `queue` orders applying with work on the devices. */
  constructor(context: HostContext, shape: VxlanNetwork, ns: Namespace, table: NftTable, queue: KeyedQueue, fresh: boolean, onBroken: () => Promise<void>) {
    this.#context = context
    this.shape = shape
    this.#ns = ns
    this.#table = table
    this.#queue = queue
    this.#doubt = !fresh
    this.#onBroken = onBroken
    this.#follower = new PeerFollower(shape.id)
    this.#entries = new PeerEntries(context.host, shape.vxlan.local)
    this.ready = new Promise((resolve) => {
      this.#markReady = () => {
        this.#isReady = true
        resolve()
      }
    })
  }

  get isReady(): boolean {
    return this.#isReady
  }

  get peerCount(): number {
    return this.#follower.peers.size
  }

  /** Subscribes first, then asks for the snapshot: what happens in between is in one of the two. */
  start(): void {
    const { bus } = this.#context
    this.#closers.push(
      bus.subscribe(eventSubjects.peerDelta(this.shape.id), PeerDelta, (delta) => this.#onDelta(delta)),
      bus.subscribe(eventSubjects.peerBeat(this.shape.id), PeerBeat, (beat) => {
        if (this.#synced && this.#follower.onBeat(beat) !== 'in-sync') this.#fetch()
      }),
      bus.onReconnect(() => this.#fetch()),
    )
    this.#fetch()
  }

  /** The devices were made anew (`empty`) or may have been changed by others. */
  recheck(empty: boolean): void {
    if (empty) this.#entries.tracker.replaceActual([])
    else this.#doubt = true
    this.#schedule(0, true)
  }

  /** Reads the kernel and names every entry that is not as it should be, none without the devices; changes nothing. */
  async differences(call: Call): Promise<string[]> {
    const actual = this.#synced ? await this.#readBack(call) : undefined
    if (actual === undefined) return []
    return [...this.#entries.tracker.desired].flatMap(([key, value]) => {
      const is = actual.get(key)
      return is === value ? [] : [`peer entry ${key} is ${is ?? 'missing'}, it should be ${value}`]
    })
  }

  /** Ends the subscription; with `withdraw` also takes this network's members out of the allow-set. */
  close(withdraw: boolean): void {
    this.#stop.abort()
    for (const closer of this.#closers.splice(0)) closer.close()
    if (withdraw) for (const vtep of this.#members) this.#table.drop(memberSet(vtep), memberElement(vtep, this.shape.vxlan.vni))
  }

  #onDelta(delta: PeerDelta): void {
    const outcome = this.#follower.onDelta(delta)
    if (outcome === 'applied') this.#schedule(gatherMs)
    else if (outcome === 'gap') this.#fetch()
  }

  #fetch(): void {
    this.#refetch = true
    if (this.#fetching || this.#stop.signal.aborted) return
    this.#fetching = true
    this.#context.jobs.once(`snapshot of ${this.shape.name}`, async (signal) => {
      try {
        await this.#fetchUntilDone(AbortSignal.any([signal, this.#stop.signal]))
      } finally {
        this.#fetching = false
      }
    })
  }

  async #fetchUntilDone(signal: AbortSignal): Promise<void> {
    for (let attempt = 0; this.#refetch && !signal.aborted; attempt++) {
      this.#refetch = false
      try {
        if (await this.#fetchOnce(signal)) {
          this.#synced = true
          this.#schedule(0)
          continue
        }
      } catch (error) {
        if (signal.aborted) return
        this.#context.logger.warn({ err: error, network: this.shape.name }, 'the overlay service gave no snapshot; the kernel is left as it is')
      }
      this.#refetch = true
      const delayMs = Math.min(2000, 50 * 2 ** attempt) * (0.5 + Math.random() / 2)
      await sleep(this.#context.clock, delayMs, signal).catch(() => {})
    }
  }

  /** False when the snapshot was overtaken and has to be taken again. */
  async #fetchOnce(signal: AbortSignal): Promise<boolean> {
    const overlay = this.#context.bus.client(busServices.overlay)
    let request = { networkId: this.shape.id, page: 0, revision: 0n }
    for (;;) {
      const page = await background(this.#context, 5000, signal, (call) => overlay.snapshot(request, call))
      const outcome = this.#follower.onSnapshotPage(page)
      if (outcome !== 'more') return outcome === 'done'
      request = { networkId: this.shape.id, page: page.page + 1, revision: page.revision }
    }
  }

  #schedule(delayMs: number, all = false): void {
    if (all) this.#all = true
    if (this.#scheduled || !this.#synced || this.#stop.signal.aborted) return
    this.#scheduled = true
    this.#context.clock.after(delayMs, () => {
      if (this.#stop.signal.aborted) return
      this.#context.jobs.once(`peers of ${this.shape.name}`, (signal) => this.#queue.run(this.shape.id, () => this.#run(signal)))
    })
  }

  #all = false

  async #run(signal: AbortSignal): Promise<void> {
    this.#scheduled = false
    if (this.#stop.signal.aborted) return
    try {
      await background(this.#context, 30_000, AbortSignal.any([signal, this.#stop.signal]), (call) => this.#apply(call))
      this.#failures = 0
      this.#markReady()
    } catch (error) {
      if (this.#stop.signal.aborted || signal.aborted) return
      this.#doubt = true
      this.#context.logger.warn({ err: error, network: this.shape.name }, 'peer entries could not be programmed; trying again')
      this.#schedule(Math.min(lastRetryMs, firstRetryMs * 2 ** this.#failures++), true)
      // Outside this turn of the queue: it needs the queue itself.
      this.#context.jobs.once(`repair of ${this.shape.name}`, this.#onBroken)
    }
  }

  async #apply(call: Call): Promise<void> {
    const all = this.#all || this.#doubt
    this.#all = false
    this.#entries.update(this.#follower.takeChanges(), this.#follower.peers, this.#follower.hosts)
    const { tracker } = this.#entries
    if (this.#doubt) {
      const actual = await this.#readBack(call)
      if (actual === undefined) throw new Error(`the devices of ${this.shape.name} are gone`)
      tracker.replaceActual(actual)
      this.#doubt = false
    }
    const members = this.#entries.members
    const added = [...members].filter((vtep) => !this.#members.has(vtep))
    const gone = [...this.#members].filter((vtep) => !members.has(vtep))
    for (const vtep of added) this.#table.put(memberSet(vtep), memberElement(vtep, this.shape.vxlan.vni))
    if (added.length > 0) await this.#table.flush(call)
    await this.#program(all ? this.#entries.takeAll() : this.#entries.takeDirty(), call)
    for (const vtep of gone) this.#table.drop(memberSet(vtep), memberElement(vtep, this.shape.vxlan.vni))
    if (gone.length > 0) await this.#table.flush(call)
    this.#members = members
  }

  async #program(dirty: readonly string[], call: Call): Promise<void> {
    const { kernel } = this.#context
    const place = { ns: this.#ns, vxlan: this.shape.vxlan.name, bridge: this.shape.bridge }
    const { keys, steps } = entrySteps(dirty, this.#entries.tracker.desired, place)
    try {
      for (let at = 0; at < steps.length; at += maxSteps) {
        await kernel.run(steps.slice(at, at + maxSteps), call)
        this.#entries.programmed(keys.slice(at, at + maxSteps))
      }
    } catch (error) {
      throw kernelFailure(error, steps, kernel)
    }
    const moved = [...this.#entries.takeMoved()]
    const announcement = { op: 'announce', ns: place.ns, name: place.bridge, tolerate: ['ENODEV', 'ENETDOWN'] } as const
    if (moved.length > 0)
      await kernel.run(
        moved.map(([mac, addresses]) => ({ ...announcement, mac, addresses })),
        call,
      )
  }

  /** Per device, never the whole namespace: dumps grow faster than their tables. */
  async #readBack(call: Call): Promise<Map<string, string> | undefined> {
    const { kernel } = this.#context
    const [vxlan, bridge] = await Promise.all([kernel.link(this.#ns, this.shape.vxlan.name, call), kernel.link(this.#ns, this.shape.bridge, call)])
    if (vxlan === undefined || bridge === undefined) return undefined
    const dumps = await Promise.all([kernel.neighbours(this.#ns, vxlan.index, call), kernel.neighbours(this.#ns, bridge.index, call)])
    return actualEntries(vxlan, bridge, dumps.flat())
  }
}

const memberSet = (vtep: string): 'members4' | 'members6' => (isIPv6(vtep) ? 'members6' : 'members4')

function memberElement(vtep: string, vni: number): NftElement {
  return {
    key: [
      { type: isIPv6(vtep) ? 'ipv6_addr' : 'ipv4_addr', value: vtep },
      { type: 'u24', value: vni },
    ],
  }
}
