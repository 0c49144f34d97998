/** An order-free digest of a set of strings: equal sets, equal digests; one entry more or less changes it in O(1). */
import { hash } from 'node:crypto'

export class SetDigest {
  #sum = 0n

  add(entry: string): void {
    this.#sum = (this.#sum + hash64(entry)) & mask
  }

  remove(entry: string): void {
    this.#sum = (this.#sum - hash64(entry)) & mask
  }

  /** 16 lower-case hex digits. */
  toString(): string {
    return this.#sum.toString(16).padStart(16, '0')
  }
}

const mask = (1n << 64n) - 1n

function hash64(entry: string): bigint {
  return hash('sha1', entry, 'buffer').readBigUInt64BE(0)
}
