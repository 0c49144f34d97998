/**
 * ipam's records in etcd, and this replica's memory of them. The memory is fed by watches and by what this replica itself
 * wrote or read; it may be behind, so it only ever proposes: every answer rests on a transaction.
 */
import type { Claim } from '@heddle/contract'
import { type Call, type Clock, raceCall, withCall } from '@heddle/core'
import { parseIp } from '@heddle/net'
import type { Runtime } from '@heddle/runtime'
import {
  type Committed,
  type Decided,
  decide,
  type Known,
  type ListPart,
  Mirror,
  type Question,
  type Store,
  type StoredRecord,
  type Transaction,
} from '@heddle/store'
import { type Held, heldIn, keysOfOwner } from './domain/held.ts'
import { type PoolPlan, planOf } from './domain/pool.ts'
import { type KnownClaim, newestOf, PoolState } from './domain/pool-state.ts'
import { claimKey, claimPrefix, claimsBelow, ownerPrefix, poolKey, poolPrefix, refOfKey } from './keys.ts'
import { decodeClaim, decodePool, encodeOwner } from './records.ts'

export class IpamRepo {
  readonly clock: Clock
  readonly #store: Store
  readonly #logger: Pick<Runtime['logger'], 'error'>
  readonly #states = new Map<string, PoolState>()
  readonly #owners = new Map<string, KnownClaim[]>()
  readonly #pools: Mirror
  readonly #claims: Mirror
  readonly #listings = new Map<string, { readonly running: Promise<void>; next: Promise<void> | undefined }>()

  constructor(store: Store, clock: Clock, logger: Pick<Runtime['logger'], 'error'>) {
    this.#store = store
    this.clock = clock
    this.#logger = logger
    this.#pools = new Mirror(store, poolPrefix, (key, after) => this.#onPool(key.slice(poolPrefix.length), after))
    this.#claims = new Mirror(store, claimPrefix, (key, after) => this.#onClaim(key, after))
  }

  get ready(): Promise<unknown> {
    return Promise.all([this.#pools.ready, this.#claims.ready])
  }

  get healthy(): boolean {
    return this.#store.healthy
  }

  async close(): Promise<void> {
    await Promise.all([this.#pools.close(), this.#claims.close()])
  }

  /** Every pool that has a definition here. */
  *pools(): Generator<PoolState> {
    for (const state of this.#states.values()) if (state.definition !== undefined) yield state
  }

  /** Claims by owner, as far as this replica knows. */
  get owners(): ReadonlyMap<string, readonly KnownClaim[]> {
    return this.#owners
  }

  pool(poolId: string): PoolState | undefined {
    const state = this.#states.get(poolId)
    return state?.definition === undefined ? undefined : state
  }

  /** Also finds a pool that another replica has created just now. */
  async findPool(poolId: string, call: Call): Promise<PoolState | undefined> {
    const here = this.pool(poolId)
    if (here !== undefined) return here
    await this.#pools.find(poolKey(poolId), call)
    return this.pool(poolId)
  }

  async commit(transaction: Transaction, call: Call): Promise<Committed> {
    const committed = await this.#store.commit(transaction, call)
    if (committed.succeeded) this.#wrote(transaction, committed.revision)
    else this.#learned(committed.found)
    return committed
  }

  /**
   * Decides on what is in etcd, guessing from memory first.
   * Invariant: memory holds every claim of a revision the watch has delivered, or newer news of it; that is why `#guess` may
   * make up an owner's record from claims of such a revision. Of a later one memory may hold some claims and not others.
   */
  async decide<T>(question: Question<T>, call: Call): Promise<Decided<T>> {
    let decidedOn: Known = new Map()
    const decided = await decide(
      this.#store,
      {
        keys: question.keys,
        guess: (key) => this.#guess(key),
        decide: (known) => {
          decidedOn = known
          return question.decide(known)
        },
      },
      call,
    )
    this.#learned(decidedOn)
    if (decided.write.length > 0) this.#wrote(decided, decided.revision)
    return decided
  }

  /** What an owner holds now. */
  async held(owner: string, call: Call): Promise<Held> {
    const { result } = await this.decide({ keys: (known) => keysOfOwner(owner, known), decide: (known) => ({ write: [], result: heldIn(known, owner) }) }, call)
    return result
  }

  /** The records below a prefix as they are now. */
  async list(prefix: string, call: Call, part?: ListPart): Promise<readonly StoredRecord[]> {
    return (await this.#store.list(prefix, call, part)).records
  }

  async listClaims(poolId: string | undefined, call: Call): Promise<Claim[]> {
    return (await this.list(poolId === undefined ? claimPrefix : claimsBelow(poolId), call)).map(decodeClaim)
  }

  /** Brings memory of a pool's claims up to date with a listing that began after this call; callers share it. */
  refresh(poolId: string, call: Call): Promise<void> {
    const start = (): Promise<void> => {
      const running = withCall({ timeoutMs: 10_000, clock: this.clock }, (own) => this.#refresh(poolId, own))
      const entry = { running, next: undefined as Promise<void> | undefined }
      this.#listings.set(poolId, entry)
      const done = () => {
        if (this.#listings.get(poolId) === entry) this.#listings.delete(poolId)
      }
      running.then(done, done)
      return running
    }
    const current = this.#listings.get(poolId)
    // What is under way may have read before this call was made.
    if (current !== undefined) current.next ??= current.running.then(start, start)
    return raceCall(current?.next ?? start(), call)
  }

  async #refresh(poolId: string, call: Call): Promise<void> {
    const listing = await this.#store.list(claimsBelow(poolId), call)
    const there = new Set(listing.records.map(({ key }) => key))
    for (const record of listing.records) this.#claims.learned(record)
    const gone = [...(this.#states.get(poolId)?.claims.values() ?? [])].map(({ ref }) => claimKey(ref)).filter((key) => !there.has(key))
    this.#claims.wrote(
      gone.map((key) => ({ delete: key })),
      listing.revision,
    )
  }

  #wrote({ write }: Pick<Transaction, 'write'>, revision: bigint): void {
    const of = (prefix: string) => write.filter((item) => ('put' in item ? item.put : item.delete).startsWith(prefix))
    this.#claims.wrote(of(claimPrefix), revision)
    this.#pools.wrote(of(poolPrefix), revision)
  }

  #learned(found: Known): void {
    for (const record of found.values()) {
      if (record.key.startsWith(claimPrefix)) this.#claims.learned(record)
      else if (record.key.startsWith(poolPrefix)) this.#pools.learned(record)
    }
  }

  #guess(key: string): StoredRecord | undefined {
    if (key.startsWith(claimPrefix)) return this.#claims.get(key)
    if (key.startsWith(poolPrefix)) return this.#pools.get(key)
    const claims = key.startsWith(ownerPrefix) ? this.#owners.get(key.slice(ownerPrefix.length)) : undefined
    if (claims === undefined) return undefined
    // The record was written with the newest of them; if it was changed since, the guess fails and the record is read.
    const modRevision = newestOf(claims)
    if (modRevision > this.#claims.revision) return undefined
    return { key, value: encodeOwner(claims.map(({ ref }) => ref)), createRevision: modRevision, modRevision }
  }

  #state(poolId: string): PoolState {
    const state = this.#states.get(poolId) ?? new PoolState(poolId)
    this.#states.set(poolId, state)
    return state
  }

  /** Undefined, and said, when it cannot be read: one record that somebody wrote by hand must not blind us to all others. */
  readable<T>(key: string, read: () => T): T | undefined {
    try {
      return read()
    } catch (error) {
      this.#logger.error({ err: error, key }, 'a record in etcd cannot be read; somebody wrote it by hand')
      return undefined
    }
  }

  #onPool(poolId: string, record: StoredRecord | undefined): void {
    const state = this.#state(poolId)
    const plan: PoolPlan | undefined = record && this.readable(record.key, () => planOf(decodePool(record)))
    const before = state.definition
    const seenMs = before !== undefined && before.record.modRevision === record?.modRevision ? before.seenMs : this.clock.monotonicMs()
    state.define(record && plan && { plan, record, seenMs })
    this.#forgetEmpty(state)
  }

  #onClaim(key: string, record: StoredRecord | undefined): void {
    const { ref, poolId, address } = refOfKey(key)
    const value = this.readable(key, () => parseIp(address).value)
    if (value === undefined) return
    const state = this.#state(poolId)
    const before = state.claims.get(value)
    if (before !== undefined) this.#dropOwned(before)
    if (record === undefined) {
      state.drop(value)
      this.#forgetEmpty(state)
      return
    }
    // What cannot be read is nobody's, and its address is taken all the same.
    const { owner = '', host = '', provisional = false } = this.readable(key, () => JSON.parse(record.value) as Partial<Claim>) ?? {}
    const seen: KnownClaim = {
      ref,
      poolId,
      value,
      owner,
      host,
      provisional,
      revision: record.modRevision,
      seenMs: this.clock.monotonicMs(),
    }
    const claim = before?.revision === seen.revision ? before : seen
    state.put(claim)
    if (owner === '') return
    const owned = this.#owners.get(owner)
    if (owned === undefined) this.#owners.set(owner, [claim])
    else owned.push(claim)
  }

  #dropOwned(claim: KnownClaim): void {
    const owned = this.#owners.get(claim.owner)?.filter(({ ref }) => ref !== claim.ref) ?? []
    if (owned.length === 0) this.#owners.delete(claim.owner)
    else this.#owners.set(claim.owner, owned)
  }

  #forgetEmpty(state: PoolState): void {
    if (state.definition === undefined && state.claims.size === 0 && !state.picking) this.#states.delete(state.id)
  }
}
