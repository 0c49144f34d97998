/**
 * Sends ready frames out of an interface. The kernel takes some 14 ms (an RCU grace period) to close a packet socket, so
 * a resident namespace keeps its own, and those of other namespaces are closed by the main thread's pool.
 */

import * as libc from './libc.ts'
import type { Netns } from './namespaces.ts'

export function sendFrames(netns: Netns, linkIndex: number, frames: readonly Uint8Array[]): void {
  // struct sockaddr_ll (linux/if_packet.h)
  const address = new Uint8Array(20)
  libc.native.setInt16(address, 0, libc.AF_PACKET)
  libc.native.setInt32(address, 4, linkIndex)
  for (const frame of frames) libc.sendTo(netns.packetSocket, frame, address)
}
