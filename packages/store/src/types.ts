/** etcd as its users see it: records, transactions with group commit, watches that never skip, one lease a process. */
import type { Call } from '@heddle/core'

/** A key and its value (text, JSON in practice) with etcd's revisions. */
export interface StoredRecord {
  readonly key: string
  readonly value: string
  readonly createRevision: bigint
  readonly modRevision: bigint
}

/** A condition of a transaction. */
export type Compare =
  | { readonly key: string; readonly is: 'absent' }
  /** No key begins with `key`. */
  | { readonly key: string; readonly is: 'none-below' }
  | { readonly key: string; readonly is: 'present' }
  | { readonly key: string; readonly is: 'at'; readonly modRevision: bigint }
  | { readonly key: string; readonly is: 'created-at'; readonly createRevision: bigint }
  | { readonly key: string; readonly is: 'valued'; readonly value: string }

export type Write = { readonly put: string; readonly value: string; readonly lease?: bigint } | { readonly delete: string }

export interface Transaction {
  /** All must hold, else nothing is written. */
  readonly when: readonly Compare[]
  readonly write: readonly Write[]
  /** Keys read in the same transaction when the conditions do not hold. */
  readonly otherwiseRead?: readonly string[]
}

export type Committed =
  | { readonly succeeded: true; readonly revision: bigint }
  | { readonly succeeded: false; readonly revision: bigint; readonly found: ReadonlyMap<string, StoredRecord> }

export interface Listing {
  /** The revision every record was read at. */
  readonly revision: bigint
  readonly records: readonly StoredRecord[]
}

/** A part of a listing. */
export interface ListPart {
  /** Only keys after this one. */
  readonly after?: string
  /** Only the first so many, at least one. */
  readonly limit?: number
}

/** Everything of one etcd revision under the watched prefix, never split. */
export interface WatchBatch {
  readonly revision: bigint
  readonly puts: readonly StoredRecord[]
  readonly deletes: readonly { readonly key: string; readonly modRevision: bigint }[]
}

export interface WatchListener {
  /** The whole prefix: first, and again after a compaction or when the history changed. Replaces what was known. */
  onSnapshot(listing: Listing, epoch: string): void
  /** Later revisions in order, none missing. */
  onBatch(batch: WatchBatch): void
}

export interface Watching {
  /** Resolves when the first snapshot has been delivered. */
  readonly ready: Promise<void>
  /** Revision up to which everything has been delivered, by events or progress notifications. */
  readonly revision: bigint
  close(): Promise<void>
}

export interface Store {
  get(key: string, call: Call): Promise<StoredRecord | undefined>
  /** Every record of a prefix at one revision, in the order of their keys; pages inside, so the size does not matter. */
  list(prefix: string, call: Call, part?: ListPart): Promise<Listing>
  /**
   * Commits a transaction together with whatever else is being committed (nested transactions of one request), each
   * succeeding or failing alone. Durable when it resolves. When the reply is lost it finds out by reading back: the
   * values put must therefore be unique to this write (carry an owner and a time or nonce). Rejects with `unavailable` or
   * `deadline-exceeded` when the outcome could not be found out within the call.
   */
  commit(transaction: Transaction, call: Call): Promise<Committed>
  /** Lists, then follows. Reconnects, relists after compaction; runs until closed. */
  watch(prefix: string, listener: WatchListener): Watching
  /** Grants a lease that whoever knows its id, in any replica, keeps alive by `renewLease`. */
  grantLease(ttlMs: number, call: Call): Promise<bigint>
  /** False when the lease is gone. */
  renewLease(id: bigint, call: Call): Promise<boolean>
  revokeLease(id: bigint, call: Call): Promise<void>
  /** Whether etcd answered lately; for health and STATUS. */
  readonly healthy: boolean
  close(): Promise<void>
}
