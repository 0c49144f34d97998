import type { NftValue } from '@heddle/kernel'
import test from 'ava'
import { decodeValues, normalHex, valuesHex } from './nft-bytes.ts'
import { bridgeRules, vxlanRules } from './nft-rules.ts'

test('an element has the bytes the kernel keeps: components padded to four bytes, numbers in network order', (t) => {
  t.is(
    valuesHex([
      { type: 'ipv4_addr', value: '10.0.0.1' },
      { type: 'u24', value: 0x1001 },
    ]),
    '0a000001001001',
  )
  t.is(
    valuesHex([
      { type: 'inet_proto', value: 6 },
      { type: 'inet_service', value: 8080 },
    ]),
    '060000001f90',
  )
})

test('what is encoded is decoded to the same values, with and without the padding behind', (t) => {
  const values: NftValue[] = [
    { type: 'ifname', value: 'hb0123456789a' },
    { type: 'ipv6_addr', value: '2001:db8::1:0:0:100' },
    { type: 'inet_proto', value: 17 },
    { type: 'inet_service', value: 256 },
    { type: 'u24', value: 0xff0000 },
  ]
  const bytes = Buffer.from(valuesHex(values), 'hex')
  const types = values.map(({ type }) => type)
  t.deepEqual(decodeValues(types, bytes), values)
  t.is(normalHex(Buffer.concat([bytes, Buffer.alloc(8)])), valuesHex(values))
})

test('a ruleset changes its version with its text', (t) => {
  t.not(vxlanRules(4789).version, vxlanRules(4790).version)
  t.is(bridgeRules().version, bridgeRules().version)
  t.true(bridgeRules().text.includes(`"${bridgeRules().version}"`))
})
