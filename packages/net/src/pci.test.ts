import test from 'ava'
import fc from 'fast-check'
import { AddressError, canonicalPci, isPciAddress, parseIndexes } from './index.ts'

test('a PCI address is read with or without domain and written in one way', (t) => {
  t.is(canonicalPci('3B:02.1'), '0000:3b:02.1')
  t.is(canonicalPci('0000:3b:02.1'), '0000:3b:02.1')
  t.is(canonicalPci('10000:01:1f.7'), '10000:01:1f.7')
  t.is(canonicalPci('00010000:01:1f.7'), '10000:01:1f.7')
  t.is(canonicalPci('00000000:01:1f.7'), '0000:01:1f.7')
})

test('what is no PCI address is refused, a path above all', (t) => {
  for (const text of ['', '0000:3b:02', '0000:3b:02.8', '0000:3b:20.0', '../3b:02.1', '0000:3b:02.1/..', '0000:3b:02.1 ', 'eth0']) {
    t.false(isPciAddress(text), text)
    t.throws(() => canonicalPci(text), { instanceOf: AddressError }, text)
  }
})

test('a list of indexes is ascending and without doubles, however it is written', (t) => {
  t.deepEqual(parseIndexes('7,0-3,2'), [0, 1, 2, 3, 7])
  for (const text of ['', '3-1', '1-', '-1', 'a', '1,,2', '0-99999']) t.throws(() => parseIndexes(text), { instanceOf: AddressError }, text)
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat({ max: 300 }), { minLength: 1 }), (indexes) => {
      t.deepEqual(
        parseIndexes(indexes.join(',')),
        [...indexes].sort((a, b) => a - b),
      )
    }),
  )
})
