import test from 'ava'
import fc from 'fast-check'
import { FreeSearch, formatIp, type IpRange, occupancyOf, parsePrefix, parseRange, RangeSet, rangeOf, sizeOf } from './index.ts'

const range = fc.tuple(fc.nat(300), fc.nat(60)).map(([first, length]): IpRange => ({ family: 4, first: BigInt(first), last: BigInt(first + length) }))
const ranges = fc.array(range, { maxLength: 6 })
const members = (list: readonly IpRange[]) => {
  const all = new Set<bigint>()
  for (const one of list) for (let value = one.first; value <= one.last; value++) all.add(value)
  return all
}
const ascending = (values: Iterable<bigint>) => [...values].sort((a, b) => Number(a - b))

test('a range set is the union less what was subtracted, ascending, each address once', (t) => {
  fc.assert(
    fc.property(ranges, ranges, (added, removed) => {
      const holes = members(removed)
      const expected = ascending(members(added)).filter((value) => !holes.has(value))
      const set = RangeSet.of(4, added).subtract(removed)
      t.deepEqual([...set], expected)
      t.is(set.size, BigInt(expected.length))
      for (const [index, value] of expected.entries()) {
        t.is(set.at(BigInt(index)), value)
        t.is(set.indexOf(value), BigInt(index))
      }
      for (const hole of holes) t.false(set.has(hole))
      t.throws(() => set.at(set.size), { instanceOf: RangeError })
    }),
    { numRuns: 300 },
  )
})

test('a range whose ends are swapped or of two families is refused', (t) => {
  t.throws(() => parseRange('10.0.0.9', '10.0.0.1'), { message: /before the start of its range, 10.0.0.9/ })
  t.throws(() => parseRange('10.0.0.9', 'fd00::1'), { message: /not of the same family as 10.0.0.9/ })
  t.throws(() => RangeSet.of(6, [parseRange('10.0.0.1', '10.0.0.9')]), { instanceOf: RangeError })
})

for (const [kind, size] of [
  ['a bitmap', 100n],
  ['a set', 1n << 64n],
] as const) {
  test(`${kind} of occupancy behaves like a set of taken positions`, (t) => {
    const step = fc.tuple(fc.constantFrom('take', 'free', 'next'), fc.bigInt(0n, 99n))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const model = new Set<bigint>()
        const occupancy = occupancyOf(size)
        for (const [what, index] of steps) {
          if (what === 'take') {
            t.is(occupancy.take(index), !model.has(index))
            model.add(index)
          } else if (what === 'free') t.is(occupancy.free(index), model.delete(index))
          else {
            let expected = index
            while (model.has(expected)) expected++
            t.is(occupancy.nextFree(index), expected < size ? expected : undefined)
          }
          t.is(occupancy.has(index), model.has(index))
          t.is(occupancy.taken, model.size)
        }
      }),
      { numRuns: 300 },
    )
  })
}

test('the search hands out every address of the set exactly once, wherever it starts, and then none', (t) => {
  fc.assert(
    fc.property(ranges, fc.double({ min: 0, max: 0.999, noNaN: true }), (list, start) => {
      const search = new FreeSearch(RangeSet.of(4, list))
      search.jump(start)
      const got = new Set<bigint>()
      for (let value = search.takeNext(); value !== undefined; value = search.takeNext()) got.add(value)
      t.deepEqual(ascending(got), ascending(members(list)))
      t.is(search.free, 0n)
    }),
    { numRuns: 300 },
  )
})

test('what was just freed is handed out last', (t) => {
  const search = new FreeSearch(RangeSet.of(4, [parseRange('10.0.0.1', '10.0.0.4')]))
  const first = search.takeNext() as bigint
  search.release(first)
  const order = [search.takeNext(), search.takeNext(), search.takeNext(), search.takeNext()].map((value) => formatIp({ family: 4, value: value as bigint }))
  t.deepEqual(order, ['10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.1'])
  t.is(search.takeNext(), undefined)
})

test('a /64 and a whole IPv6 space can be searched from any point', (t) => {
  for (const text of ['fd00::/64', '::/0']) {
    const prefix = parsePrefix(text)
    const search = new FreeSearch(RangeSet.of(6, [rangeOf(prefix)]).subtract([rangeOf({ family: 6, value: prefix.value })]))
    t.is(search.takeNext(), prefix.value + 1n)
    search.jump(0.5)
    t.is(search.takeNext(), prefix.value + 2n + 32_768n)
    t.is(search.free, sizeOf(prefix) - 3n)
    t.true(search.has(prefix.value + 1n))
  }
})
