/**
 * A prefix of the store in memory: fed by a watch, and by this process's own writes before the watch brings them, so that
 * what it has written it also reads. Others' writes are seen when the watch does; whoever must be sure asks the store.
 */
import type { Call } from '@heddle/core'
import type { Store, StoredRecord, Watching, Write } from './types.ts'

export type MirrorListener = (key: string, after: StoredRecord | undefined, before: StoredRecord | undefined) => void

export class Mirror {
  readonly #store: Store
  readonly #listener: MirrorListener
  readonly #watching: Watching
  #watched = new Map<string, StoredRecord>()
  /** Newer than the watch; `record` is absent for a deletion. */
  readonly #ahead = new Map<string, { readonly revision: bigint; readonly record: StoredRecord | undefined }>()
  #revision = 0n
  #epoch = ''

  /**
   * The listener hears of every change of what `get` answers, once, while it is made. What it throws about one key is thrown
   * on when it has heard of the others: a new listing would not tell them again.
   */
  constructor(store: Store, prefix: string, listener: MirrorListener = () => {}) {
    this.#store = store
    this.#listener = listener
    this.#watching = store.watch(prefix, {
      onSnapshot: (listing, epoch) => {
        if (epoch !== this.#epoch) this.#ahead.clear()
        this.#epoch = epoch
        const before = this.#watched
        this.#watched = new Map(listing.records.map((record) => [record.key, record]))
        this.#advance(listing.revision, new Set([...before.keys(), ...this.#watched.keys()]), (key) => before.get(key))
      },
      onBatch: ({ revision, puts, deletes }) => {
        const before = new Map<string, StoredRecord | undefined>()
        for (const record of puts) {
          before.set(record.key, this.#watched.get(record.key))
          this.#watched.set(record.key, record)
        }
        for (const { key } of deletes) {
          before.set(key, this.#watched.get(key))
          this.#watched.delete(key)
        }
        this.#advance(revision, before.keys(), (key) => before.get(key))
      },
    })
  }

  /** Resolves when it holds the whole prefix. */
  get ready(): Promise<void> {
    return this.#watching.ready
  }

  /** Up to which the watch has brought everything; of later ones it may hold some records and not others. */
  get revision(): bigint {
    return this.#revision
  }

  get(key: string): StoredRecord | undefined {
    const ahead = this.#ahead.get(key)
    return ahead === undefined ? this.#watched.get(key) : ahead.record
  }

  /** What it holds, or what the store says; so that a record another replica has just written is not taken for missing. */
  async find(key: string, call: Call): Promise<StoredRecord | undefined> {
    const here = this.get(key)
    if (here !== undefined) return here
    const record = await this.#store.get(key, call)
    if (record !== undefined) this.#set(key, record.modRevision, record)
    return record
  }

  /** Takes in what this process committed at a revision. */
  wrote(writes: readonly Write[], revision: bigint): void {
    for (const write of writes) {
      if ('delete' in write) this.#set(write.delete, revision, undefined)
      else {
        const createRevision = this.get(write.put)?.createRevision ?? revision
        this.#set(write.put, revision, { key: write.put, value: write.value, createRevision, modRevision: revision })
      }
    }
  }

  /** Takes in a record that this process has just read. */
  learned(record: StoredRecord): void {
    this.#set(record.key, record.modRevision, record)
  }

  close(): Promise<void> {
    return this.#watching.close()
  }

  #set(key: string, revision: bigint, record: StoredRecord | undefined): void {
    if (revision <= this.#revision || revision <= (this.#ahead.get(key)?.revision ?? 0n)) return
    const before = this.get(key)
    this.#ahead.set(key, { revision, record })
    this.#tell(key, record, before)
  }

  #advance(revision: bigint, changed: Iterable<string>, watchedBefore: (key: string) => StoredRecord | undefined): void {
    this.#revision = revision
    const told = new Map<string, StoredRecord | undefined>()
    for (const key of changed) told.set(key, this.#ahead.has(key) ? this.#ahead.get(key)?.record : watchedBefore(key))
    for (const [key, ahead] of this.#ahead) {
      if (ahead.revision > revision) continue
      this.#ahead.delete(key)
      if (!told.has(key)) told.set(key, ahead.record)
    }
    const failures: unknown[] = []
    for (const [key, before] of told) {
      try {
        this.#tell(key, this.get(key), before)
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, `the listener of a mirror failed on ${failures.length} of ${told.size} keys`)
  }

  #tell(key: string, after: StoredRecord | undefined, before: StoredRecord | undefined): void {
    if (after?.modRevision !== before?.modRevision || after?.value !== before?.value) this.#listener(key, after, before)
  }
}
