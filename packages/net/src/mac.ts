/** MAC addresses (EUI-48) as six bytes; text is lower case with colons. */
import { AddressError } from './errors.ts'

/** Reads `02:42:ac:11:00:02`, also upper case or with dashes; exactly two digits an octet. Throws AddressError. */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9A-Fa-f]{2}(?:(?::[0-9A-Fa-f]{2}){5}|(?:-[0-9A-Fa-f]{2}){5})$/.test(text)) {
    throw new AddressError(text, 'is not a MAC address: write six octets as 02:42:ac:11:00:02')
  }
  return Uint8Array.from(text.split(/[:-]/), (octet) => Number.parseInt(octet, 16))
}

/** Throws AddressError when there are not six bytes. */
export function formatMac(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex')
  if (bytes.length !== 6) throw new AddressError(hex, 'is not six bytes')
  return hex.match(/../g)?.join(':') ?? ''
}

/** The same address in canonical spelling. Throws AddressError. */
export function canonicalMac(text: string): string {
  return formatMac(parseMac(text))
}

/** Whether an interface may have it: unicast (bit 0 of the first octet clear, IEEE 802) and not all zero. */
export function isInterfaceMac(bytes: Uint8Array): boolean {
  return bytes.length === 6 && ((bytes[0] ?? 1) & 1) === 0 && bytes.some((byte) => byte !== 0)
}
