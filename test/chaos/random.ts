/** Chance that can be repeated: HEDDLE_SEED=<the printed seed>. The order of kills and their times; not what the machine makes of them. */
export interface Random {
  readonly seed: number
  /** 0 to 1, as Math.random. */
  next(): number
  shuffled<T>(items: readonly T[]): T[]
}

export function seededRandom(): Random {
  const seed = Number(process.env['HEDDLE_SEED'] ?? Math.floor(Math.random() * 2 ** 32))
  if (!Number.isInteger(seed)) throw new RangeError('HEDDLE_SEED is no whole number')
  let state = seed
  // mulberry32, public domain.
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    seed,
    next,
    shuffled(items) {
      return items
        .map((item) => ({ item, order: next() }))
        .sort((a, b) => a.order - b.order)
        .map(({ item }) => item)
    },
  }
}
