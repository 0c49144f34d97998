import test from 'ava'
import fc from 'fast-check'
import { AddressError, canonicalMac, formatMac, isInterfaceMac, parseMac } from './index.ts'

test('what is printed is read back as the same MAC', (t) => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => void t.deepEqual(parseMac(formatMac(bytes)), bytes)))
})

test('upper case and dashes are the same MAC', (t) => {
  t.is(canonicalMac('02-42-AC-11-00-02'), '02:42:ac:11:00:02')
})

for (const text of [
  '',
  '02:42:ac:11:00',
  '02:42:ac:11:00:02:03',
  '2:42:ac:11:0:2',
  '02:42-ac:11:00:02',
  '0242ac110002',
  '02:42:ac:11:00:0g',
  '02:42:ac:11:00:02\n',
]) {
  test(`${JSON.stringify(text)} is no MAC`, (t) => {
    t.throws(() => parseMac(text), { instanceOf: AddressError })
  })
}

test('multicast and all-zero MACs are not for interfaces', (t) => {
  t.true(isInterfaceMac(parseMac('02:42:ac:11:00:02')))
  t.false(isInterfaceMac(parseMac('01:00:5e:00:00:01')))
  t.false(isInterfaceMac(parseMac('00:00:00:00:00:00')))
})
