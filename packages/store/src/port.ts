/** What the store needs of etcd, so that everything above the adapter can be read and tested without its client. */
import { type ErrorParts, HeddleError } from '@heddle/core'
import type { Runtime } from '@heddle/runtime'
import type { Committed, StoredRecord, Transaction } from './types.ts'

export type Logger = Runtime['logger']

export interface RangeRequest {
  readonly key: string
  /** Exclusive end; only `key` itself when absent. Bytes, because the end of a prefix need not be text. */
  readonly rangeEnd?: Buffer
  /** 0 or absent: the present. */
  readonly revision?: bigint
  readonly limit?: number
}

export interface RangeReply {
  readonly clusterId: string
  /** The store's revision when it answered (not the one asked for). */
  readonly revision: bigint
  readonly records: readonly StoredRecord[]
  /** There are further records after the limit. */
  readonly more: boolean
}

export interface WatchRange {
  /** Chosen by us, greater than 0, unique in its stream. */
  readonly id: number
  readonly key: string
  readonly rangeEnd?: Buffer
  readonly startRevision: bigint
}

export interface WatchEvent {
  readonly kind: 'put' | 'delete'
  readonly record: StoredRecord
}

/** etcdserverpb.WatchResponse; a progress notification is one that is neither created nor cancelled and has no events. */
export interface WatchReply {
  readonly id: number
  readonly created: boolean
  readonly cancelled: boolean
  readonly cancelReason: string
  /** Not 0 when it was cancelled because its start revision has been compacted. */
  readonly compactRevision: bigint
  /** More events of the same response follow in the next reply. */
  readonly fragment: boolean
  readonly revision: bigint
  readonly events: readonly WatchEvent[]
}

/** Every `withinMs` is one attempt's deadline. All reject with the errors of `etcdFailure`. Nothing is retried inside. */
export interface EtcdPort {
  range(request: RangeRequest, withinMs: number): Promise<RangeReply>
  /** One request whose operations are the given transactions, each succeeding or failing alone; outcomes in their order. */
  transact(transactions: readonly Transaction[], withinMs: number): Promise<readonly Committed[]>
  /** The id and the time to live etcd chose: at least the one asked for. */
  grantLease(ttlSeconds: number, withinMs: number): Promise<{ readonly id: bigint; readonly ttlSeconds: number }>
  /** Seconds to live from now on; 0 when the lease is gone. */
  keepLeaseAlive(id: bigint, withinMs: number): Promise<number>
  revokeLease(id: bigint, withinMs: number): Promise<void>
  /** Opens one stream; `onEnd` is called once unless it was cancelled. */
  watch(ranges: readonly WatchRange[], onReply: (reply: WatchReply) => void, onEnd: (error: HeddleError) => void): { cancel(): void }
  close(): void
}

/**
 * Why etcd did not do it: `no-reply` means it may have, `cut-off` the same and that further attempts are not worth their
 * time, `lease-gone` that a put named a lease that does not exist, `malformed` that the request itself is at fault,
 * `refused` any other definite no.
 */
export type EtcdReason = 'no-reply' | 'cut-off' | 'compacted' | 'lease-gone' | 'malformed' | 'refused'

export function etcdFailure(reason: EtcdReason, code: 'unavailable' | 'deadline-exceeded' | 'internal', message: string, parts: ErrorParts = {}): HeddleError {
  return new HeddleError(code, message, { ...parts, details: { etcd: reason } })
}

export function reasonOf(error: unknown): EtcdReason | undefined {
  return HeddleError.is(error) ? (error.details['etcd'] as EtcdReason | undefined) : undefined
}

/** etcd counts in seconds; it raises what is below its minimum (2 s with default election times). */
export function toSeconds(ttlMs: number): number {
  return Math.max(1, Math.ceil(ttlMs / 1_000))
}

/** The exclusive end of all keys that begin with `prefix` (etcd's clientv3.GetPrefixRangeEnd); of all keys for ''. */
export function prefixEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix)
  for (let index = end.length - 1; index >= 0; index--) {
    const byte = end[index] as number
    if (byte === 0xff) continue
    end[index] = byte + 1
    return end.subarray(0, index + 1)
  }
  return Buffer.from([0])
}
