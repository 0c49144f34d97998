/** Whether etcd answered lately: from the calls that are made anyway, and from a small read when there are none. */
import type { Clock } from '@heddle/core'
import { epochKey } from './epoch.ts'
import { type EtcdPort, reasonOf } from './port.ts'

const probeEveryMs = 3_000
const latelyMs = 2 * probeEveryMs + 1_000

export class Health {
  /** The given port, listened to. */
  readonly port: EtcdPort
  readonly #clock: Clock
  #answeredMs = Number.NEGATIVE_INFINITY
  #cancel: () => void = () => {}
  #stopped = false

  constructor(port: EtcdPort, clock: Clock) {
    this.#clock = clock
    const heard = <T>(reply: Promise<T>): Promise<T> => {
      reply.then(
        () => this.#note(),
        (error: unknown) => reasonOf(error) === 'no-reply' || this.#note(),
      )
      return reply
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
