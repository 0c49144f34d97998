/** A host as the peer protocol sees it: follows one network's table with PeerFollower and fetches what it missed. Tests only. */
import type { Bus } from '@heddle/bus'
import { busServices, eventSubjects, PeerBeat, PeerDelta } from '@heddle/contract'
import { PeerFollower, sleep, systemClock, withCall } from '@heddle/core'

export class Receiver {
  readonly follower: PeerFollower
  /** Called after each delta that changed the table. */
  onApplied: (delta: PeerDelta) => void = () => {}
  snapshots = 0
  readonly #bus: Bus
  readonly #closing = new AbortController()
  readonly #closers: { close(): void }[]
  #fetching: Promise<void> | undefined
  #again = false

  constructor(bus: Bus, networkId: string) {
    this.#bus = bus
    this.follower = new PeerFollower(networkId)
    this.#closers = [
      bus.subscribe(eventSubjects.peerDelta(networkId), PeerDelta, (delta) => {
        const outcome = this.follower.onDelta(delta)
        if (outcome === 'gap') this.#fetch()
        else if (outcome === 'applied') this.onApplied(delta)
      }),
      bus.subscribe(eventSubjects.peerBeat(networkId), PeerBeat, (beat) => {
        if (this.follower.onBeat(beat) !== 'in-sync') this.#fetch()
      }),
      bus.onReconnect(() => this.#fetch()),
    ]
    this.#fetch()
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('closed'))
    for (const closer of this.#closers) closer.close()
    await this.#fetching
  }

  #fetch(): void {
    this.#again = true
    this.#fetching ??= this.#fetchAll().finally(() => {
      this.#fetching = undefined
    })
  }

  async #fetchAll(): Promise<void> {
    const { signal } = this.#closing
    while (this.#again && !signal.aborted) {
      this.#again = false
      const done = await this.#fetchOnce().catch(() => false)
      if (done) continue
      this.#again = true
      await sleep(systemClock, 50, signal).catch(() => {})
    }
  }

  async #fetchOnce(): Promise<boolean> {
    this.snapshots++
    let [page, revision] = [0, 0n]
    for (;;) {
      const answer = await withCall({ timeoutMs: 2_000, signal: this.#closing.signal }, (call) =>
        this.#bus.client(busServices.overlay).snapshot({ networkId: this.follower.networkId, page, revision }, call),
      )
      const outcome = this.follower.onSnapshotPage(answer)
      if (outcome !== 'more') return outcome === 'done'
      page++
      revision = answer.revision
    }
  }
}

/** Waits until the condition holds; fails with what `describe` says when it never does. */
export async function eventually(condition: () => boolean | Promise<boolean>, describe: () => string, timeoutMs = 30_000): Promise<void> {
  for (const endMs = performance.now() + timeoutMs; !(await condition()); ) {
    if (performance.now() > endMs) throw new Error(`it never came about: ${describe()}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
