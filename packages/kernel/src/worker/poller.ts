/** poll(2) over the thread's descriptors: the one place where the netlink thread sleeps. */
import * as libc from './libc.ts'

const POLLIN = 1
/** struct pollfd */
const entryBytes = 8

export class Poller {
  readonly #handlers = new Map<number, () => void>()
  #descriptors = new Uint8Array(0)

  add(fd: number, onReadable: () => void): void {
    this.#handlers.set(fd, onReadable)
    this.#rebuild()
  }

  remove(fd: number): void {
    this.#handlers.delete(fd)
    this.#rebuild()
  }

  wait(timeoutMs: number): void {
    const descriptors = this.#descriptors
    const count = descriptors.length / entryBytes
    if (libc.poll(descriptors, count, timeoutMs) === 0) return
    for (let index = 0; index < count; index++) {
      const returned = libc.native.getInt16(descriptors, index * entryBytes + 6)
      // A handler may have removed this one meanwhile.
      if (returned !== 0) this.#handlers.get(libc.native.getInt32(descriptors, index * entryBytes))?.()
    }
  }

  #rebuild(): void {
    const bytes = new Uint8Array(this.#handlers.size * entryBytes)
    let at = 0
    for (const fd of this.#handlers.keys()) {
      libc.native.setInt32(bytes, at, fd)
      libc.native.setInt16(bytes, at + 4, POLLIN)
      at += entryBytes
    }
    this.#descriptors = bytes
  }
}
