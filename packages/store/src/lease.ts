/**
 * A lease this process keeps alive. Its end is counted on the monotonic clock from when the last successful renewal was
 * sent, since etcd may have begun counting then; at that end less a margin the holder stops relying on it by itself.
 */
import { type Clock, HeddleError, sleep } from '@heddle/core'
import type { EtcdPort } from './port.ts'
import type { Lease } from './types.ts'

type LeasePort = Pick<EtcdPort, 'grantLease' | 'keepLeaseAlive' | 'revokeLease'>

/** Grants a lease and keeps it alive until it is closed or lost. */
export async function holdLease(port: LeasePort, clock: Clock, ttlMs: number, withinMs: number): Promise<Lease> {
  const sentMs = clock.monotonicMs()
  const granted = await port.grantLease(toSeconds(ttlMs), withinMs)
  return new HeldLease(port, clock, granted.id, ttlMs, sentMs)
}

/** etcd counts in seconds; it raises what is below its minimum (2 s with default election times). */
export function toSeconds(ttlMs: number): number {
  return Math.max(1, Math.ceil(ttlMs / 1_000))
}

class HeldLease implements Lease {
  readonly id: bigint
  readonly #port: LeasePort
  readonly #clock: Clock
  readonly #ttlMs: number
  readonly #lost = new AbortController()
  #disarm: () => void = () => {}

  constructor(port: LeasePort, clock: Clock, id: bigint, ttlMs: number, sentMs: number) {
    this.id = id
    this.#port = port
    this.#clock = clock
    this.#ttlMs = ttlMs
    this.#arm(sentMs)
    void this.#renew()
  }

  get lost(): AbortSignal {
    return this.#lost.signal
  }

  async close(): Promise<void> {
    this.#lose('it was given back')
    // If etcd does not hear it, the lease runs out by itself.
    await this.#port.revokeLease(this.id, 1_000).catch(() => {})
  }

  #arm(sentMs: number): void {
    this.#disarm()
    const marginMs = this.#ttlMs / 10
    this.#disarm = this.#clock.after(sentMs + this.#ttlMs - marginMs - this.#clock.monotonicMs(), () => this.#lose('etcd did not confirm it in time'))
  }

  #lose(why: string): void {
    this.#disarm()
    this.#lost.abort(new HeddleError('unavailable', `the lease ${this.id} can no longer be relied on: ${why}`, { remedy: 'register again with a new lease' }))
  }

  async #renew(): Promise<void> {
    const { signal } = this.#lost
    for (let pauseMs = this.#ttlMs / 3; !signal.aborted; ) {
      await sleep(this.#clock, pauseMs, signal).catch(() => {})
      if (signal.aborted) return
      const sentMs = this.#clock.monotonicMs()
      try {
        const left = await this.#port.keepLeaseAlive(this.id, this.#ttlMs / 3)
        if (left === 0) return this.#lose('etcd does not know it any more')
        if (signal.aborted) return
        this.#arm(sentMs)
        pauseMs = this.#ttlMs / 3
      } catch {
        pauseMs = this.#ttlMs / 20
      }
    }
  }
}
