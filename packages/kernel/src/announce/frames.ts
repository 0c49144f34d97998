/** Frames that tell a segment where an address lives now. Pure; sent by the netlink thread. */
import { parseAddress, parseMac } from '../rtnl/inet.ts'

/** Per address: an ARP announcement (RFC 5227 section 3) or an unsolicited neighbour advertisement (RFC 4861 section 7.2.6). */
export function announcementFrames(mac: string, addresses: readonly string[]): Uint8Array[] {
  const hardware = parseMac(mac)
  return addresses.map((text) => {
    const address = parseAddress(text, 'addresses')
    return address.length === 4 ? arpAnnouncement(hardware, address) : neighbourAdvertisement(hardware, address)
  })
}

const broadcastMac = new Uint8Array(6).fill(0xff)
/** ff02::1 as an Ethernet multicast address (RFC 2464 section 7). */
const allNodesMac = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1)
const allNodes = parseAddress('ff02::1')

function arpAnnouncement(mac: Uint8Array, address: Uint8Array): Uint8Array {
  const request = [0, 1, 0x08, 0, 6, 4, 0, 1]
  // Sender and target protocol address are both the announced one.
  return Uint8Array.of(...broadcastMac, ...mac, 0x08, 0x06, ...request, ...mac, ...address, ...new Uint8Array(6), ...address)
}

function neighbourAdvertisement(mac: Uint8Array, address: Uint8Array): Uint8Array {
  // Type 136, override flag, target address, option 2: target link-layer address.
  const message = Uint8Array.of(136, 0, 0, 0, 0x20, 0, 0, 0, ...address, 2, 1, ...mac)
  const sum = checksum(address, allNodes, message)
  message[2] = sum >> 8
  message[3] = sum & 0xff
  const hopLimit = 255
  const header = Uint8Array.of(0x60, 0, 0, 0, 0, message.length, 58, hopLimit, ...address, ...allNodes)
  return Uint8Array.of(...allNodesMac, ...mac, 0x86, 0xdd, ...header, ...message)
}

/** ICMPv6 (RFC 4443 section 2.3): over the pseudo-header and the message. */
function checksum(source: Uint8Array, destination: Uint8Array, message: Uint8Array): number {
  const bytes = Uint8Array.of(...source, ...destination, 0, 0, 0, message.length, 0, 0, 0, 58, ...message)
  let sum = 0
  for (let index = 0; index < bytes.length; index += 2) sum += ((bytes[index] ?? 0) << 8) | (bytes[index + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16)
  return ~sum & 0xffff
}
