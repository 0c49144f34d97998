/** Watch replies put together to whole revisions: fragments joined, nothing twice, the position moved only by what was delivered. */
import type { WatchEvent, WatchReply } from './port.ts'
import type { WatchBatch } from './types.ts'

export class RevisionAssembler {
  #revision: bigint
  #pending: WatchEvent[] = []

  /** @param revision up to which everything is known; earlier events are ignored. */
  constructor(revision: bigint) {
    this.#revision = revision
  }

  /** Up to which everything has been given out or was said by etcd to be nothing. */
  get revision(): bigint {
    return this.#revision
  }

  accept(reply: WatchReply): WatchBatch[] {
    for (const event of reply.events) if (event.record.modRevision > this.#revision) this.#pending.push(event)
    if (reply.fragment) return []
    const events = this.#pending
    this.#pending = []
    const batches: { revision: bigint; puts: WatchBatch['puts'][number][]; deletes: WatchBatch['deletes'][number][] }[] = []
    for (const { kind, record } of events) {
      let batch = batches.at(-1)
      if (batch?.revision !== record.modRevision) {
        batch = { revision: record.modRevision, puts: [], deletes: [] }
        batches.push(batch)
      }
      if (kind === 'put') batch.puts.push(record)
      else batch.deletes.push({ key: record.key, modRevision: record.modRevision })
    }
    const last = batches.at(-1)
    if (last !== undefined) this.#revision = last.revision
    // A progress notification. The header of "created" says nothing: events before it may still be on their way.
    else if (!reply.created && !reply.cancelled && reply.events.length === 0 && reply.revision > this.#revision) this.#revision = reply.revision
    return batches
  }

  /** The stream broke: what came of an unfinished reply will come again. */
  discardUnfinished(): void {
    this.#pending = []
  }
}
