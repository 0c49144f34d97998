import test from 'ava'
import fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import { AddressError, canonicalIp, compareIp, formatIp, type Ip, ipBytes, ipOfBytes, isIp, parseIp } from './index.ts'

const v4 = fc.bigInt(0n, (1n << 32n) - 1n).map((value): Ip => ({ family: 4, value }))
const v6 = fc.bigInt(0n, (1n << 128n) - 1n).map((value): Ip => ({ family: 6, value }))
/** Groups that are often zero, so that runs to be shortened occur; IPv4-mapped is left out. */
const sparseV6 = fc
  .array(fc.oneof(fc.constant(0), fc.constant(0xffff), fc.nat(0xffff)), { minLength: 8, maxLength: 8 })
  .map((groups): Ip => ({ family: 6, value: groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n) }))
  .filter((ip) => ip.value >> 32n !== 0xffffn)

test('what is printed is read back as the same address', (t) => {
  fc.assert(fc.property(fc.oneof(v4, v6, sparseV6), (ip) => void t.deepEqual(parseIp(formatIp(ip)), ip)))
})

test('IPv4 is read exactly as ipaddr.js reads four decimal parts', (t) => {
  const part = fc.oneof(fc.nat(300).map(String), fc.constantFrom('', '00', '01', '007', '-1', '0x1', ' 1', '1e1'))
  fc.assert(
    fc.property(fc.array(part, { minLength: 3, maxLength: 5 }), (parts) => {
      const text = parts.join('.')
      t.is(isIp(text), ipaddr.IPv4.isValidFourPartDecimal(text), text)
      if (isIp(text)) t.deepEqual([...ipBytes(parseIp(text))], ipaddr.IPv4.parse(text).octets)
    }),
    { numRuns: 2000 },
  )
})

test('IPv6 is printed as a URL prints it (WHATWG serialises by RFC 5952)', (t) => {
  fc.assert(
    fc.property(
      fc.oneof(v6, sparseV6),
      (ip) => void t.is(`[${formatIp(ip)}]`, new URL(`http://[${ipaddr.fromByteArray([...ipBytes(ip)]).toNormalizedString()}]/`).hostname),
    ),
    { numRuns: 1000 },
  )
})

test('every spelling of an IPv6 address is one address', (t) => {
  for (const text of ['FD00:0:0:0:0:0:0:1', 'fd00::1', 'fd00:0::0:1', 'fd00::0.0.0.1']) t.is(canonicalIp(text), 'fd00::1')
})

test('bytes and addresses convert both ways', (t) => {
  fc.assert(fc.property(fc.oneof(v4, v6), (ip) => void t.deepEqual(ipOfBytes(ipBytes(ip)), ip)))
  t.throws(() => ipOfBytes(new Uint8Array(5)), { instanceOf: AddressError })
})

for (const [text, reason] of [
  ['010.0.0.1', /is not an IP address/],
  ['10.0.1', /is not an IP address/],
  ['167772161', /is not an IP address/],
  ['0x7f000001', /is not an IP address/],
  ['10.0.0.256', /is not an IP address/],
  ['10.0.0.1 ', /is not an IP address/],
  ['', /is not an IP address/],
  ['fe80::1%eth0', /zone id/],
  ['::ffff:10.0.0.1', /mapped into IPv6/],
  ['::ffff:a00:1', /mapped into IPv6/],
  ['::1.2.3.04', /is not an IP address/],
  ['1:2:3:4:5:6:7:8:9', /is not an IP address/],
  ['1::2::3', /is not an IP address/],
] as const) {
  test(`${JSON.stringify(text)} is refused, and the error names it`, (t) => {
    const error = t.throws(() => parseIp(text), { instanceOf: AddressError, message: reason })
    t.is(error?.text, text)
  })
}

test('no text makes the parser throw anything but its own error', (t) => {
  const near = fc.string({ unit: fc.constantFrom(...'0123456789abcdefF:.%/ xg'), maxLength: 48 })
  fc.assert(
    fc.property(fc.oneof(near, fc.string()), (text) => {
      try {
        const ip = parseIp(text)
        t.true(ipaddr.isValid(text))
        t.deepEqual(parseIp(formatIp(ip)), ip)
      } catch (error) {
        t.true(error instanceof AddressError)
      }
    }),
    { numRuns: 3000 },
  )
})

test('addresses sort by family, then by number', (t) => {
  const sorted = ['fd00::1', '10.0.0.10', '10.0.0.9', '::1'].map(parseIp).sort(compareIp).map(formatIp)
  t.deepEqual(sorted, ['10.0.0.9', '10.0.0.10', '::1', 'fd00::1'])
})
