/**
 * Addresses as text and as bytes in network order. Own code, not a library: it runs on the netlink thread, whose memory
 * is counted, for every entry of every dump.
 */
import { InvalidValue } from './wire.ts'

/** 4 or 16 bytes of an address. */
export function parseAddress(text: string, field = 'address'): Uint8Array {
  const bytes = text.includes(':') ? parse6(text) : parse4(text)
  if (bytes === undefined) throw new InvalidValue(field, `${JSON.stringify(text)} is not an IP address`)
  return bytes
}

export interface Prefix {
  readonly bytes: Uint8Array
  readonly length: number
}

/** `address/length`. */
export function parsePrefix(text: string, field = 'address'): Prefix {
  const slash = text.indexOf('/')
  const bytes = parseAddress(slash < 0 ? text : text.slice(0, slash), field)
  const digits = slash < 0 ? '' : text.slice(slash + 1)
  const length = /^\d{1,3}$/.test(digits) ? Number(digits) : -1
  if (length < 0 || length > bytes.length * 8) throw new InvalidValue(field, `${JSON.stringify(text)} is not an address with a prefix length`)
  return { bytes, length }
}

/** Canonical text: dotted quad, or RFC 5952. Empty for a length that is no address. */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`
  return bytes.length === 16 ? format6(bytes) : ''
}

export function parseMac(text: string, field = 'mac'): Uint8Array {
  if (!/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(text)) throw new InvalidValue(field, `${JSON.stringify(text)} is not a MAC address`)
  const bytes = new Uint8Array(6)
  for (let index = 0; index < 6; index++) bytes[index] = Number.parseInt(text.slice(index * 3, index * 3 + 2), 16)
  return bytes
}

export function formatMac(bytes: Uint8Array): string {
  let text = ''
  for (let index = 0; index < bytes.length; index++) text += (index === 0 ? '' : ':') + hexByte[bytes[index] ?? 0]
  return text
}

const hexByte = Array.from({ length: 256 }, (_, value) => value.toString(16).padStart(2, '0'))

function parse4(text: string): Uint8Array | undefined {
  const parts = text.split('.')
  if (parts.length !== 4) return undefined
  const bytes = new Uint8Array(4)
  for (const [index, part] of parts.entries()) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined
    bytes[index] = Number(part)
  }
  return bytes
}

function parse6(text: string): Uint8Array | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = groups(halves[0] ?? '')
  const tail = halves.length === 2 ? groups(halves[1] ?? '') : []
  if (head === undefined || tail === undefined) return undefined
  const gap = 8 - head.length - tail.length
  if (halves.length === 2 ? gap < 1 : gap !== 0) return undefined
  const all = [...head, ...new Array<number>(gap).fill(0), ...tail]
  const bytes = new Uint8Array(16)
  for (const [index, group] of all.entries()) {
    bytes[index * 2] = group >> 8
    bytes[index * 2 + 1] = group & 0xff
  }
  return bytes
}

function groups(text: string): number[] | undefined {
  if (text === '') return []
  const result: number[] = []
  const parts = text.split(':')
  for (const [index, part] of parts.entries()) {
    if (part.includes('.') && index === parts.length - 1) {
      const quad = parse4(part)
      if (quad === undefined) return undefined
      result.push(((quad[0] ?? 0) << 8) | (quad[1] ?? 0), ((quad[2] ?? 0) << 8) | (quad[3] ?? 0))
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) result.push(Number.parseInt(part, 16))
    else return undefined
  }
  return result.length > 8 ? undefined : result
}

function format6(bytes: Uint8Array): string {
  const words = Array.from({ length: 8 }, (_, index) => ((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0))
  let best = { from: -1, length: 1 }
  for (let from = 0; from < 8; from++) {
    let length = 0
    while (from + length < 8 && words[from + length] === 0) length++
    if (length > best.length) best = { from, length }
  }
  const text = (part: readonly number[]) => part.map((word) => word.toString(16)).join(':')
  // RFC 5952 section 5: IPv4-mapped addresses end in the dotted quad.
  if (best.from === 0 && best.length === 5 && words[5] === 0xffff) return `::ffff:${formatAddress(bytes.subarray(12))}`
  if (best.from < 0) return text(words)
  return `${text(words.slice(0, best.from))}::${text(words.slice(best.from + best.length))}`
}
