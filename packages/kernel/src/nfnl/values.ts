/** Values of nftables keys and data as bytes: network order, each part of a concatenation padded to a 4-byte register. */
import { parseAddress } from '../rtnl/inet.ts'
import { InvalidValue } from '../rtnl/wire.ts'
import type { NftValue } from '../types.ts'

/** linux/if.h IFNAMSIZ */
const interfaceNameBytes = 16

export function encodeValues(values: readonly NftValue[]): Uint8Array {
  const parts = values.map(encodeValue)
  if (parts.length === 1 && parts[0] !== undefined) return parts[0]
  const padded = parts.map((part) => (part.length + 3) & ~3)
  const bytes = new Uint8Array(padded.reduce((sum, length) => sum + length, 0))
  let at = 0
  for (const [index, part] of parts.entries()) {
    bytes.set(part, at)
    at += padded[index] ?? 0
  }
  return bytes
}

function encodeValue({ type, value }: NftValue): Uint8Array {
  switch (type) {
    case 'ipv4_addr':
      return address(String(value), 4)
    case 'ipv6_addr':
      return address(String(value), 16)
    case 'inet_service':
      return unsigned(type, value, 2)
    case 'inet_proto':
      return unsigned(type, value, 1)
    case 'u24':
      return unsigned(type, value, 3)
    case 'ifname': {
      const bytes = new Uint8Array(interfaceNameBytes)
      const text = new TextEncoder().encode(String(value))
      if (text.length === 0 || text.length >= interfaceNameBytes) throw new InvalidValue('key', `${JSON.stringify(value)} is not an interface name`)
      bytes.set(text)
      return bytes
    }
  }
}

function address(text: string, length: number): Uint8Array {
  const bytes = parseAddress(text, 'key')
  if (bytes.length !== length) throw new InvalidValue('key', `${text} is of the other address family`)
  return bytes
}

function unsigned(type: string, value: string | number, length: number): Uint8Array {
  const number = Number(value)
  if (!Number.isInteger(number) || number < 0 || number >= 2 ** (8 * length)) throw new InvalidValue('key', `${value} is no ${type}`)
  return Uint8Array.from({ length }, (_, index) => (number >> (8 * (length - 1 - index))) & 0xff)
}
