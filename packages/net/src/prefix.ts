/** Prefixes `address/length`, strict: host bits must be zero. `parseAddressPrefix` is for an interface's own address in its prefix. */
import { AddressError } from './errors.ts'
import { bitsOf, type Family, formatIp, type Ip, parseIp } from './ip.ts'

export interface Prefix {
  readonly family: Family
  /** The first address; host bits are zero. */
  readonly value: bigint
  readonly length: number
}

/** An address as it stands on an interface: with the length of its prefix. */
export interface AddressPrefix {
  readonly ip: Ip
  readonly prefix: Prefix
}

/** Throws AddressError, also when host bits are set (and then says which prefix was meant). */
export function parsePrefix(text: string): Prefix {
  const { ip, prefix } = parseAddressPrefix(text)
  if (ip.value !== prefix.value) throw new AddressError(text, `has host bits set: the prefix is ${formatPrefix(prefix)}`)
  return prefix
}

/** `10.1.0.5/16`: the address and the prefix it is in. Throws AddressError. */
export function parseAddressPrefix(text: string): AddressPrefix {
  const slash = text.indexOf('/')
  if (slash < 0) throw new AddressError(text, 'has no prefix length: write address/length')
  const ip = parseIp(text.slice(0, slash))
  const digits = text.slice(slash + 1)
  const length = /^(0|[1-9][0-9]{0,2})$/.test(digits) ? Number(digits) : Number.NaN
  if (!(length <= bitsOf(ip.family))) throw new AddressError(text, `has no prefix length from 0 to ${bitsOf(ip.family)}`)
  return { ip, prefix: prefixOf(ip, length) }
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatIp(prefix)}/${prefix.length}`
}

/** `address/length` of an address on an interface. */
export function formatAddressPrefix(ip: Ip, length: number): string {
  return `${formatIp(ip)}/${length}`
}

/** The prefix of this length that an address is in. */
export function prefixOf(ip: Ip, length: number): Prefix {
  const hostBits = BigInt(bitsOf(ip.family) - length)
  return { family: ip.family, value: (ip.value >> hostBits) << hostBits, length }
}

export function firstOf(prefix: Prefix): Ip {
  return { family: prefix.family, value: prefix.value }
}

export function lastOf(prefix: Prefix): Ip {
  return { family: prefix.family, value: prefix.value + sizeOf(prefix) - 1n }
}

/** Addresses in the prefix, network and broadcast included. */
export function sizeOf(prefix: Prefix): bigint {
  return 1n << BigInt(bitsOf(prefix.family) - prefix.length)
}

/** Whether an address or a whole prefix lies inside. */
export function contains(prefix: Prefix, inner: Ip | Prefix): boolean {
  if (prefix.family !== inner.family) return false
  if ('length' in inner && inner.length < prefix.length) return false
  const hostBits = BigInt(bitsOf(prefix.family) - prefix.length)
  return inner.value >> hostBits === prefix.value >> hostBits
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  return a.length <= b.length ? contains(a, b) : contains(b, a)
}

/**
 * Addresses of the prefix no interface may have: network and broadcast of IPv4 shorter than /31 (RFC 3021 frees both of
 * a /31), the subnet-router anycast address of IPv6 shorter than /127 (RFC 4291 2.6.1, RFC 6164).
 */
export function unassignable(prefix: Prefix): readonly Ip[] {
  if (prefix.length >= bitsOf(prefix.family) - 1) return []
  return prefix.family === 4 ? [firstOf(prefix), lastOf(prefix)] : [firstOf(prefix)]
}

/** The first address an interface may have. */
export function firstUsable(prefix: Prefix): Ip {
  return { family: prefix.family, value: prefix.value + (unassignable(prefix).length > 0 ? 1n : 0n) }
}

/** `255.255.0.0` for 10.1.0.0/16: what some tools still want beside an IPv4 address. */
export function netmask(prefix: Prefix): Ip {
  const bits = BigInt(bitsOf(prefix.family))
  const hostBits = bits - BigInt(prefix.length)
  return { family: prefix.family, value: ((1n << bits) - 1n) ^ ((1n << hostBits) - 1n) }
}
