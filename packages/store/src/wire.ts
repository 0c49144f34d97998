/** Transactions and records as etcd's protobuf messages (rpc.proto, kv.proto), in the plain-object form of proto-loader. */
import { prefixEnd } from './port.ts'
import type { Committed, Compare, StoredRecord, Transaction, Write } from './types.ts'

// etcdserverpb.Compare's CompareResult and CompareTarget.
const equal = 0
const greater = 1
const createTarget = 1
const modTarget = 2
const valueTarget = 3

export interface WireRecord {
  readonly key: Buffer
  readonly value: Buffer
  readonly create_revision: string
  readonly mod_revision: string
}

interface WireTxnReply {
  readonly header: { readonly revision: string } | null
  readonly succeeded: boolean
  readonly responses: readonly { readonly response_range?: { readonly kvs: readonly WireRecord[] } | null; readonly response_txn?: WireTxnReply | null }[]
}

export function toRecord(wire: WireRecord): StoredRecord {
  return { key: wire.key.toString(), value: wire.value.toString(), createRevision: BigInt(wire.create_revision), modRevision: BigInt(wire.mod_revision) }
}

/** One request; its operations are the transactions. */
export function toTxnRequest(transactions: readonly Transaction[]) {
  return { success: transactions.map((transaction) => ({ request_txn: toNested(transaction) })) }
}

/** The outcomes of `toTxnRequest`, in the transactions' order. All of one request share its revision. */
export function fromTxnReply(reply: WireTxnReply): Committed[] {
  const revision = BigInt(reply.header?.revision ?? 0)
  return reply.responses.map(({ response_txn: nested }): Committed => {
    if (nested?.succeeded) return { succeeded: true, revision }
    const found = new Map<string, StoredRecord>()
    for (const operation of nested?.responses ?? []) {
      for (const wire of operation.response_range?.kvs ?? []) {
        const record = toRecord(wire)
        found.set(record.key, record)
      }
    }
    return { succeeded: false, revision, found }
  })
}

function toNested(transaction: Transaction) {
  return {
    compare: transaction.when.map(toCompare),
    success: transaction.write.map(toOperation),
    failure: (transaction.otherwiseRead ?? []).map((key) => ({ request_range: { key: Buffer.from(key) } })),
  }
}

function toCompare(compare: Compare) {
  const key = Buffer.from(compare.key)
  switch (compare.is) {
    case 'absent':
      return { key, target: createTarget, result: equal, create_revision: '0' }
    case 'none-below':
      return { key, range_end: prefixEnd(compare.key), target: createTarget, result: equal, create_revision: '0' }
    case 'present':
      return { key, target: createTarget, result: greater, create_revision: '0' }
    case 'at':
      return { key, target: modTarget, result: equal, mod_revision: String(compare.modRevision) }
    case 'created-at':
      return { key, target: createTarget, result: equal, create_revision: String(compare.createRevision) }
    case 'valued':
      return { key, target: valueTarget, result: equal, value: Buffer.from(compare.value) }
  }
}

function toOperation(write: Write) {
  if ('delete' in write) return { request_delete_range: { key: Buffer.from(write.delete) } }
  const put = { key: Buffer.from(write.put), value: Buffer.from(write.value) }
  return { request_put: write.lease === undefined ? put : { ...put, lease: String(write.lease) } }
}
