/**
 * A watch that never skips: list at revision R, follow from R+1, go on after a cut from what was delivered last. It lists
 * again when that has been compacted, when the history changed, and now and then to make good what etcd itself may lose.
 */
import { type Call, type Clock, HeddleError, sleep, withCall } from '@heddle/core'
import { RevisionAssembler } from './assemble.ts'
import { compareHistory, type Epoch, type EpochPort, endEpoch, ensureEpoch, epochAt, epochKey, epochText } from './epoch.ts'
import { listPrefix } from './list.ts'
import { type EtcdPort, etcdFailure, type Logger, prefixEnd, reasonOf, type WatchReply } from './port.ts'
import type { StoredRecord, Watching, WatchListener } from './types.ts'

export interface WatchParts {
  readonly port: Pick<EtcdPort, 'range' | 'watch'>
  readonly commit: EpochPort['commit']
  readonly clock: Clock
  readonly logger: Logger
}

/** etcd 3.4 and 3.5 have lost events of slow watchers (etcd-io/etcd#17529, #18089): so much later at the latest it is put right. */
const relistEveryMs = 15 * 60_000
/** For one list or comparison. */
const readTimeoutMs = 30_000
/** A stream on which etcd says nothing at all is given up; afterwards the transport's keepalive finds dead ones. */
const createdTimeoutMs = 5_000

const prefixId = 1
const epochId = 2

type Ended = 'stale' | 'closed'

export class PrefixWatch implements Watching {
  readonly ready: Promise<void>
  /** Resolves when it has ended. */
  readonly closed: Promise<void>
  readonly #parts: WatchParts
  readonly #prefix: string
  readonly #listener: WatchListener
  readonly #closing = new AbortController()
  readonly #firstSnapshot = Promise.withResolvers<void>()
  #assembler = new RevisionAssembler(0n)
  #epoch: Epoch | undefined
  #witness: StoredRecord | undefined

  constructor(parts: WatchParts, prefix: string, listener: WatchListener) {
    this.#parts = parts
    this.#prefix = prefix
    this.#listener = listener
    this.ready = this.#firstSnapshot.promise
    this.ready.catch(() => {})
    this.closed = this.#run()
  }

  get revision(): bigint {
    return this.#assembler.revision
  }

  async close(): Promise<void> {
    this.#closing.abort(new HeddleError('cancelled', 'the watch was closed'))
    await this.closed
    this.#firstSnapshot.reject(this.#closing.signal.reason)
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    const { clock, logger } = this.#parts
    let failures = 0
    let known = false
    while (!signal.aborted) {
      try {
        const same = await this.#call((call) => this.#sameHistory(call))
        if (!known || !same) await this.#call((call) => this.#snapshot(call))
        known = true
        const ended = await this.#follow(() => {
          failures = 0
        })
        known = ended !== 'stale'
      } catch (error) {
        if (signal.aborted) return
        // A failure that is not etcd's may be the listener's, and then nobody knows what it knows.
        known &&= reasonOf(error) !== undefined
        logger.warn({ err: error, prefix: this.#prefix }, 'the watch is interrupted and will go on')
      }
      const pauseMs = Math.min(2_000, 25 * 2 ** failures++) * (0.5 + Math.random() / 2)
      await sleep(clock, pauseMs, signal).catch(() => {})
    }
  }

  #call<T>(body: (call: Call) => Promise<T>): Promise<T> {
    return withCall({ timeoutMs: readTimeoutMs, signal: this.#closing.signal, clock: this.#parts.clock }, body)
  }

  async #sameHistory(call: Call): Promise<boolean> {
    const epoch = this.#epoch
    if (epoch === undefined) return false
    const { port, commit, logger } = this.#parts
    const history = await compareHistory(port, { epoch, revision: this.revision, witness: this.#witness }, call)
    if (history === 'other') {
      logger.warn({ prefix: this.#prefix, revision: String(this.revision) }, 'etcd tells another history than before: a new epoch begins')
      await endEpoch({ range: port.range.bind(port), commit }, epoch, call)
    }
    return history === 'same'
  }

  async #snapshot(call: Call): Promise<void> {
    const { port, commit } = this.#parts
    await ensureEpoch({ range: port.range.bind(port), commit }, call)
    const listing = await listPrefix(port, this.#prefix, call)
    const epoch = await epochAt(port, listing.revision, call)
    if (epoch === undefined) throw new HeddleError('unavailable', 'etcd lost its epoch while it was listed')
    this.#epoch = epoch
    this.#assembler = new RevisionAssembler(listing.revision)
    this.#witness = listing.records.reduce<StoredRecord | undefined>(
      (latest, record) => (latest && latest.modRevision > record.modRevision ? latest : record),
      undefined,
    )
    this.#listener.onSnapshot(listing, epochText(epoch))
    this.#firstSnapshot.resolve()
  }

  /** Follows one stream until it ends: `stale` when only a new list can go on. */
  async #follow(onLife: () => void): Promise<Ended> {
    const { port, clock } = this.#parts
    const { signal } = this.#closing
    if (signal.aborted) return 'closed'
    const startRevision = this.revision + 1n
    const end = Promise.withResolvers<Ended>()
    const stopTimers = [
      clock.after(createdTimeoutMs, () => alive || end.reject(etcdFailure('no-reply', 'unavailable', 'etcd did not begin the watch in time'))),
      clock.after(relistEveryMs * (0.9 + Math.random() / 5), () => end.resolve('stale')),
    ]
    const onAbort = () => end.resolve('closed')
    signal.addEventListener('abort', onAbort, { once: true })
    let alive = false
    let over = false
    const stream = port.watch(
      [
        { id: prefixId, key: this.#prefix === '' ? '\0' : this.#prefix, rangeEnd: prefixEnd(this.#prefix), startRevision },
        { id: epochId, key: epochKey, startRevision },
      ],
      (reply) => {
        if (over) return
        if (!alive) onLife()
        alive = true
        try {
          const ended = this.#take(reply)
          if (ended !== undefined) end.resolve(ended)
        } catch (error) {
          over = true
          end.reject(error)
        }
      },
      end.reject,
    )
    try {
      return await end.promise
    } finally {
      over = true
      stream.cancel()
      for (const stop of stopTimers) stop()
      signal.removeEventListener('abort', onAbort)
      this.#assembler.discardUnfinished()
    }
  }

  #take(reply: WatchReply): Ended | undefined {
    if (reply.compactRevision > 0n) return 'stale'
    if (reply.cancelled) throw etcdFailure('no-reply', 'unavailable', `etcd cancelled the watch: ${reply.cancelReason}`)
    if (reply.id === epochId) return reply.events.length > 0 ? 'stale' : undefined
    for (const batch of this.#assembler.accept(reply)) {
      this.#witness = batch.puts.at(-1) ?? this.#witness
      this.#listener.onBatch(batch)
    }
    return undefined
  }
}
