/** A whole prefix at one revision, in pages that fit a gRPC message (grpc-js takes 4 MiB) and do not block etcd for long. */
import type { Call } from '@heddle/core'
import { attemptMs, untilReply } from './attempts.ts'
import { type EtcdPort, prefixEnd, reasonOf } from './port.ts'
import type { Listing, ListPart, StoredRecord } from './types.ts'

const pageSize = 2_000

export async function listPrefix(port: Pick<EtcdPort, 'range'>, prefix: string, call: Call, part: ListPart = {}): Promise<Listing> {
  for (;;) {
    try {
      return await listOnce(port, prefix, part, call)
    } catch (error) {
      // The revision of the first page was compacted while later ones were read: begin again at a newer one.
      if (reasonOf(error) !== 'compacted' || call.signal.aborted) throw error
    }
  }
}

async function listOnce(
  port: Pick<EtcdPort, 'range'>,
  prefix: string,
  { after = '', limit = Number.POSITIVE_INFINITY }: ListPart,
  call: Call,
): Promise<Listing> {
  const rangeEnd = prefixEnd(prefix)
  const records: StoredRecord[] = []
  let revision = 0n
  for (let key = after > prefix ? `${after}\0` : prefix === '' ? '\0' : prefix; ; ) {
    const from = key
    const size = Math.min(pageSize, limit - records.length)
    const page = await untilReply(call, () => port.range({ key: from, rangeEnd, limit: size, revision }, attemptMs(call)))
    if (revision === 0n) revision = page.revision
    for (const record of page.records) records.push(record)
    const last = page.records.at(-1)
    if (!page.more || last === undefined || records.length === limit) return { revision, records }
    key = `${last.key}\0`
  }
}
