/**
 * Desired against actual: the core of every reconciler. Pure data; the caller reads the kernel and writes the changes.
 * After a change was made, tell `setActual`/`deleteActual`; after a read-back, `replaceActual`.
 */
export interface Changes<K, V> {
  readonly put: readonly (readonly [K, V])[]
  readonly remove: readonly K[]
}

export class DeltaTracker<K, V> {
  readonly #desired = new Map<K, V>()
  readonly #actual = new Map<K, V>()
  readonly #same: (a: V, b: V) => boolean

  constructor(same: (a: V, b: V) => boolean) {
    this.#same = same
  }

  get desired(): ReadonlyMap<K, V> {
    return this.#desired
  }

  get actual(): ReadonlyMap<K, V> {
    return this.#actual
  }

  setDesired(key: K, value: V): void {
    this.#desired.set(key, value)
  }

  deleteDesired(key: K): void {
    this.#desired.delete(key)
  }

  replaceDesired(entries: Iterable<readonly [K, V]>): void {
    this.#desired.clear()
    for (const [key, value] of entries) this.#desired.set(key, value)
  }

  setActual(key: K, value: V): void {
    this.#actual.set(key, value)
  }

  deleteActual(key: K): void {
    this.#actual.delete(key)
  }

  replaceActual(entries: Iterable<readonly [K, V]>): void {
    this.#actual.clear()
    for (const [key, value] of entries) this.#actual.set(key, value)
  }

  /** What has to be put (missing or different) and removed (not desired) for actual to equal desired. */
  changes(): Changes<K, V> {
    const put: [K, V][] = []
    const remove: K[] = []
    for (const [key, value] of this.#desired) {
      const actual = this.#actual.get(key)
      if (actual === undefined || !this.#same(actual, value)) put.push([key, value])
    }
    for (const key of this.#actual.keys()) if (!this.#desired.has(key)) remove.push(key)
    return { put, remove }
  }
}
