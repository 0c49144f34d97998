/**
 * A write whose reply was lost may or may not have happened. We find out by doing it again in a way that cannot happen
 * twice, or by reading back, and then look whether what is there is ours.
 */
import type { Call } from '@heddle/core'
import { untilReply } from './attempts.ts'
import { keyOf, type Submitted } from './group-commit.ts'
import { etcdFailure } from './port.ts'
import type { Committed, Compare, StoredRecord, Transaction, Write } from './types.ts'

export interface Resolver {
  readonly submit: (transaction: Transaction, call: Call) => Promise<Submitted>
  /** A key as it was at a revision. */
  readonly readAt: (key: string, revision: bigint, call: Call) => Promise<StoredRecord | undefined>
}

/** Commits exactly once as far as anybody can see; rejects when the outcome could not be found out within the call. */
export function commitOnce(resolver: Resolver, transaction: Transaction, call: Call): Promise<Submitted> {
  return untilReply(call, async (attempt) => {
    if (attempt === 1) return resolver.submit(transaction, call)
    const probed = await resolver.submit(probeOf(transaction), call)
    return probed.committed.succeeded ? probed : { ...probed, committed: await settle(resolver, transaction, probed.committed, call) }
  })
}

/** What to send after a lost reply: the same again if it can only happen once, else a mere read of what it would have written. */
export function probeOf(transaction: Transaction): Transaction {
  const otherwiseRead = [...new Set([...(transaction.otherwiseRead ?? []), ...transaction.write.map(keyOf)])]
  if (happensOnce(transaction)) return { ...transaction, otherwiseRead }
  const never: Compare = { key: otherwiseRead[0] ?? '\0', is: 'created-at', createRevision: -1n }
  return { when: [never], write: [], otherwiseRead }
}

/** Whether its own writes make one of its conditions false; what is unconditional, or writes nothing, may be repeated as it is. */
export function happensOnce({ when, write }: Transaction): boolean {
  return when.length === 0 || write.length === 0 || when.some((compare) => write.some((item) => falsifies(item, compare)))
}

function falsifies(write: Write, compare: Compare): boolean {
  const puts = 'put' in write
  if (compare.is === 'none-below') return puts && write.put.startsWith(compare.key)
  if (keyOf(write) !== compare.key) return false
  if (!puts) return compare.is !== 'absent'
  return compare.is === 'absent' || compare.is === 'at' || (compare.is === 'valued' && compare.value !== write.value)
}

/** The probe did not write. If all our values are there, or were, the lost attempt had; otherwise it had not. */
async function settle(resolver: Resolver, transaction: Transaction, probed: Committed & { succeeded: false }, call: Call): Promise<Committed> {
  const puts = transaction.write.filter((write) => 'put' in write)
  const ours = await Promise.all(puts.map((put) => revisionOfOurs(resolver, put.put, put.value, probed.found.get(put.put), call)))
  const revision = ours[0]
  if (revision !== undefined && ours.every((other) => other === revision)) return { succeeded: true, revision }
  const asked = new Set(transaction.otherwiseRead)
  // A deletion leaves no trace of whose it was; and a transaction that was not repeated may still arrive.
  const untold = puts.length === 0 && transaction.write.some((write) => !probed.found.has(keyOf(write)))
  if (untold || !happensOnce(transaction)) {
    throw etcdFailure('refused', 'unavailable', 'etcd did not say whether a write happened, and reading back could not tell', {
      remedy: 'read again and decide anew',
    })
  }
  return { succeeded: false, revision: probed.revision, found: new Map([...probed.found].filter(([key]) => asked.has(key))) }
}

/** The revision at which the key got our value: now, or in a version that somebody has overwritten since. */
async function revisionOfOurs(resolver: Resolver, key: string, value: string, now: StoredRecord | undefined, call: Call): Promise<bigint | undefined> {
  let record = now
  for (let step = 0; record !== undefined && step < 8; step++) {
    if (record.value === value) return record.modRevision
    if (record.createRevision === record.modRevision) return undefined
    record = await resolver.readAt(key, record.modRevision - 1n, call)
  }
  return undefined
}
