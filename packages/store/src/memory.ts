/**
 * A store in memory with etcd's semantics, for tests of what stands on a store: conformance.test.ts runs the same
 * assertions on it and on etcd. Deterministic: nothing waits but on the clock, watchers hear in the next microtask.
 */
import { type Call, type Clock, HeddleError, systemClock } from '@heddle/core'
import { checkTransaction, measure } from './group-commit.ts'
import { etcdFailure, toSeconds } from './port.ts'
import type { Committed, Compare, Listing, ListPart, Store, StoredRecord, Transaction, WatchBatch, Watching, WatchListener } from './types.ts'

interface Held {
  readonly record: StoredRecord
  readonly lease: bigint | undefined
}

interface GrantedLease {
  readonly ttlMs: number
  cancel: () => void
}

class MemoryWatch implements Watching {
  readonly ready: Promise<void>
  readonly prefix: string
  revision = 0n
  readonly #listener: WatchListener
  readonly #detach: (watch: MemoryWatch) => void
  readonly #first = Promise.withResolvers<void>()
  #open = true

  constructor(prefix: string, listener: WatchListener, detach: (watch: MemoryWatch) => void) {
    this.prefix = prefix
    this.#listener = listener
    this.#detach = detach
    this.ready = this.#first.promise
    this.ready.catch(() => {})
  }

  snapshot(listing: Listing, epoch: string): void {
    this.#later(() => {
      this.#listener.onSnapshot(listing, epoch)
      this.revision = listing.revision
      this.#first.resolve()
    })
  }

  change(batch: WatchBatch): void {
    this.#later(() => {
      this.#listener.onBatch(batch)
      this.revision = batch.revision
    })
  }

  async close(): Promise<void> {
    this.#open = false
    this.#detach(this)
    this.#first.reject(new HeddleError('cancelled', 'the watch was closed'))
  }

  #later(deliver: () => void): void {
    queueMicrotask(() => {
      if (this.#open) deliver()
    })
  }
}

export class MemoryStore implements Store {
  /** While false every operation fails as if etcd were away; watches stay open and silent leases run out. */
  healthy = true
  readonly #clock: Clock
  readonly #held = new Map<string, Held>()
  readonly #leases = new Map<bigint, GrantedLease>()
  readonly #watches = new Set<MemoryWatch>()
  #revision = 1n
  #lastLease = 0n
  #epoch = 1

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
  }

  async get(key: string, call: Call): Promise<StoredRecord | undefined> {
    this.#check(call)
    return this.#held.get(key)?.record
  }

  async list(prefix: string, call: Call, { after = '', limit }: ListPart = {}): Promise<Listing> {
    this.#check(call)
    const { revision, records } = this.#listing(prefix)
    return { revision, records: records.filter(({ key }) => after === '' || Buffer.compare(Buffer.from(key), Buffer.from(after)) > 0).slice(0, limit) }
  }

  async commit(transaction: Transaction, call: Call): Promise<Committed> {
    this.#check(call)
    const { ops, bytes } = measure(transaction)
    const problem = checkTransaction(transaction, ops, bytes)
    if (problem !== undefined) throw problem
    if (!transaction.when.every((compare) => this.#holds(compare))) {
      const found = new Map<string, StoredRecord>()
      for (const key of transaction.otherwiseRead ?? []) {
        const record = this.#held.get(key)?.record
        if (record !== undefined) found.set(key, record)
      }
      return { succeeded: false, revision: this.#revision, found }
    }
    for (const write of transaction.write) {
      if ('put' in write && write.lease !== undefined && !this.#leases.has(write.lease)) {
        throw etcdFailure('lease-gone', 'unavailable', `the lease ${write.lease} does not exist`, { remedy: 'register again with a new lease' })
      }
    }
    this.#write(transaction)
    return { succeeded: true, revision: this.#revision }
  }

  watch(prefix: string, listener: WatchListener): Watching {
    const watch = new MemoryWatch(prefix, listener, (closed) => this.#watches.delete(closed))
    this.#watches.add(watch)
    watch.snapshot(this.#listing(prefix), this.#epochText())
    return watch
  }

  async grantLease(ttlMs: number, call: Call): Promise<bigint> {
    this.#check(call)
    const id = ++this.#lastLease
    this.#leases.set(id, { ttlMs: toSeconds(ttlMs) * 1_000, cancel: () => {} })
    this.#arm(id)
    return id
  }

  async renewLease(id: bigint, call: Call): Promise<boolean> {
    this.#check(call)
    this.#arm(id)
    return this.#leases.has(id)
  }

  async revokeLease(id: bigint, call: Call): Promise<void> {
    this.#check(call)
    this.#expire(id)
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) await watch.close()
    for (const id of this.#leases.keys()) this.#leases.get(id)?.cancel()
    this.healthy = false
  }

  /** What a compaction does to a watcher that was cut off, or with `newEpoch` a restored backup: everybody is given a new snapshot. */
  relist(options: { readonly newEpoch?: boolean } = {}): void {
    if (options.newEpoch) this.#epoch++
    for (const watch of this.#watches) watch.snapshot(this.#listing(watch.prefix), this.#epochText())
  }

  #check(call: Call): void {
    if (call.signal.aborted) throw call.signal.reason
    if (!this.healthy) throw etcdFailure('no-reply', 'unavailable', 'the store does not answer')
  }

  #epochText(): string {
    return `memory.${this.#epoch}`
  }

  #listing(prefix: string): Listing {
    const records = [...this.#held.values()].map(({ record }) => record).filter(({ key }) => key.startsWith(prefix))
    // etcd orders keys by their bytes.
    return { revision: this.#revision, records: records.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key))) }
  }

  #holds(compare: Compare): boolean {
    const record = this.#held.get(compare.key)?.record
    switch (compare.is) {
      case 'absent':
        return record === undefined
      case 'none-below':
        return ![...this.#held.keys()].some((key) => key.startsWith(compare.key))
      case 'present':
        return record !== undefined
      // An absent key has revision 0, as in etcd.
      case 'at':
        return (record?.modRevision ?? 0n) === compare.modRevision
      case 'created-at':
        return (record?.createRevision ?? 0n) === compare.createRevision
      case 'valued':
        return record?.value === compare.value
    }
  }

  /** One revision, unless it only deletes what is not there. */
  #write({ write }: Pick<Transaction, 'write'>): void {
    const revision = this.#revision + 1n
    const puts: StoredRecord[] = []
    const deletes: { key: string; modRevision: bigint }[] = []
    for (const item of write) {
      if ('put' in item) {
        const record = { key: item.put, value: item.value, createRevision: this.#held.get(item.put)?.record.createRevision ?? revision, modRevision: revision }
        this.#held.set(item.put, { record, lease: item.lease })
        puts.push(record)
      } else if (this.#held.delete(item.delete)) deletes.push({ key: item.delete, modRevision: revision })
    }
    if (puts.length + deletes.length === 0) return
    this.#revision = revision
    for (const watch of this.#watches) {
      const batch = {
        revision,
        puts: puts.filter(({ key }) => key.startsWith(watch.prefix)),
        deletes: deletes.filter(({ key }) => key.startsWith(watch.prefix)),
      }
      if (batch.puts.length + batch.deletes.length > 0) watch.change(batch)
    }
  }

  #arm(id: bigint): void {
    const lease = this.#leases.get(id)
    if (lease === undefined) return
    lease.cancel()
    lease.cancel = this.#clock.after(lease.ttlMs, () => this.#expire(id))
  }

  #expire(id: bigint): void {
    const lease = this.#leases.get(id)
    if (lease === undefined) return
    lease.cancel()
    this.#leases.delete(id)
    this.#write({ write: [...this.#held].filter(([, { lease: held }]) => held === id).map(([key]) => ({ delete: key })) })
  }
}
