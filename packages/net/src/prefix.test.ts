import test from 'ava'
import fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import {
  AddressError,
  bitsOf,
  contains,
  firstOf,
  firstUsable,
  formatIp,
  formatPrefix,
  lastOf,
  netmask,
  overlaps,
  type Prefix,
  parseAddressPrefix,
  parsePrefix,
  prefixOf,
  sizeOf,
  unassignable,
} from './index.ts'

const prefix = fc
  .oneof(fc.constant(4 as const), fc.constant(6 as const))
  .chain((family) =>
    fc.tuple(fc.bigInt(0n, (1n << BigInt(bitsOf(family))) - 1n), fc.nat(bitsOf(family))).map(([value, length]): Prefix => prefixOf({ family, value }, length)),
  )

test('what is printed is read back as the same prefix', (t) => {
  fc.assert(fc.property(prefix, (one) => one.value >> 32n === 0xffffn || void t.deepEqual(parsePrefix(formatPrefix(one)), one)))
})

test('an address is inside a prefix exactly when ipaddr.js matches it', (t) => {
  fc.assert(
    fc.property(prefix, prefix, (outer, inner) => {
      if (outer.family !== inner.family) return void t.false(contains(outer, firstOf(inner)))
      const expected = ipaddr.parse(formatIp(inner)).match(ipaddr.parse(formatIp(outer)), outer.length)
      t.is(contains(outer, firstOf(inner)), expected)
    }),
    { numRuns: 500 },
  )
})

test('two prefixes overlap exactly when one contains the other, in either order', (t) => {
  fc.assert(
    fc.property(prefix, fc.nat(128), (one, length) => {
      const other = prefixOf(firstOf(one), Math.min(length, bitsOf(one.family)))
      t.true(overlaps(one, other))
      t.true(overlaps(other, one))
      if (one.length > 0) {
        const sibling = { ...one, value: one.value ^ (1n << BigInt(bitsOf(one.family) - one.length)) }
        t.false(overlaps(one, sibling))
      }
    }),
  )
})

test('a prefix ends size - 1 after its start, and both ends are inside', (t) => {
  fc.assert(
    fc.property(prefix, (one) => {
      t.is(lastOf(one).value - firstOf(one).value + 1n, sizeOf(one))
      t.true(contains(one, lastOf(one)) && contains(one, firstOf(one)))
      t.is(netmask(one).value & lastOf(one).value, one.value)
    }),
  )
})

test('host bits are refused, and the error says which prefix was meant', (t) => {
  t.throws(() => parsePrefix('10.1.0.5/16'), { instanceOf: AddressError, message: '"10.1.0.5/16" has host bits set: the prefix is 10.1.0.0/16' })
  t.is(formatPrefix(parseAddressPrefix('10.1.0.5/16').prefix), '10.1.0.0/16')
  t.is(formatIp(parseAddressPrefix('fd00::5/64').ip), 'fd00::5')
})

for (const text of [
  '10.0.0.0',
  '10.0.0.0/',
  '10.0.0.0/33',
  '10.0.0.0/08',
  '10.0.0.0/-1',
  '10.0.0.0/255.0.0.0',
  'fd00::/129',
  'fd00::/6 4',
  '/8',
  '10.0.0.0/8/8',
]) {
  test(`${text} is no prefix`, (t) => {
    t.throws(() => parsePrefix(text), { instanceOf: AddressError })
  })
}

test('network, broadcast and subnet-router anycast addresses are not for interfaces, but all of a /31 and a /127 is', (t) => {
  const of = (text: string) => unassignable(parsePrefix(text)).map(formatIp)
  t.deepEqual(of('10.0.0.0/24'), ['10.0.0.0', '10.0.0.255'])
  t.deepEqual(of('10.0.0.0/30'), ['10.0.0.0', '10.0.0.3'])
  t.deepEqual(of('10.0.0.0/31'), [])
  t.deepEqual(of('10.0.0.1/32'), [])
  t.deepEqual(of('fd00::/64'), ['fd00::'])
  t.deepEqual(of('fd00::/127'), [])
  t.is(formatIp(firstUsable(parsePrefix('10.0.0.0/24'))), '10.0.0.1')
  t.is(formatIp(firstUsable(parsePrefix('10.0.0.0/31'))), '10.0.0.0')
})
