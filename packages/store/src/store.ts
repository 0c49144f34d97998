/** The store on etcd, put together: spans, deadlines and the parts that know each one thing. */
import { type Call, type Clock, HeddleError, raceCall, withSpan } from '@heddle/core'
import { commitOnce } from './ambiguous.ts'
import { attemptMs, untilReply } from './attempts.ts'
import { defaultLimits, GroupCommit, type GroupCommitLimits } from './group-commit.ts'
import { Health } from './health.ts'
import { listPrefix } from './list.ts'
import { type EtcdPort, type Logger, reasonOf, toSeconds } from './port.ts'
import type { Committed, Listing, ListPart, Store, StoredRecord, Transaction, Watching, WatchListener } from './types.ts'
import { PrefixWatch } from './watch.ts'

export class EtcdStore implements Store {
  readonly #port: EtcdPort
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #group: GroupCommit
  readonly #health: Health
  readonly #watches = new Set<PrefixWatch>()
  #closed = false

  constructor(port: EtcdPort, logger: Logger, clock: Clock, limits: GroupCommitLimits = defaultLimits) {
    this.#health = new Health(port, clock)
    this.#port = this.#health.port
    this.#clock = clock
    this.#logger = logger
    this.#group = new GroupCommit(this.#port, clock, limits)
  }

  get healthy(): boolean {
    return this.#health.healthy
  }

  get(key: string, call: Call): Promise<StoredRecord | undefined> {
    return this.#within('etcd get', { 'heddle.key': key }, call, async () => {
      const { records } = await untilReply(call, () => this.#port.range({ key }, attemptMs(call)))
      return records[0]
    })
  }

  list(prefix: string, call: Call, part?: ListPart): Promise<Listing> {
    return this.#within('etcd list', { 'heddle.prefix': prefix }, call, () => listPrefix(this.#port, prefix, call, part))
  }

  commit(transaction: Transaction, call: Call): Promise<Committed> {
    const resolver = {
      submit: (attempt: Transaction, within: Call) => this.#group.submit(attempt, within),
      readAt: async (key: string, revision: bigint) => (await this.#port.range({ key, revision }, attemptMs(call))).records[0],
    }
    return this.#within('etcd txn', { 'heddle.etcd.writes': transaction.write.length }, call, async (_call, span) => {
      const { committed, batchSize } = await commitOnce(resolver, transaction, call)
      span.setAttributes({ 'heddle.etcd.batch': batchSize, 'heddle.etcd.revision': String(committed.revision), 'heddle.etcd.succeeded': committed.succeeded })
      return committed
    })
  }

  watch(prefix: string, listener: WatchListener): Watching {
    this.#refuseWhenClosed()
    const parts = {
      port: this.#port,
      clock: this.#clock,
      logger: this.#logger,
      commit: (transaction: Transaction, call: Call) => this.commit(transaction, call),
    }
    const watching = new PrefixWatch(parts, prefix, listener)
    this.#watches.add(watching)
    void watching.closed.then(() => this.#watches.delete(watching))
    return watching
  }

  grantLease(ttlMs: number, call: Call): Promise<bigint> {
    return this.#within('etcd lease grant', {}, call, async () => (await untilReply(call, () => this.#port.grantLease(toSeconds(ttlMs), attemptMs(call)))).id)
  }

  renewLease(id: bigint, call: Call): Promise<boolean> {
    return this.#within('etcd lease renew', {}, call, async () => (await untilReply(call, () => this.#port.keepLeaseAlive(id, attemptMs(call)))) > 0)
  }

  revokeLease(id: bigint, call: Call): Promise<void> {
    return this.#within('etcd lease revoke', {}, call, async () => {
      await untilReply(call, () => this.#port.revokeLease(id, attemptMs(call))).catch((error: unknown) => {
        if (reasonOf(error) !== 'lease-gone') throw error
      })
    })
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#health.stop()
    await Promise.all([...this.#watches].map((watching) => watching.close()))
    this.#port.close()
  }

  /** Every operation is a span and ends with its call, whatever etcd does. */
  #within<T>(name: string, attributes: Record<string, string | number>, call: Call, body: Parameters<typeof withSpan<T>>[3]): Promise<T> {
    if (this.#closed) return Promise.reject(closed())
    return withSpan(call, name, attributes, (inner, span) => raceCall(body(inner, span), inner))
  }

  #refuseWhenClosed(): void {
    if (this.#closed) throw closed()
  }
}

function closed(): HeddleError {
  return new HeddleError('unavailable', 'the store is closed')
}
