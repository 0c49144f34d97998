/**
 * Group commit: transactions that arrive together leave as nested transactions of one request, each with its own
 * conditions. What arrives while a request is under way waits for the next one. One request at a time: each costs etcd a
 * write to its log and both sides far more than a transaction in it, and the longer one takes, the more the next one
 * carries. In a crowd those just answered ask again within a moment, so the next request gives them that moment; a lone
 * transaction waits for nothing.
 */
import { type Call, type Clock, HeddleError } from '@heddle/core'
import { attemptMs } from './attempts.ts'
import { type EtcdPort, reasonOf } from './port.ts'
import type { Committed, Compare, Transaction, Write } from './types.ts'

export interface GroupCommitLimits {
  /** etcd's --max-txn-ops: it counts a nested transaction's largest part on top of the number of transactions around it. */
  readonly maxOps: number
  /** Keys and values of one request; etcd refuses requests over 1.5 MiB. */
  readonly maxBytes: number
}

export const defaultLimits: GroupCommitLimits = { maxOps: 128, maxBytes: 1 << 20 }

/** After a request that carried several, until as many wait again. */
const gatherMs = 1

export interface Submitted {
  readonly committed: Committed
  /** Transactions in the request that carried it. */
  readonly batchSize: number
}

interface Entry {
  readonly transaction: Transaction
  readonly call: Call
  readonly ops: number
  readonly bytes: number
  /** It was part of a request that etcd refused: the next one carries it alone, so that only the guilty fails. */
  alone: boolean
  readonly resolve: (submitted: Submitted) => void
  readonly reject: (error: unknown) => void
}

export class GroupCommit {
  readonly #port: Pick<EtcdPort, 'transact'>
  readonly #clock: Clock
  readonly #limits: GroupCommitLimits
  #queue: Entry[] = []
  #flying = false
  #scheduled = false

  constructor(port: Pick<EtcdPort, 'transact'>, clock: Clock, limits: GroupCommitLimits = defaultLimits) {
    this.#port = port
    this.#clock = clock
    this.#limits = limits
  }

  /** One attempt. Rejects with the failure of the request that carried it; with the call's own if it ended while waiting. */
  submit(transaction: Transaction, call: Call): Promise<Submitted> {
    const { ops, bytes } = measure(transaction)
    const problem = checkTransaction(transaction, ops, bytes, this.#limits)
    if (problem !== undefined) return Promise.reject(problem)
    return new Promise((resolve, reject) => {
      this.#queue.push({ transaction, call, ops, bytes, alone: false, resolve, reject })
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
    if (this.#flying) return
    const { batch, rest } = takeBatch(this.#queue.filter(stillWanted), this.#limits)
    this.#queue = rest
    if (batch.length === 0) return
    this.#flying = true
    void this.#send(batch).finally(() => {
      const next = () => {
        this.#flying = false
        this.#pump()
      }
      if (batch.length > 1 && this.#queue.length < batch.length) this.#clock.after(gatherMs, next)
      else next()
    })
  }

  async #send(batch: readonly Entry[]): Promise<void> {
    try {
      const outcomes = await this.#port.transact(
        batch.map((entry) => entry.transaction),
        Math.max(...batch.map((entry) => attemptMs(entry.call))),
      )
      for (const [index, entry] of batch.entries()) entry.resolve({ committed: outcomes[index] as Committed, batchSize: batch.length })
    } catch (error) {
      const reason = reasonOf(error)
      if (batch.length === 1 || (reason !== 'lease-gone' && reason !== 'malformed')) {
        for (const entry of batch) entry.reject(error)
        return
      }
      for (const entry of batch) entry.alone = true
      this.#queue.unshift(...batch)
    }
  }
}

/**
 * The next request: in order of arrival, as many as the limits allow. etcd evaluates all conditions of a request before it
 * writes anything and refuses a key written twice, so a transaction that writes or compares what an earlier one of the
 * batch writes stays for a later request.
 */
export function takeBatch<T extends Pick<Entry, 'transaction' | 'ops' | 'bytes' | 'alone'>>(
  queue: readonly T[],
  limits: GroupCommitLimits,
): { batch: T[]; rest: T[] } {
  const batch: T[] = []
  const kept: T[] = []
  const written = new Set<string>()
  let maxOps = 0
  let bytes = 0
  let index = 0
  for (; index < queue.length; index++) {
    const entry = queue[index] as T
    const full = batch.length + 1 + Math.max(maxOps, entry.ops) > limits.maxOps || bytes + entry.bytes > limits.maxBytes
    if (batch.length > 0 && (full || batch[0]?.alone)) break
    const { when, write } = entry.transaction
    if ((entry.alone && batch.length > 0) || write.some((item) => written.has(keyOf(item))) || when.some((compare) => touches(compare, written))) {
      kept.push(entry)
      continue
    }
    for (const item of write) written.add(keyOf(item))
    batch.push(entry)
    maxOps = Math.max(maxOps, entry.ops)
    bytes += entry.bytes
  }
  return { batch, rest: [...kept, ...queue.slice(index)] }
}

function touches(compare: Compare, written: ReadonlySet<string>): boolean {
  return compare.is === 'none-below' ? [...written].some((key) => key.startsWith(compare.key)) : written.has(compare.key)
}

export function keyOf(write: Write): string {
  return 'put' in write ? write.put : write.delete
}

export function measure({ when, write, otherwiseRead = [] }: Transaction): { ops: number; bytes: number } {
  let characters = 0
  for (const compare of when) characters += compare.key.length + (compare.is === 'valued' ? compare.value.length : 0)
  for (const item of write) characters += 'put' in item ? item.put.length + item.value.length : item.delete.length
  for (const key of otherwiseRead) characters += key.length
  const ops = Math.max(when.length, write.length, otherwiseRead.length)
  // A UTF-16 unit is at most three bytes of UTF-8; nearly all of ours is ASCII. The margin to etcd's limit covers the framing.
  return { ops, bytes: characters + 64 * ops }
}

export function checkTransaction(transaction: Transaction, ops: number, bytes: number, limits: GroupCommitLimits = defaultLimits): HeddleError | undefined {
  if (1 + ops > limits.maxOps) return new HeddleError('internal', `a transaction of ${ops} operations is above etcd's limit of ${limits.maxOps - 1}`)
  if (bytes > limits.maxBytes) return new HeddleError('internal', `a transaction of ${bytes} bytes is above the limit of ${limits.maxBytes}`)
  const { write } = transaction
  for (const [index, item] of write.entries()) {
    const key = keyOf(item)
    for (let other = 0; other < index; other++) {
      if (keyOf(write[other] as Write) === key) return new HeddleError('internal', `a transaction writes one key twice: ${key}`)
    }
  }
  return undefined
}

function stillWanted(entry: Entry): boolean {
  if (!entry.call.signal.aborted) return true
  entry.reject(entry.call.signal.reason)
  return false
}
