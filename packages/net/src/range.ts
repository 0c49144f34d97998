/** Inclusive ranges and sorted, disjoint sets of them. The nth address of a set and the index of an address are both cheap. */
import { AddressError } from './errors.ts'
import { type Family, formatIp, type Ip, parseIp } from './ip.ts'
import { lastOf, type Prefix } from './prefix.ts'

export interface IpRange {
  readonly family: Family
  readonly first: bigint
  /** Inclusive. */
  readonly last: bigint
}

/** Throws AddressError when an end is no address, the families differ or the end is before the start. */
export function parseRange(first: string, last: string): IpRange {
  const [from, to] = [parseIp(first), parseIp(last)]
  if (from.family !== to.family) throw new AddressError(last, `is not of the same family as ${first}`)
  if (to.value < from.value) throw new AddressError(last, `is before the start of its range, ${first}`)
  return { family: from.family, first: from.value, last: to.value }
}

export function rangeOf(what: Ip | Prefix): IpRange {
  return { family: what.family, first: what.value, last: 'length' in what ? lastOf(what).value : what.value }
}

export class RangeSet {
  readonly family: Family
  /** Ascending, disjoint, not touching. */
  readonly ranges: readonly IpRange[]
  readonly size: bigint
  /** Index of the first address of each range. */
  readonly #starts: readonly bigint[]

  private constructor(family: Family, ranges: readonly IpRange[]) {
    const starts: bigint[] = []
    let size = 0n
    for (const range of ranges) {
      starts.push(size)
      size += range.last - range.first + 1n
    }
    this.family = family
    this.ranges = ranges
    this.size = size
    this.#starts = starts
  }

  /** The union; every range must be of the family. */
  static of(family: Family, ranges: Iterable<IpRange>): RangeSet {
    const merged: IpRange[] = []
    for (const range of sorted(family, ranges)) {
      const before = merged.at(-1)
      if (before !== undefined && range.first <= before.last + 1n) {
        if (range.last > before.last) merged[merged.length - 1] = { ...before, last: range.last }
      } else merged.push(range)
    }
    return new RangeSet(family, merged)
  }

  /** What is in this set and in none of the ranges. */
  subtract(ranges: Iterable<IpRange>): RangeSet {
    let left: readonly IpRange[] = this.ranges
    for (const hole of sorted(this.family, ranges)) {
      left = left.flatMap((range) => {
        if (hole.last < range.first || hole.first > range.last) return [range]
        const rest: IpRange[] = []
        if (hole.first > range.first) rest.push({ ...range, last: hole.first - 1n })
        if (hole.last < range.last) rest.push({ ...range, first: hole.last + 1n })
        return rest
      })
    }
    return new RangeSet(this.family, left)
  }

  has(value: bigint): boolean {
    return this.indexOf(value) !== undefined
  }

  /** Position of an address in the set, undefined when it is not in it. */
  indexOf(value: bigint): bigint | undefined {
    const at = lastNotAbove(this.ranges.length, (index) => (this.ranges[index] as IpRange).first <= value)
    const range = this.ranges[at]
    return range !== undefined && value <= range.last ? (this.#starts[at] as bigint) + value - range.first : undefined
  }

  /** The address at a position. Throws RangeError outside 0 to size - 1. */
  at(index: bigint): bigint {
    if (index < 0n || index >= this.size) throw new RangeError(`no address at ${index} in a set of ${this.size}`)
    const at = lastNotAbove(this.ranges.length, (entry) => (this.#starts[entry] as bigint) <= index)
    return (this.ranges[at] as IpRange).first + index - (this.#starts[at] as bigint)
  }

  *[Symbol.iterator](): Generator<bigint> {
    for (const range of this.ranges) for (let value = range.first; value <= range.last; value++) yield value
  }

  toString(): string {
    return this.ranges
      .map((range) => `${formatIp({ family: this.family, value: range.first })}-${formatIp({ family: this.family, value: range.last })}`)
      .join(', ')
  }
}

function sorted(family: Family, ranges: Iterable<IpRange>): IpRange[] {
  const list = [...ranges]
  if (list.some((range) => range.family !== family)) throw new RangeError(`a set of IPv${family} addresses takes no others`)
  return list.sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))
}

/** Greatest index for which a condition that turns from true to false once still holds, or -1. */
function lastNotAbove(length: number, holds: (index: number) => boolean): number {
  let [low, high] = [0, length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (holds(middle)) low = middle + 1
    else high = middle
  }
  return low - 1
}
