/**
 * Grace before anything unknown is removed: it must have been seen in two rounds at least, and for long enough. An attach
 * writes its record and its links at the same time, so a link without a record is normal for a moment.
 */
export class Suspects {
  readonly #firstSeenMs = new Map<string, number>()
  readonly #graceMs: number

  constructor(graceMs: number) {
    this.#graceMs = graceMs
  }

  /** This round's suspects; answers those whose grace is over. Whoever is not named any more is forgotten. */
  round(suspects: Iterable<string>, nowMs: number): string[] {
    const current = new Set(suspects)
    for (const known of this.#firstSeenMs.keys()) if (!current.has(known)) this.#firstSeenMs.delete(known)
    return [...current].filter((suspect) => {
      const firstMs = this.#firstSeenMs.get(suspect)
      if (firstMs === undefined) this.#firstSeenMs.set(suspect, nowMs)
      return firstMs !== undefined && nowMs - firstMs >= this.#graceMs
    })
  }
}
