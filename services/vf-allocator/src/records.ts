/**
 * What stands in etcd, and what it means: proto JSON. Revisions are etcd's own and never stored; what an answer fills in is
 * not stored either. Nothing here fails: a record that somebody wrote by hand and that cannot be read is as empty, and what
 * its key stands for is taken all the same.
 */
import { Pf, Vf, VfBaseline, VfClaim, VfPool } from '@heddle/contract'
import type { Known, StoredRecord, Write } from '@heddle/store'
import type { Inventory } from './domain/inventory.ts'
import { keys, placeOf, prefixes } from './keys.ts'

interface InventoryJson {
  readonly recordedAt: string
  readonly epoch: string
  readonly formerEpochs: readonly string[]
  readonly pfs: readonly unknown[]
  readonly vfs: readonly unknown[]
  readonly retired: Readonly<Record<string, { readonly generation: string; readonly baseline: unknown }>>
}

/** The time makes the text unique to its write, which a lost reply is resolved by. */
export function encodeInventory(inventory: Inventory, recordedAt: string): string {
  const json: InventoryJson = {
    recordedAt,
    epoch: inventory.epoch,
    formerEpochs: inventory.formerEpochs,
    pfs: [...inventory.pfs.values()].map((pf) => Pf.toJSON(pf)),
    vfs: [...inventory.vfs.values()].map((vf) => Vf.toJSON(vf)),
    retired: Object.fromEntries([...inventory.retired].map(([pci, { generation, baseline }]) => [pci, { generation, baseline: VfBaseline.toJSON(baseline) }])),
  }
  return JSON.stringify(json)
}

/** Reading a host of many VFs takes a millisecond, and a record is read by every claim. */
const decoded = new WeakMap<StoredRecord, Inventory>()

export function decodeInventory(record: StoredRecord): Inventory {
  const inventory = decoded.get(record) ?? readInventory(record)
  decoded.set(record, inventory)
  return inventory
}

function readInventory({ key, value }: StoredRecord): Inventory {
  const host = key.slice(prefixes.hosts.length)
  const json = parsed(value) as Partial<InventoryJson>
  const byPci = <T extends { readonly pci: string }>(all: readonly T[]) => new Map(all.map((one) => [one.pci, one]))
  return {
    host,
    epoch: json.epoch ?? '',
    formerEpochs: json.formerEpochs ?? [],
    pfs: byPci((json.pfs ?? []).map((pf) => Pf.fromJSON(pf))),
    vfs: byPci((json.vfs ?? []).map((vf) => Vf.fromJSON(vf))),
    retired: new Map(
      Object.entries(json.retired ?? {}).map(([pci, { generation, baseline }]) => [pci, { generation, baseline: VfBaseline.fromJSON(baseline) }]),
    ),
  }
}

export function inventoryIn(known: Known, hostKey: string): Inventory | undefined {
  const record = known.get(hostKey)
  return record && decodeInventory(record)
}

export function encodeClaim(claim: VfClaim): string {
  return JSON.stringify(VfClaim.toJSON({ ...claim, revision: 0n }))
}

export function decodeClaim({ key, value, modRevision }: StoredRecord): VfClaim {
  return { ...VfClaim.fromJSON(parsed(value)), ...placeOf(key, prefixes.claims), revision: modRevision }
}

export function reservation(host: string, pci: string, reservedBy: string, createdAt: string): VfClaim {
  return { host, pci, owner: '', reservedBy, networkId: '', group: '', releasing: false, createdAt, revision: 0n, generation: '' }
}

/** What is left of a claim without its owner: the reservation, if there is one. */
export function freed({ host, pci, reservedBy }: VfClaim, now: string): Write {
  const key = keys.claim(host, pci)
  // With a time of its own, so that no text is written twice (store: commit).
  return reservedBy === '' ? { delete: key } : { put: key, value: encodeClaim(reservation(host, pci, reservedBy, now)) }
}

export function encodePool(pool: VfPool): string {
  return JSON.stringify(VfPool.toJSON({ ...pool, revision: 0n }))
}

export function decodePool({ key, value, modRevision }: StoredRecord): VfPool {
  return { ...VfPool.fromJSON(parsed(value)), name: key.slice(prefixes.pools.length), revision: modRevision }
}

export interface OwnerRecord {
  readonly host: string
  readonly pci: string
}

export function decodeOwner(record: StoredRecord | undefined): OwnerRecord | undefined {
  if (record === undefined) return undefined
  const { host, pci } = parsed(record.value) as Partial<OwnerRecord>
  return host === undefined || pci === undefined ? undefined : { host, pci }
}

export interface HoldRecord {
  readonly epoch: string
  readonly heldAt: string
}

export function epochOfHold({ value }: StoredRecord): string {
  return (parsed(value) as Partial<HoldRecord>).epoch ?? ''
}

function parsed(value: string): object {
  try {
    return (JSON.parse(value) ?? {}) as object
  } catch {
    return {}
  }
}
