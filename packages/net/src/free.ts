/**
 * Next-fit search for a free address in a range set: goes on after the last answer and wraps, so that what was just
 * freed is handed out last.
 */
import { type Occupancy, occupancyOf } from './occupancy.ts'
import type { RangeSet } from './range.ts'

export class FreeSearch {
  readonly ranges: RangeSet
  readonly #occupancy: Occupancy
  #cursor = 0n

  constructor(ranges: RangeSet) {
    this.ranges = ranges
    this.#occupancy = occupancyOf(ranges.size)
  }

  get free(): bigint {
    return this.#occupancy.size - BigInt(this.#occupancy.taken)
  }

  /** Takes the next free address, undefined when there is none. */
  takeNext(): bigint | undefined {
    const index = this.#occupancy.nextFree(this.#cursor) ?? this.#occupancy.nextFree(0n)
    if (index === undefined) return undefined
    this.#occupancy.take(index)
    this.#cursor = index + 1n
    return this.ranges.at(index)
  }

  /** Addresses outside the ranges are ignored; so are repetitions. */
  take(value: bigint): void {
    const index = this.ranges.indexOf(value)
    if (index !== undefined) this.#occupancy.take(index)
  }

  release(value: bigint): void {
    const index = this.ranges.indexOf(value)
    if (index !== undefined) this.#occupancy.free(index)
  }

  has(value: bigint): boolean {
    const index = this.ranges.indexOf(value)
    return index !== undefined && this.#occupancy.has(index)
  }

  /** The next search begins after this address, if it is in the ranges. */
  continueAfter(value: bigint): void {
    const index = this.ranges.indexOf(value)
    if (index !== undefined) this.#cursor = index + 1n
  }

  /**
   * Moves the next search on by this fraction (0 to 1) of the ranges, or of 65,536 addresses where there are more, so that
   * claims stay near each other.
   */
  jump(fraction: number): void {
    const reach = this.ranges.size < maxJump ? this.ranges.size : maxJump
    if (reach > 0n) this.#cursor = (this.#cursor + BigInt(Math.floor(fraction * Number(reach)))) % this.ranges.size
  }
}

const maxJump = 65_536n
