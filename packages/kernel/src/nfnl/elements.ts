/** NEWSETELEM and DELSETELEM in one nfnetlink batch, and GETSETELEM (linux/netfilter/nf_tables.h, nfnetlink.h). */
import { NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST } from '../rtnl/constants.ts'
import type { Message, MessageReader, MessageWriter } from '../rtnl/wire.ts'
import type { NftElement, NftSet } from '../types.ts'
import { Refused } from '../worker/failures.ts'
import { encodeValues } from './values.ts'

const NFNL_SUBSYS_NFTABLES = 10
const NFNL_MSG_BATCH_BEGIN = 0x10
const NFNL_MSG_BATCH_END = 0x11
const NFT_MSG_NEWSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 12
const NFT_MSG_GETSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 13
const NFT_MSG_DELSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 14
const NFTA_SET_ELEM_LIST_TABLE = 1
const NFTA_SET_ELEM_LIST_SET = 2
const NFTA_SET_ELEM_LIST_ELEMENTS = 3
const NFTA_LIST_ELEM = 1
const NFTA_SET_ELEM_KEY = 1
const NFTA_SET_ELEM_DATA = 2
const NFTA_DATA_VALUE = 1
/** struct nfgenmsg */
const headerBytes = 4

/** linux/netfilter.h */
const families = { inet: 1, ip: 2, netdev: 5, bridge: 7, ip6: 10 } as const

export interface RawElement {
  readonly key: Uint8Array
  readonly data: Uint8Array
}

/** Sends `count` messages in one datagram, of which number `ackAt` asks for an answer, and tells of each that failed. */
export type SendBatch = (
  count: number,
  ackAt: number,
  build: (writer: MessageWriter, sequence: number, flags: number, index: number) => void,
  onFailure: (index: number, errno: string, text: string) => void,
) => void

interface Change {
  readonly adds: boolean
  readonly element: NftElement
}

/**
 * One transaction. An element a message an element, so that the kernel says which it refuses; then what was not there is
 * left out, what is there with other data is removed first, and the whole is sent again.
 */
export function runElementBatch(set: NftSet, add: readonly NftElement[], remove: readonly NftElement[], send: SendBatch): void {
  let changes: Change[] = [...remove.map((element) => ({ adds: false, element })), ...add.map((element) => ({ adds: true, element }))]
  for (let attempt = 1; changes.length > 0; attempt++) {
    const last = changes.length
    const refused = new Map<number, Refused>()
    send(
      changes.length + 2,
      last,
      (writer, sequence, flags, index) => {
        const change = changes[index - 1]
        if (change !== undefined) buildChange(writer, sequence, flags, set, change)
        else writer.message(index === 0 ? NFNL_MSG_BATCH_BEGIN : NFNL_MSG_BATCH_END, NLM_F_REQUEST, sequence, () => header(writer, 0, NFNL_SUBSYS_NFTABLES))
      },
      (index, errno, text) => refused.set(index - 1, new Refused(errno, text)),
    )
    if (refused.size === 0) return
    changes = corrected(changes, refused, attempt)
  }
}

function corrected(changes: readonly Change[], refused: ReadonlyMap<number, Refused>, attempt: number): Change[] {
  for (const [index, refusal] of refused) {
    const adds = changes[index]?.adds
    const curable = adds === undefined ? false : adds ? ['EEXIST', 'EBUSY'].includes(refusal.errno) : refusal.errno === 'ENOENT'
    if (!curable || attempt > 3) throw refusal
  }
  return changes.flatMap((change, index) => {
    if (!refused.has(index)) return [change]
    return change.adds ? [{ adds: false, element: change.element }, change] : []
  })
}

function buildChange(writer: MessageWriter, sequence: number, flags: number, set: NftSet, change: Change): void {
  const { key, data } = change.element
  writer.message(change.adds ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, NLM_F_REQUEST | (change.adds ? NLM_F_CREATE : 0) | flags, sequence, () => {
    setHeader(writer, set)
    writer.nest(
      NFTA_SET_ELEM_LIST_ELEMENTS,
      () =>
        writer.nest(
          NFTA_LIST_ELEM,
          () => {
            writer.nest(NFTA_SET_ELEM_KEY, () => writer.attribute(NFTA_DATA_VALUE, encodeValues(key)), true)
            // A deletion is by key: the data of what is there may be another.
            if (data !== undefined && change.adds) writer.nest(NFTA_SET_ELEM_DATA, () => writer.attribute(NFTA_DATA_VALUE, encodeValues(data)), true)
          },
          true,
        ),
      true,
    )
  })
}

export function buildListRequest(writer: MessageWriter, sequence: number, set: NftSet): void {
  writer.message(NFT_MSG_GETSETELEM, NLM_F_REQUEST | NLM_F_DUMP, sequence, () => setHeader(writer, set))
}

export function readElements(reader: MessageReader, message: Message): RawElement[] | undefined {
  if (message.type !== NFT_MSG_NEWSETELEM) return undefined
  const elements: RawElement[] = []
  reader.eachAttribute(message.from + headerBytes, message.to, (type, from, to) => {
    if (type === NFTA_SET_ELEM_LIST_ELEMENTS) reader.eachAttribute(from, to, (_, start, end) => elements.push(readElement(reader, start, end)))
  })
  return elements
}

function readElement(reader: MessageReader, from: number, to: number): RawElement {
  let key = new Uint8Array(0)
  let data = new Uint8Array(0)
  reader.eachAttribute(from, to, (type, start, end) => {
    if (type !== NFTA_SET_ELEM_KEY && type !== NFTA_SET_ELEM_DATA) return
    reader.eachAttribute(start, end, (inner, valueFrom, valueTo) => {
      if (inner !== NFTA_DATA_VALUE) return
      const value = Uint8Array.from(reader.slice(valueFrom, valueTo))
      if (type === NFTA_SET_ELEM_KEY) key = value
      else data = value
    })
  })
  return { key, data }
}

function setHeader(writer: MessageWriter, set: NftSet): void {
  header(writer, families[set.family], 0)
  writer.attributeText(NFTA_SET_ELEM_LIST_TABLE, set.table).attributeText(NFTA_SET_ELEM_LIST_SET, set.set)
}

function header(writer: MessageWriter, family: number, resource: number): void {
  // res_id is in network order.
  writer
    .u8(family)
    .u8(0)
    .u8(resource >> 8)
    .u8(resource & 0xff)
}
