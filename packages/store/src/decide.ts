/**
 * A decision that holds for exactly what was read: decide from what is known, commit on condition that it is still so, and
 * decide anew from what was found when it is not. A guess (a cache) saves the read; it never decides alone.
 */
import type { Call } from '@heddle/core'
import type { Compare, Store, StoredRecord, Write } from './types.ts'

/** Records by key; a key that is not in it is absent from the store. */
export type Known = ReadonlyMap<string, StoredRecord>

export interface Decision<T> {
  /** Empty: nothing is to be written, the result is the answer. */
  readonly write: readonly Write[]
  readonly result: T
}

export interface Question<T> {
  /** Every key the decision depends on. Called again with what was found, because one record may name the next key. */
  readonly keys: (known: Known) => readonly string[]
  /** Pure. What it throws is the answer too, once what it was decided from is confirmed. */
  readonly decide: (known: Known) => Decision<T>
  /** What a cache holds under a key. */
  readonly guess?: (key: string) => StoredRecord | undefined
}

export interface Decided<T> {
  readonly result: T
  readonly write: readonly Write[]
  /** At which it was written; 0 when nothing was. */
  readonly revision: bigint
}

export async function decide<T>(store: Store, question: Question<T>, call: Call): Promise<Decided<T>> {
  let known: Known = guessed(question)
  let read: ReadonlySet<string> = new Set()
  for (;;) {
    call.signal.throwIfAborted()
    const keys = question.keys(known)
    const outcome = attempt(question, known)
    if (outcome.write.length === 0 && keys.every((key) => read.has(key))) return { ...outcome, result: outcome.result(), revision: 0n }
    const when = keys.map((key) => asKnown(key, known.get(key)))
    const committed = await store.commit({ when, write: outcome.write, otherwiseRead: keys }, call)
    if (committed.succeeded) return { ...outcome, result: outcome.result(), revision: outcome.write.length > 0 ? committed.revision : 0n }
    known = committed.found
    read = new Set(keys)
  }
}

/** The keys may depend on the guessed records, so the guess is taken until it names no further key. */
function guessed<T>({ keys, guess }: Question<T>): Known {
  const known = new Map<string, StoredRecord>()
  const asked = new Set<string>()
  for (let missing = keys(known); guess !== undefined && missing.length > 0; missing = keys(known).filter((key) => !asked.has(key))) {
    for (const key of missing) {
      asked.add(key)
      const record = guess(key)
      if (record !== undefined) known.set(key, record)
    }
  }
  return known
}

function attempt<T>({ decide }: Question<T>, known: Known): { readonly write: readonly Write[]; readonly result: () => T } {
  try {
    const { write, result } = decide(known)
    return { write, result: () => result }
  } catch (error) {
    return {
      write: [],
      result: () => {
        throw error
      },
    }
  }
}

function asKnown(key: string, record: StoredRecord | undefined): Compare {
  return record === undefined ? { key, is: 'absent' } : { key, is: 'at', modRevision: record.modRevision }
}
