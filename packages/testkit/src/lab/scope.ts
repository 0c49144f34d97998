/** What was made and how to unmake it: undone in reverse order, each whatever became of the others. */
export class LabScope {
  readonly #undo: { readonly what: string; readonly run: () => Promise<unknown> | unknown }[] = []
  #closing: Promise<void> | undefined

  /** Registers how to undo what is about to be made, or was. What comes after the end is undone at once, and refused. */
  defer(what: string, run: () => Promise<unknown> | unknown): void {
    this.#undo.push({ what, run })
    if (this.#closing === undefined) return
    // The loop of #close takes it along when it still runs.
    this.#closing = this.#closing.catch(() => {}).then(() => this.#close(() => {}))
    throw new Error(`${what}: the laboratory is being taken down`)
  }

  /** Undoes everything, once. Rejects with all that could not be undone. */
  close(onStep: (what: string) => void = () => {}): Promise<void> {
    this.#closing ??= this.#close(onStep)
    return this.#settle()
  }

  /** Waits also for what was added while it waited. */
  async #settle(): Promise<void> {
    for (let seen = this.#closing; ; seen = this.#closing) {
      await seen
      if (seen === this.#closing) return
    }
  }

  async #close(onStep: (what: string) => void): Promise<void> {
    const failures: Error[] = []
    for (let entry = this.#undo.pop(); entry !== undefined; entry = this.#undo.pop()) {
      try {
        onStep(entry.what)
        await entry.run()
      } catch (error) {
        failures.push(new Error(`could not undo ${entry.what}: ${error instanceof Error ? error.message : String(error)}`))
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, failures.map((failure) => failure.message).join('\n'))
  }
}
