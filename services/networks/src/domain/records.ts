/** What is stored, as text and as values. Messages are proto JSON without their revision; small records are JSON. */
import { Endpoint, Network } from '@heddle/contract'
import type { StoredRecord } from '@heddle/store'

export function readNetwork(record: StoredRecord): Network {
  return { ...Network.fromJSON(JSON.parse(record.value)), revision: record.modRevision }
}

export function readEndpoint(record: StoredRecord): Endpoint {
  return { ...Endpoint.fromJSON(JSON.parse(record.value)), revision: record.modRevision }
}

export function writeNetwork(network: Network): string {
  return JSON.stringify(Network.toJSON({ ...network, revision: 0n }))
}

export function writeEndpoint(endpoint: Endpoint): string {
  return JSON.stringify(Endpoint.toJSON({ ...endpoint, revision: 0n }))
}

export interface NetworkRef {
  readonly networkId: string
}

export interface MacHolder {
  readonly endpointId: string
}

export interface FenceRecord {
  /** A bigint as text. */
  readonly claimRevision: string
  readonly fencedAt: string
}

export function read<T>(record: StoredRecord): T {
  return JSON.parse(record.value) as T
}
