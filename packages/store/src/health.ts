/**
 * Whether etcd answered lately: from the calls that are made anyway, and from a small read when there are none. Once it has
 * not for long, an attempt that gets no reply is the call's last: the caller still has time to ask a replica that has etcd.
 */
import type { Clock, HeddleError } from '@heddle/core'
import { epochKey } from './epoch.ts'
import { type EtcdPort, etcdFailure, reasonOf } from './port.ts'

const probeEveryMs = 3_000
const latelyMs = 2 * probeEveryMs + 1_000

export class Health {
  /** The given port, listened to. */
  readonly port: EtcdPort
  readonly #clock: Clock
  readonly #bornMs: number
  #answeredMs = Number.NEGATIVE_INFINITY
  #cancel: () => void = () => {}
  #stopped = false

  constructor(port: EtcdPort, clock: Clock) {
    this.#clock = clock
    this.#bornMs = clock.monotonicMs()
    const heard = async <T>(reply: Promise<T>): Promise<T> => {
      try {
        const answer = await reply
        this.#note()
        return answer
      } catch (error) {
        if (reasonOf(error) !== 'no-reply') this.#note()
        else if (this.#cutOff) throw cutOff(error)
        throw error
      }
    }
    this.port = {
      range: (request, withinMs) => heard(port.range(request, withinMs)),
      transact: (transactions, withinMs) => heard(port.transact(transactions, withinMs)),
      grantLease: (ttlSeconds, withinMs) => heard(port.grantLease(ttlSeconds, withinMs)),
      keepLeaseAlive: (id, withinMs) => heard(port.keepLeaseAlive(id, withinMs)),
      revokeLease: (id, withinMs) => heard(port.revokeLease(id, withinMs)),
      watch: (ranges, onReply, onEnd) => port.watch(ranges, onReply, onEnd),
      close: () => port.close(),
    }
    void this.#probe()
  }

  get healthy(): boolean {
    return this.#clock.monotonicMs() - this.#answeredMs < latelyMs
  }

  /** Healthy is who was answered; cut off is who waits in vain, which at the start takes as long to tell. */
  get #cutOff(): boolean {
    return this.#clock.monotonicMs() - Math.max(this.#bornMs, this.#answeredMs) >= latelyMs
  }

  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  #note(): void {
    this.#answeredMs = this.#clock.monotonicMs()
  }

  async #probe(): Promise<void> {
    if (this.#clock.monotonicMs() - this.#answeredMs >= probeEveryMs) await this.port.range({ key: epochKey }, probeEveryMs).catch(() => {})
    if (!this.#stopped) this.#cancel = this.#clock.after(probeEveryMs, () => void this.#probe())
  }
}

function cutOff(cause: unknown): HeddleError {
  return etcdFailure('cut-off', 'unavailable', `etcd has not answered this replica for ${latelyMs / 1_000} s and longer`, {
    cause,
    remedy: 'see whether etcd runs and can be reached',
  })
}
