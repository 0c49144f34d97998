/** Which positions of 0 to size - 1 are taken: a bitmap for what fits into one, a set for a /64 and beyond. */
export interface Occupancy {
  readonly size: bigint
  readonly taken: number
  has(index: bigint): boolean
  /** False when it was taken already. */
  take(index: bigint): boolean
  /** False when it was free already. */
  free(index: bigint): boolean
  /** The first free position at or after `from`, not wrapping. */
  nextFree(from: bigint): bigint | undefined
}

/** A bitmap of 2 MiB: an IPv4 /8. */
const maxBitmapSize = 1n << 24n

export function occupancyOf(size: bigint): Occupancy {
  return size <= maxBitmapSize ? new Bitmap(Number(size)) : new Sparse(size)
}

class Bitmap implements Occupancy {
  readonly size: bigint
  taken = 0
  readonly #size: number
  readonly #words: Uint32Array

  constructor(size: number) {
    this.size = BigInt(size)
    this.#size = size
    this.#words = new Uint32Array(Math.ceil(size / 32))
  }

  has(index: bigint): boolean {
    const at = Number(index)
    return (((this.#words[at >>> 5] ?? 0) >>> (at & 31)) & 1) === 1
  }

  take(index: bigint): boolean {
    return this.#set(Number(index), true)
  }

  free(index: bigint): boolean {
    return this.#set(Number(index), false)
  }

  nextFree(from: bigint): bigint | undefined {
    const start = Number(from)
    // Positions below `from` in its first word count as taken.
    let ignored = (1 << (start & 31)) - 1
    for (let word = start >>> 5; word < this.#words.length; word++) {
      const open = ~((this.#words[word] as number) | ignored)
      ignored = 0
      if (open === 0) continue
      const at = word * 32 + 31 - Math.clz32(open & -open)
      return at < this.#size ? BigInt(at) : undefined
    }
    return undefined
  }

  #set(at: number, taken: boolean): boolean {
    const word = this.#words[at >>> 5] as number
    const next = taken ? word | (1 << (at & 31)) : word & ~(1 << (at & 31))
    if (next >>> 0 === word) return false
    this.#words[at >>> 5] = next
    this.taken += taken ? 1 : -1
    return true
  }
}

class Sparse implements Occupancy {
  readonly size: bigint
  readonly #taken = new Set<bigint>()

  constructor(size: bigint) {
    this.size = size
  }

  get taken(): number {
    return this.#taken.size
  }

  has(index: bigint): boolean {
    return this.#taken.has(index)
  }

  take(index: bigint): boolean {
    const before = this.#taken.size
    return this.#taken.add(index).size > before
  }

  free(index: bigint): boolean {
    return this.#taken.delete(index)
  }

  nextFree(from: bigint): bigint | undefined {
    let index = from
    while (this.#taken.has(index)) index++
    return index < this.size ? index : undefined
  }
}
