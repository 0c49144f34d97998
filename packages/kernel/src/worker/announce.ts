/** Sends ready frames out of an interface of the namespace the thread is in. */
import * as libc from './libc.ts'

const AF_PACKET = 17

export function sendFrames(linkIndex: number, frames: readonly Uint8Array[]): void {
  // Protocol 0: this socket receives nothing.
  const fd = libc.socket(AF_PACKET, 0)
  try {
    // struct sockaddr_ll (linux/if_packet.h)
    const address = new Uint8Array(20)
    libc.native.setInt16(address, 0, AF_PACKET)
    libc.native.setInt32(address, 4, linkIndex)
    for (const frame of frames) libc.sendTo(fd, frame, address)
  } finally {
    libc.close(fd)
  }
}
