/**
 * Group commit: what arrives while a flush is under way waits for the next one. No timer adds latency: a lone item
 * leaves at once, a crowd leaves together.
 */
export interface BatcherOptions<Item, Result> {
  /** Handles items in order; answers one outcome per item, or throws to fail them all. */
  readonly flush: (items: readonly Item[]) => Promise<readonly PromiseSettledResult<Result>[]>
  readonly maxItems: number
  /** Flushes that may be under way at once. */
  readonly concurrency?: number
}

export class Batcher<Item, Result> {
  readonly #options: BatcherOptions<Item, Result>
  #queue: { item: Item; resolve: (result: Result) => void; reject: (error: unknown) => void }[] = []
  #flying = 0
  #scheduled = false

  constructor(options: BatcherOptions<Item, Result>) {
    this.#options = options
  }

  get pending(): number {
    return this.#queue.length
  }

  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ item, resolve, reject })
      if (this.#scheduled) return
      this.#scheduled = true
      // After the current turn's callbacks, so that everything that arrived in it leaves together.
      setImmediate(() => {
        this.#scheduled = false
        this.#pump()
      })
    })
  }

  #pump(): void {
    while (this.#queue.length > 0 && this.#flying < (this.#options.concurrency ?? 1)) {
      const batch = this.#queue.splice(0, this.#options.maxItems)
      this.#flying++
      this.#options
        .flush(batch.map((entry) => entry.item))
        .then(
          (results) => {
            for (const [index, entry] of batch.entries()) {
              const result = results[index]
              if (result?.status === 'fulfilled') entry.resolve(result.value)
              else entry.reject(result?.reason ?? new Error('flush answered fewer results than items'))
            }
          },
          (error: unknown) => {
            for (const entry of batch) entry.reject(error)
          },
        )
        .finally(() => {
          this.#flying--
          this.#pump()
        })
    }
  }
}
