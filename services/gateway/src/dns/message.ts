/** DNS messages as far as they are needed to answer one question with addresses (RFC 1035, section 4; RFC 3596 for AAAA). */
import { parseIp } from '@heddle/net'

export const recordTypes = { A: 1, AAAA: 28 } as const
export const rcodes = { ok: 0, formatError: 1, serverFailure: 2, nameError: 3, notImplemented: 4, refused: 5 } as const

const internetClass = 1
const headerBytes = 12
/** Of a message over UDP (RFC 1035, section 2.3.4). */
export const maxUdpBytes = 512

export interface Question {
  /** Lower case, without the final dot. */
  readonly name: string
  readonly type: number
  readonly isInternet: boolean
  /** A standard query, not a notification or an update. */
  readonly isQuery: boolean
  /** The question as it was sent: it is answered letter by letter. */
  readonly bytes: Buffer
}

export interface Answer {
  readonly rcode: number
  /** Bare, of the question's type. */
  readonly addresses: readonly string[]
  readonly ttlSeconds: number
  readonly isOurs: boolean
}

/** Undefined when there is no question in it that could be answered, and none to whom. */
export function parseQuestion(message: Buffer): Question | undefined {
  if (message.length < headerBytes || (message.readUInt16BE(2) & 0x8000) !== 0 || message.readUInt16BE(4) !== 1) return undefined
  const labels: string[] = []
  let at = headerBytes
  for (;;) {
    const length = message[at]
    // No pointer in a first name: there is nothing before it to point to.
    if (length === undefined || length > 63 || at + 1 + length + 4 > message.length) return undefined
    at += 1 + length
    if (length === 0) break
    labels.push(message.toString('latin1', at - length, at).toLowerCase())
  }
  return {
    name: labels.join('.'),
    type: message.readUInt16BE(at),
    isInternet: message.readUInt16BE(at + 2) === internetClass,
    isQuery: ((message.readUInt16BE(2) >> 11) & 0xf) === 0,
    bytes: message.subarray(headerBytes, at + 4),
  }
}

/** The answer to `message`, cut to `maxBytes` and marked as cut when it is longer. */
export function encodeAnswer(message: Buffer, question: Question, answer: Answer, maxBytes: number): Buffer {
  const records = answer.addresses.map((address) => encodeRecord(question.type, address, answer.ttlSeconds))
  const room = maxBytes - headerBytes - question.bytes.length
  const bytesEach = records[0]?.length ?? 1
  const kept = records.slice(0, Math.floor(room / bytesEach))
  const header = Buffer.alloc(headerBytes)
  header.writeUInt16BE(message.readUInt16BE(0), 0)
  const asked = message.readUInt16BE(2)
  // QR, opcode and RD as asked, AA, TC.
  header.writeUInt16BE(0x8000 | (asked & 0x7900) | (answer.isOurs ? 0x0400 : 0) | (kept.length < records.length ? 0x0200 : 0) | answer.rcode, 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(kept.length, 6)
  return Buffer.concat([header, question.bytes, ...kept])
}

function encodeRecord(type: number, address: string, ttlSeconds: number): Buffer {
  const { value, family } = parseIp(address)
  const length = family === 4 ? 4 : 16
  const record = Buffer.alloc(12 + length)
  // A pointer to the question's name, which stands behind the header.
  record.writeUInt16BE(0xc000 | headerBytes, 0)
  record.writeUInt16BE(type, 2)
  record.writeUInt16BE(internetClass, 4)
  record.writeUInt32BE(ttlSeconds, 6)
  record.writeUInt16BE(length, 10)
  Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex').copy(record, 12)
  return record
}
