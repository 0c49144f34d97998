/** What is stored, as text and as values. */
import { Host } from '@heddle/contract'
import type { StoredRecord } from '@heddle/store'

export interface VniRecord {
  readonly networkId: string
  readonly claimedAt?: string
  readonly freedAt?: string
}

export interface VniOfRecord {
  readonly vni: number
  readonly claimedAt: string
}

export interface LiveRecord {
  /** A bigint as text. */
  readonly lease: string
  readonly epoch: string
}

export interface VtepRecord {
  readonly host: string
}

export function read<T>(record: StoredRecord): T {
  return JSON.parse(record.value) as T
}

export function readHost(record: StoredRecord): Host {
  return Host.fromJSON(JSON.parse(record.value))
}

export function writeHost(host: Host): string {
  return JSON.stringify(Host.toJSON({ ...host, alive: false }))
}
