/**
 * What a replica knows of one pool, and the candidates it has picked but not yet committed. A guess: it only chooses what
 * to try; the transaction decides.
 */

import { FreeSearch } from '@heddle/net'
import type { StoredRecord } from '@heddle/store'
import type { PoolPlan } from './pool.ts'

export interface KnownClaim {
  readonly ref: string
  readonly poolId: string
  readonly value: bigint
  readonly owner: string
  readonly host: string
  readonly provisional: boolean
  readonly revision: bigint
  /** When this replica first saw it, on the monotonic clock. */
  readonly seenMs: number
}

/** Revision of the claim that was made or changed last. */
export function newestOf(claims: readonly KnownClaim[]): bigint {
  let newest = 0n
  for (const { revision } of claims) if (revision > newest) newest = revision
  return newest
}

export interface Definition {
  readonly plan: PoolPlan
  readonly record: StoredRecord
  /** When this replica first saw the record as it is, on the monotonic clock. */
  readonly seenMs: number
}

export interface Pick {
  readonly value: bigint
  /** How often the search had jumped when it was picked. */
  readonly jumps: number
}

export class PoolState {
  readonly id: string
  /** Absent while only claims of the pool are known. */
  definition: Definition | undefined
  readonly #claims = new Map<bigint, KnownClaim>()
  readonly #picked = new Set<bigint>()
  #search: FreeSearch | undefined
  #jumps = 0
  #change: PromiseWithResolvers<void> | undefined

  constructor(id: string) {
    this.id = id
  }

  get claims(): ReadonlyMap<bigint, KnownClaim> {
    return this.#claims
  }

  get picking(): boolean {
    return this.#picked.size > 0
  }

  /** Addresses that a dynamic claim could get now. */
  get free(): bigint {
    return this.#searching().free
  }

  define(definition: Definition | undefined): void {
    this.definition = definition
    this.#search = undefined
    this.#notify()
  }

  put(claim: KnownClaim): void {
    this.#claims.set(claim.value, claim)
    this.#search?.take(claim.value)
  }

  drop(value: bigint): void {
    this.#claims.delete(value)
    if (this.#picked.has(value)) return
    this.#search?.release(value)
    this.#notify()
  }

  /** A candidate nobody is known to have, undefined when there is none. Every pick is settled. */
  pick(): Pick | undefined {
    const value = this.#searching().takeNext()
    if (value === undefined) return undefined
    this.#picked.add(value)
    return { value, jumps: this.#jumps }
  }

  /** Sets a wanted address aside; undefined when another call of this replica is just trying it. */
  pickStatic(value: bigint): Pick | undefined {
    if (this.#picked.has(value)) return undefined
    this.#picked.add(value)
    this.#search?.take(value)
    return { value, jumps: this.#jumps }
  }

  /** The end of a pick. By now a claim that was made, by whomever, has been `put`. */
  settle(pick: Pick): void {
    this.#picked.delete(pick.value)
    const unused = !this.#claims.has(pick.value)
    if (unused) this.#search?.release(pick.value)
    if (unused || this.#picked.size === 0) this.#notify()
  }

  /** Another replica is claiming where this one is: go elsewhere, once for all picks that met it. */
  evade(pick: Pick, random: () => number): void {
    if (pick.jumps !== this.#jumps) return
    this.#jumps++
    this.#search?.jump(random())
  }

  /** Resolves when a candidate may have become free, or when nothing is picked any more. */
  changed(): Promise<void> {
    this.#change ??= Promise.withResolvers<void>()
    return this.#change.promise
  }

  #notify(): void {
    this.#change?.resolve()
    this.#change = undefined
  }

  /** Made at the first pick: goes on after the newest claim, whichever replica made it, so that what was freed rests. */
  #searching(): FreeSearch {
    if (this.#search !== undefined) return this.#search
    if (this.definition === undefined) throw new Error(`pool ${this.id} has no definition`)
    const search = new FreeSearch(this.definition.plan.dynamic)
    let newest: KnownClaim | undefined
    for (const claim of this.#claims.values()) {
      search.take(claim.value)
      if (newest === undefined || claim.revision > newest.revision) newest = claim
    }
    for (const value of this.#picked) search.take(value)
    if (newest !== undefined) search.continueAfter(newest.value)
    this.#search = search
    return search
  }
}
