import test from 'ava'
import fc from 'fast-check'
import { markOf, parseMark } from './marks.ts'
import { parseEndpointAlias } from './names.ts'

const id = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$/)
const token = fc.stringMatching(/^[A-Za-z0-9_-]{1,32}$/)
const device = fc.record({
  name: fc.stringMatching(/^[a-z0-9.,%@-]{1,15}$/).filter((name) => name !== '.' && name !== '..'),
  mac: fc.constantFrom('02:00:00:00:00:01', 'fe:ff:0a:0b:0c:0d', ''),
  mtu: fc.integer({ min: 68, max: 65_535 }),
  up: fc.boolean(),
  alias: fc.constantFrom('', 'rack 3: uplink/b', 'Schrank Süd'),
})

test('a mark says whose a link is, and how a device was, and is no other alias of ours', (t) => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 33n }), id, token, fc.option(device, { nil: undefined }), (host, endpointId, networkId, before) => {
      const mark = { host, endpointId, networkId, ...(before === undefined ? {} : { device: before }) }
      const alias = markOf(mark)
      t.deepEqual(parseMark(alias), mark)
      t.is(parseEndpointAlias(alias), undefined)
      t.true(Buffer.byteLength(alias) < 256)
    }),
  )
})

test("an alias that does not fit into the kernel's is not kept, all else is", (t) => {
  const mark = { host: 4_026_531_840n, endpointId: 'e'.repeat(64), networkId: 'n'.repeat(32) }
  const before = { name: 'enp59s0f0np0', mac: '02:00:00:00:00:01', mtu: 9000, up: true, alias: 'x'.repeat(200) }
  const alias = markOf({ ...mark, device: before })
  t.true(alias.length < 256)
  t.deepEqual(parseMark(alias), { ...mark, device: { ...before, alias: '' } })
})

test('what others write into an alias is no mark', (t) => {
  for (const alias of ['', 'heddle:e:n', 'heddle-net:n', 'heddle-in:', 'heddle-in:x::e:n', 'uplink']) t.is(parseMark(alias), undefined, alias)
})
