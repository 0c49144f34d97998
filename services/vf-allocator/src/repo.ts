/**
 * vf-allocator's records in etcd, and this replica's memory of them. The memory is fed by a watch and by what this replica
 * itself wrote or read; it may be behind, so it only ever proposes: every answer rests on a transaction or a fresh read.
 */
import type { VfClaim, VfPool } from '@heddle/contract'
import type { Call, Clock } from '@heddle/core'
import { type Decided, decide, type Known, Mirror, type Question, type Store, type StoredRecord, type Transaction } from '@heddle/store'
import type { HostView } from './domain/choose.ts'
import type { Inventory } from './domain/inventory.ts'
import { Picks } from './domain/picks.ts'
import { keys, placeOf, prefix, prefixes } from './keys.ts'
import { decodeClaim, decodeInventory, decodePool } from './records.ts'

export interface KnownClaim {
  readonly claim: VfClaim
  /** When this replica first saw it as it is, on the monotonic clock. */
  readonly seenMs: number
}

export class VfRepo {
  readonly clock: Clock
  readonly picks = new Picks()
  readonly #store: Store
  readonly #mirror: Mirror
  readonly #inventories = new Map<string, StoredRecord>()
  /** By host and PCI address. */
  readonly #claims = new Map<string, Map<string, KnownClaim>>()
  readonly #owners = new Map<string, VfClaim>()
  readonly #holds = new Map<string, Set<string>>()
  readonly #pools = new Map<string, VfPool>()

  constructor(store: Store, clock: Clock) {
    this.#store = store
    this.clock = clock
    this.#mirror = new Mirror(store, prefix, (key, after) => this.#onChange(key, after))
  }

  get ready(): Promise<void> {
    return this.#mirror.ready
  }

  close(): Promise<void> {
    return this.#mirror.close()
  }

  /** Hosts that have reported, in the order of their names. */
  get hosts(): string[] {
    return [...this.#inventories.keys()].sort()
  }

  get pools(): Iterable<VfPool> {
    return this.#pools.values()
  }

  *claims(): Generator<KnownClaim> {
    for (const claims of this.#claims.values()) yield* claims.values()
  }

  inventory(host: string): Inventory | undefined {
    const record = this.#inventories.get(host)
    return record && decodeInventory(record)
  }

  claimOf(host: string, pci: string): VfClaim | undefined {
    return this.#claims.get(host)?.get(pci)?.claim
  }

  ofOwner(owner: string): VfClaim | undefined {
    return this.#owners.get(owner)
  }

  heldPfs(host: string): string[] {
    return [...(this.#holds.get(host) ?? [])]
  }

  /** Undefined: the host has never reported. */
  view(host: string): HostView | undefined {
    const inventory = this.inventory(host)
    const known = this.#claims.get(host)
    return (
      inventory && {
        inventory,
        get claims() {
          return [...(known?.values() ?? [])].map(({ claim }) => claim)
        },
        claimOf: (pci) => this.claimOf(host, pci),
        isHeld: (pf) => this.#holds.get(host)?.has(pf) ?? false,
      }
    )
  }

  /** Also finds one that another replica has written just now. */
  async pool(name: string, call: Call): Promise<VfPool | undefined> {
    await this.#mirror.find(keys.pool(name), call)
    return this.#pools.get(name)
  }

  /** Decides on what is in etcd, guessing from memory first. */
  async decide<T>(question: Question<T>, call: Call): Promise<Decided<T>> {
    let decidedOn: Known = new Map()
    const decided = await decide(
      this.#store,
      {
        keys: question.keys,
        guess: (key) => this.#mirror.get(key),
        decide: (known) => {
          decidedOn = known
          return question.decide(known)
        },
      },
      call,
    )
    for (const record of decidedOn.values()) this.#mirror.learned(record)
    this.#mirror.wrote(decided.write, decided.revision)
    return decided
  }

  async commit(transaction: Transaction, call: Call): Promise<boolean> {
    const committed = await this.#store.commit(transaction, call)
    if (committed.succeeded) this.#mirror.wrote(transaction.write, committed.revision)
    return committed.succeeded
  }

  /** Brings memory of a host up to date with what etcd holds after this call was made. */
  async refresh(host: string, call: Call): Promise<void> {
    await Promise.all([
      this.#refreshBelow(prefixes.claimsOf(host), this.#mirroredClaims(host), call),
      this.#refreshBelow(
        prefixes.holdsOf(host),
        this.heldPfs(host).map((pf) => keys.hold(host, pf)),
        call,
      ),
      this.read(keys.host(host), call),
    ])
  }

  /** The host's claims as they are now. */
  async claimsNow(host: string, call: Call): Promise<VfClaim[]> {
    return (await this.#refreshBelow(prefixes.claimsOf(host), this.#mirroredClaims(host), call)).map(decodeClaim)
  }

  async poolsNow(call: Call): Promise<VfPool[]> {
    const mirrored = [...this.#pools.keys()].map((name) => keys.pool(name))
    return (await this.#refreshBelow(prefixes.pools, mirrored, call)).map(decodePool)
  }

  /** One record as it is now. */
  async read(key: string, call: Call): Promise<StoredRecord | undefined> {
    const { result } = await this.decide({ keys: () => [key], decide: (known) => ({ write: [], result: known.get(key) }) }, call)
    return result
  }

  async #refreshBelow(below: string, mirrored: readonly string[], call: Call): Promise<readonly StoredRecord[]> {
    const { records, revision } = await this.#store.list(below, call)
    const there = new Set(records.map(({ key }) => key))
    for (const record of records) this.#mirror.learned(record)
    this.#mirror.wrote(
      mirrored.filter((key) => !there.has(key)).map((key) => ({ delete: key })),
      revision,
    )
    return records
  }

  #mirroredClaims(host: string): string[] {
    return [...(this.#claims.get(host)?.keys() ?? [])].map((pci) => keys.claim(host, pci))
  }

  #onChange(key: string, record: StoredRecord | undefined): void {
    if (key.startsWith(prefixes.claims)) this.#onClaim(key, record)
    else if (key.startsWith(prefixes.hosts)) {
      const host = key.slice(prefixes.hosts.length)
      if (record === undefined) this.#inventories.delete(host)
      else this.#inventories.set(host, record)
    } else if (key.startsWith(prefixes.pools)) {
      const name = key.slice(prefixes.pools.length)
      if (record === undefined) this.#pools.delete(name)
      else this.#pools.set(name, decodePool(record))
    } else if (key.startsWith(prefixes.holds)) {
      const { host, pci } = placeOf(key, prefixes.holds)
      const held = this.#holds.get(host) ?? new Set()
      this.#holds.set(host, held)
      if (record === undefined) held.delete(pci)
      else held.add(pci)
    }
  }

  #onClaim(key: string, record: StoredRecord | undefined): void {
    const { host, pci } = placeOf(key, prefixes.claims)
    const claims = this.#claims.get(host) ?? new Map<string, KnownClaim>()
    this.#claims.set(host, claims)
    const before = claims.get(pci)
    if (before !== undefined && this.#owners.get(before.claim.owner) === before.claim) this.#owners.delete(before.claim.owner)
    if (record === undefined) {
      claims.delete(pci)
      return
    }
    const claim = decodeClaim(record)
    // The watch brings again what this replica wrote: the same revision is the same record.
    const known = before?.claim.revision === claim.revision ? before : { claim, seenMs: this.clock.monotonicMs() }
    claims.set(pci, known)
    if (claim.owner !== '') this.#owners.set(claim.owner, known.claim)
  }
}
