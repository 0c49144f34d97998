/** VFs that this replica is about to claim: others of its claims try another one meanwhile. */

export class Picks {
  readonly #picked = new Map<string, Set<string>>()
  #change: PromiseWithResolvers<void> | undefined

  has(host: string, pci: string): boolean {
    return this.#picked.get(host)?.has(pci) ?? false
  }

  any(host: string): boolean {
    return this.#picked.has(host)
  }

  /** Answers how to end it: by then, a claim that was made is known. */
  take(host: string, pci: string): () => void {
    const ofHost = this.#picked.get(host) ?? new Set()
    this.#picked.set(host, ofHost)
    // A certain VF may be asked for twice at once; the first to end must not end the other's.
    const mine = !ofHost.has(pci)
    ofHost.add(pci)
    return () => {
      if (!mine) return
      ofHost.delete(pci)
      if (ofHost.size === 0 && this.#picked.get(host) === ofHost) this.#picked.delete(host)
      this.#change?.resolve()
      this.#change = undefined
    }
  }

  /** Resolves when one of them has ended. */
  changed(): Promise<void> {
    this.#change ??= Promise.withResolvers<void>()
    return this.#change.promise
  }
}
