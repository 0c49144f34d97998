/**
 * Set elements as the kernel stores them, to compare what is there with what should be. Each component of a
 * concatenation is padded to four bytes (nf_tables: NFT_REG32_SIZE); an interface name takes IFNAMSIZ (16) bytes.
 */
import type { NftValue } from '@heddle/kernel'
import { formatIp, ipBytes, ipOfBytes, parseIp } from '@heddle/net'
import type { NftType } from './nft-rules.ts'

const width: Readonly<Record<NftType, number>> = { ifname: 16, ipv4_addr: 4, ipv6_addr: 16, inet_service: 4, inet_proto: 4, u24: 4 }

/** Hex of the values; without trailing zeros, as the kernel leaves out the padding of a lone or last component. */
export function valuesHex(values: readonly NftValue[]): string {
  return normalHex(Buffer.concat(values.map(encode)))
}

export function normalHex(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString('hex')
    .replace(/(00)+$/, '')
}

export function decodeValues(types: readonly NftType[], bytes: Uint8Array): NftValue[] {
  let at = 0
  return types.map((type) => {
    const part = Buffer.alloc(width[type])
    part.set(bytes.subarray(at, at + width[type]))
    at += width[type]
    return { type, value: decode(type, part) }
  })
}

function encode({ type, value }: NftValue): Buffer {
  const bytes = Buffer.alloc(width[type])
  if (type === 'ifname') bytes.write(String(value))
  else if (type === 'ipv4_addr' || type === 'ipv6_addr') bytes.set(ipBytes(parseIp(String(value))))
  else if (type === 'inet_service') bytes.writeUInt16BE(Number(value))
  else if (type === 'inet_proto') bytes[0] = Number(value)
  else bytes.writeUIntBE(Number(value), 0, 3)
  return bytes
}

function decode(type: NftType, bytes: Buffer): string | number {
  if (type === 'ifname') return bytes.toString('latin1').replace(/\0+$/, '')
  if (type === 'ipv4_addr' || type === 'ipv6_addr') return formatIp(ipOfBytes(bytes))
  if (type === 'inet_service') return bytes.readUInt16BE()
  if (type === 'inet_proto') return bytes.readUInt8()
  return bytes.readUIntBE(0, 3)
}
