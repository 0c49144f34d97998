/**
 * One IP address as a number. Two spellings of one address must never be two claims, so what is ambiguous is refused
 * rather than guessed: IPv4 octets with leading zeros (octal to inet_aton), IPv4 in fewer than four parts, IPv6 zone
 * ids (RFC 4007) and IPv4-mapped IPv6 (RFC 4291 2.5.5.2), which names an IPv4 address a second time.
 */
import ipaddr from 'ipaddr.js'
import { AddressError } from './errors.ts'

export type Family = 4 | 6

export interface Ip {
  readonly family: Family
  readonly value: bigint
}

/** Bits of an address of the family: 32 or 128. */
export function bitsOf(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128
}

/** Any IPv6 spelling of RFC 4291 is read; only dotted quads are read as IPv4. Throws AddressError. */
export function parseIp(text: string): Ip {
  const value = parseV4(text)
  if (value >= 0) return { family: 4, value: BigInt(value) }
  return { family: 6, value: parseV6(text) }
}

/** Dotted quad, or the canonical form of RFC 5952 (lower case, longest run of zero groups as `::`). */
export function formatIp(ip: Ip): string {
  if (ip.family === 4) {
    const value = Number(ip.value)
    return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`
  }
  const groups: number[] = []
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(Number((ip.value >> shift) & 0xffffn))
  return new ipaddr.IPv6(groups).toRFC5952String()
}

/** The same address in canonical spelling. Throws AddressError. */
export function canonicalIp(text: string): string {
  return formatIp(parseIp(text))
}

export function isIp(text: string): boolean {
  try {
    parseIp(text)
    return true
  } catch {
    return false
  }
}

/** IPv4 before IPv6, then by number: for sorting. */
export function compareIp(a: Ip, b: Ip): number {
  if (a.family !== b.family) return a.family - b.family
  return a.value < b.value ? -1 : a.value > b.value ? 1 : 0
}

export function sameIp(a: Ip, b: Ip): boolean {
  return a.family === b.family && a.value === b.value
}

/** 4 or 16 bytes in network order. */
export function ipBytes(ip: Ip): Uint8Array {
  const bytes = new Uint8Array(bitsOf(ip.family) / 8)
  let rest = ip.value
  for (let index = bytes.length - 1; index >= 0; index--, rest >>= 8n) bytes[index] = Number(rest & 0xffn)
  return bytes
}

/** From 4 or 16 bytes in network order. Throws AddressError. */
export function ipOfBytes(bytes: Uint8Array): Ip {
  if (bytes.length !== 4 && bytes.length !== 16) throw new AddressError(Buffer.from(bytes).toString('hex'), 'is neither 4 nor 16 bytes')
  let value = 0n
  for (const byte of bytes) value = (value << 8n) | BigInt(byte)
  return { family: bytes.length === 4 ? 4 : 6, value }
}

/** The number, or -1 when the text is no strict dotted quad. By hand: it stands on the path of every claim. */
function parseV4(text: string): number {
  if (text.length < 7 || text.length > 15) return -1
  let value = 0
  let octet = 0
  let digits = 0
  let dots = 0
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code === 46) {
      if (digits === 0 || ++dots > 3) return -1
      value = value * 256 + octet
      octet = 0
      digits = 0
    } else {
      if (code < 48 || code > 57 || (digits > 0 && octet === 0)) return -1
      octet = octet * 10 + code - 48
      digits++
      if (octet > 255) return -1
    }
  }
  return dots === 3 && digits > 0 ? value * 256 + octet : -1
}

function parseV6(text: string): bigint {
  if (text.includes('%')) throw new AddressError(text, 'has a zone id: leave out the part from "%"')
  // RFC 4291 has hexadecimal groups and at most one trailing dotted quad, whose octets must be as strict as IPv4's own.
  const quad = /:([0-9]+(?:\.[0-9]+)+)$/.exec(text)?.[1]
  if (!/^[0-9A-Fa-f:.]{2,45}$/.test(text) || !text.includes(':') || (quad !== undefined && parseV4(quad) < 0) || !ipaddr.IPv6.isValid(text)) {
    throw new AddressError(text, 'is not an IP address')
  }
  let value = 0n
  for (const part of ipaddr.IPv6.parse(text).parts) value = (value << 16n) | BigInt(part)
  if (value >> 32n === 0xffffn) throw new AddressError(text, 'is an IPv4 address mapped into IPv6: write it as IPv4')
  return value
}
