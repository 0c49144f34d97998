/**
 * The messages of etcd (rpc.proto, kv.proto) that every commit and every watched change is, written and read as bytes. The
 * way through etcd3's proto-loader makes three objects of each, and a text of every number of 64 bits.
 */
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { prefixEnd, type WatchEvent, type WatchReply } from './port.ts'
import type { Committed, Compare, StoredRecord, Transaction, Write } from './types.ts'

// etcdserverpb.Compare's CompareResult and CompareTarget. What is zero is not written.
const greater = 1
const createTarget = 1
const modTarget = 2
const valueTarget = 3

/** One for all requests: it keeps the room it has grown to. */
const writer = new BinaryWriter()

/** A TxnRequest whose operations are the transactions. */
export function encodeTransactions(transactions: readonly Transaction[]): Buffer {
  // Also forgets the half of a request that could not be written whole.
  writer.finish()
  for (const transaction of transactions) {
    message(2, () => message(4, () => writeTransaction(transaction)))
  }
  const { buffer, byteOffset, length } = writer.finish()
  return Buffer.from(buffer, byteOffset, length)
}

function writeTransaction({ when, write, otherwiseRead = [] }: Transaction): void {
  for (const compare of when) message(1, () => writeCompare(compare))
  for (const item of write) message(2, () => writeOperation(item))
  for (const key of otherwiseRead) message(3, () => message(1, () => text(1, key)))
}

function writeCompare(compare: Compare): BinaryWriter {
  text(3, compare.key)
  switch (compare.is) {
    case 'absent':
      return integer(2, createTarget)
    case 'none-below':
      return integer(2, createTarget).tag(64, WireType.LengthDelimited).bytes(prefixEnd(compare.key))
    case 'present':
      integer(1, greater)
      return integer(2, createTarget)
    case 'at':
      integer(2, modTarget)
      return integer(6, compare.modRevision)
    case 'created-at':
      integer(2, createTarget)
      return integer(5, compare.createRevision)
    case 'valued':
      integer(2, valueTarget)
      return text(7, compare.value)
  }
}

function writeOperation(write: Write): BinaryWriter {
  if ('delete' in write) return message(3, () => text(1, write.delete))
  return message(2, () => {
    text(1, write.put)
    text(2, write.value)
    if (write.lease !== undefined) integer(3, write.lease)
  })
}

function message(field: number, body: () => void): BinaryWriter {
  writer.tag(field, WireType.LengthDelimited).fork()
  body()
  return writer.join()
}

function text(field: number, value: string): BinaryWriter {
  return writer.tag(field, WireType.LengthDelimited).string(value)
}

function integer(field: number, value: number | bigint): BinaryWriter {
  return writer.tag(field, WireType.Varint).int64(value)
}

/** The outcomes of `encodeTransactions`, in the transactions' order. All of one request share its revision. */
export function decodeOutcomes(bytes: Uint8Array): readonly Committed[] {
  const reader = new BinaryReader(bytes)
  let revision = 0n
  const failures: (ReadonlyMap<string, StoredRecord> | undefined)[] = []
  eachField(reader, reader.len, (field) => {
    if (field === 1) revision = readRevision(reader)
    else if (field === 3) failures.push(readOutcome(reader))
    else return false
    return true
  })
  return failures.map((found): Committed => (found === undefined ? { succeeded: true, revision } : { succeeded: false, revision, found }))
}

/** Of a ResponseOp that holds a TxnResponse: what it found, undefined when its conditions held. */
function readOutcome(reader: BinaryReader): ReadonlyMap<string, StoredRecord> | undefined {
  let succeeded = false
  const found = new Map<string, StoredRecord>()
  eachInner(reader, 4, (end) =>
    eachField(reader, end, (field) => {
      if (field === 2) succeeded = reader.bool()
      else if (field === 3 && !succeeded) eachInner(reader, 1, (rangeEnd) => readRange(reader, rangeEnd, found))
      else return false
      return true
    }),
  )
  return succeeded ? undefined : found
}

/** A RangeResponse's records. */
function readRange(reader: BinaryReader, end: number, found: Map<string, StoredRecord>): void {
  eachField(reader, end, (field) => {
    if (field !== 2) return false
    const record = readRecord(reader)
    found.set(record.key, record)
    return true
  })
}

/** A WatchResponse. */
export function decodeWatchReply(bytes: Uint8Array): WatchReply {
  const reader = new BinaryReader(bytes)
  const events: WatchEvent[] = []
  const reply = { id: 0, created: false, cancelled: false, cancelReason: '', compactRevision: 0n, fragment: false, revision: 0n, events }
  eachField(reader, reader.len, (field) => {
    if (field === 1) reply.revision = readRevision(reader)
    else if (field === 2) reply.id = Number(reader.int64())
    else if (field === 3) reply.created = reader.bool()
    else if (field === 4) reply.cancelled = reader.bool()
    else if (field === 5) reply.compactRevision = reader.int64() as bigint
    else if (field === 6) reply.cancelReason = reader.string()
    else if (field === 7) reply.fragment = reader.bool()
    else if (field === 11) events.push(readEvent(reader))
    else return false
    return true
  })
  return reply
}

function readEvent(reader: BinaryReader): WatchEvent {
  let kind: WatchEvent['kind'] = 'put'
  let record = nothing
  eachField(reader, endOf(reader), (field) => {
    if (field === 1) kind = reader.int32() === 1 ? 'delete' : 'put'
    else if (field === 2) record = readRecord(reader)
    else return false
    return true
  })
  return { kind, record }
}

const nothing: StoredRecord = { key: '', value: '', createRevision: 0n, modRevision: 0n }

/** A KeyValue. */
function readRecord(reader: BinaryReader): StoredRecord {
  let key = ''
  let value = ''
  let createRevision = 0n
  let modRevision = 0n
  eachField(reader, endOf(reader), (field) => {
    if (field === 1) key = reader.string()
    else if (field === 2) createRevision = reader.int64() as bigint
    else if (field === 3) modRevision = reader.int64() as bigint
    else if (field === 5) value = reader.string()
    else return false
    return true
  })
  return { key, value, createRevision, modRevision }
}

/** Of a ResponseHeader. */
function readRevision(reader: BinaryReader): bigint {
  let revision = 0n
  eachField(reader, endOf(reader), (field) => {
    if (field !== 3) return false
    revision = reader.int64() as bigint
    return true
  })
  return revision
}

/** The end of the message that begins here with its length. */
function endOf(reader: BinaryReader): number {
  const length = reader.uint32()
  return reader.pos + length
}

/** The messages that stand as one field in the message that begins here. */
function eachInner(reader: BinaryReader, inner: number, read: (end: number) => void): void {
  eachField(reader, endOf(reader), (field) => {
    if (field !== inner) return false
    read(endOf(reader))
    return true
  })
}

/** Up to `end`; what `read` does not know, so that it returns false, is skipped. */
function eachField(reader: BinaryReader, end: number, read: (field: number) => boolean): void {
  while (reader.pos < end) {
    const tag = reader.uint32()
    if (!read(tag >>> 3)) reader.skip(tag & 7, tag >>> 3)
  }
}
