/**
 * Netlink framing (linux/netlink.h): messages of a 16-byte header and attributes, all aligned to 4 bytes and in the
 * machine's own byte order. Readers check every length before they use it; nothing here touches a socket.
 */
import { NLA_F_NESTED, NLA_TYPE_MASK } from './constants.ts'

/** The kernel (or whoever) sent bytes that are no netlink message. */
export class MalformedMessage extends Error {
  override readonly name = 'MalformedMessage'
}

/** A value a request cannot be built from. */
export class InvalidValue extends Error {
  override readonly name = 'InvalidValue'
  readonly field: string

  constructor(field: string, message: string) {
    super(message)
    this.field = field
  }
}

export const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1
const headerBytes = 16
const align4 = (length: number) => (length + 3) & ~3

/** Appends messages to one growing buffer, so that many leave in one send. */
export class MessageWriter {
  #bytes = new Uint8Array(16384)
  #view = new DataView(this.#bytes.buffer)
  #length = 0
  #messageStart = 0

  clear(): void {
    this.#length = 0
  }

  get length(): number {
    return this.#length
  }

  /** The bytes written so far; valid until the next write. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  message(type: number, flags: number, sequence: number, body: (writer: this) => void): void {
    this.#messageStart = this.#length
    this.u32(0).u16(type).u16(flags).u32(sequence).u32(0)
    body(this)
    this.#view.setUint32(this.#messageStart, this.#length - this.#messageStart, littleEndian)
    this.#pad()
  }

  u8(value: number): this {
    const at = this.#room(1)
    this.#view.setUint8(at, value)
    return this
  }

  u16(value: number): this {
    const at = this.#room(2)
    this.#view.setUint16(at, value, littleEndian)
    return this
  }

  u16be(value: number): this {
    const at = this.#room(2)
    this.#view.setUint16(at, value, false)
    return this
  }

  u32(value: number): this {
    const at = this.#room(4)
    this.#view.setUint32(at, value, littleEndian)
    return this
  }

  zero(count: number): this {
    const at = this.#room(count)
    this.#bytes.fill(0, at, at + count)
    return this
  }

  attribute(type: number, payload: Uint8Array): this {
    this.u16(payload.length + 4).u16(type)
    const at = this.#room(payload.length)
    this.#bytes.set(payload, at)
    return this.#pad()
  }

  attributeU8(type: number, value: number): this {
    this.u16(5).u16(type).u8(value)
    return this.#pad()
  }

  attributeU16(type: number, value: number): this {
    this.u16(6).u16(type).u16(value)
    return this.#pad()
  }

  attributeU16be(type: number, value: number): this {
    this.u16(6).u16(type).u16be(value)
    return this.#pad()
  }

  attributeU32(type: number, value: number): this {
    return this.u16(8).u16(type).u32(value)
  }

  /** NUL-terminated, as the kernel's NLA_NUL_STRING wants it. */
  attributeText(type: number, text: string): this {
    const bytes = encoder.encode(`${text}\0`)
    return this.attribute(type, bytes)
  }

  /** Attributes, or the fields of a structure of whole words. */
  nest(type: number, body: () => void, nestedFlag = false): this {
    const start = this.#length
    this.u16(0).u16(nestedFlag ? type | NLA_F_NESTED : type)
    body()
    this.#view.setUint16(start, this.#length - start, littleEndian)
    return this
  }

  #pad(): this {
    const missing = align4(this.#length) - this.#length
    return missing > 0 ? this.zero(missing) : this
  }

  /** Where `count` more bytes go. May replace the buffer and the view. */
  #room(count: number): number {
    const at = this.#length
    if (at + count > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(this.#bytes.length * 2, at + count))
      bytes.set(this.#bytes)
      this.#bytes = bytes
      this.#view = new DataView(bytes.buffer)
    }
    this.#length = at + count
    return at
  }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Received bytes with bounds-checked access; every reader of a kernel structure goes through it. */
export class MessageReader {
  readonly bytes: Uint8Array
  readonly #view: DataView

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  u8(at: number): number {
    this.#check(at, 1)
    return this.#view.getUint8(at)
  }

  u16(at: number): number {
    this.#check(at, 2)
    return this.#view.getUint16(at, littleEndian)
  }

  u16be(at: number): number {
    this.#check(at, 2)
    return this.#view.getUint16(at, false)
  }

  u32(at: number): number {
    this.#check(at, 4)
    return this.#view.getUint32(at, littleEndian)
  }

  i32(at: number): number {
    return this.u32(at) | 0
  }

  slice(from: number, to: number): Uint8Array {
    this.#check(from, to - from)
    return this.bytes.subarray(from, to)
  }

  /** Text up to the first NUL. */
  text(from: number, to: number): string {
    const bytes = this.slice(from, to)
    const end = bytes.indexOf(0)
    return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end))
  }

  /** Visits each message; a cut or too short one is malformed. */
  eachMessage(visit: (message: Message) => void): void {
    for (let at = 0; at < this.bytes.length; ) {
      const length = this.u32(at)
      if (length < headerBytes || at + length > this.bytes.length) throw new MalformedMessage(`message of ${length} bytes at ${at} in ${this.bytes.length}`)
      visit({ type: this.u16(at + 4), flags: this.u16(at + 6), sequence: this.u32(at + 8), from: at + headerBytes, to: at + length })
      at += align4(length)
    }
  }

  /** Visits the attributes between `from` and `to`. */
  eachAttribute(from: number, to: number, visit: (type: number, from: number, to: number) => void): void {
    for (let at = from; at + 4 <= to; ) {
      const length = this.u16(at)
      if (length < 4 || at + length > to) throw new MalformedMessage(`attribute of ${length} bytes at ${at}, end at ${to}`)
      visit(this.u16(at + 2) & NLA_TYPE_MASK, at + 4, at + length)
      at += align4(length)
    }
  }

  #check(at: number, count: number): void {
    if (at < 0 || count < 0 || at + count > this.bytes.length) throw new MalformedMessage(`${count} bytes at ${at} wanted, ${this.bytes.length} there`)
  }
}

export interface Message {
  readonly type: number
  readonly flags: number
  readonly sequence: number
  /** Its payload, without the header. */
  readonly from: number
  readonly to: number
}
