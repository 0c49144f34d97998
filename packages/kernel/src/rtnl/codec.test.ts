import { isIP } from 'node:net'
import test from 'ava'
import fc from 'fast-check'
import { readElements } from '../nfnl/elements.ts'
import { readAck } from './ack.ts'
import { readAddress, readRoute } from './address.ts'
import { formatAddress, formatMac, parseAddress, parseMac, parsePrefix } from './inet.ts'
import { newLink } from './link-build.ts'
import { readAltNames, readLink, readLinkNotice } from './link-parse.ts'
import { readEntry } from './neighbour.ts'
import { readVfs } from './vf.ts'
import { InvalidValue, MalformedMessage, MessageReader, MessageWriter } from './wire.ts'

const readers = [readLink, readLinkNotice, readAltNames, readVfs, readAddress, readRoute, readEntry, readElements, readAck]

/** Reads a buffer as everything it might be. Only MalformedMessage may come out. */
function readAll(bytes: Uint8Array): void {
  for (const read of readers) {
    try {
      const reader = new MessageReader(bytes)
      reader.eachMessage((message) => read(reader, message))
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error
    }
  }
}

test('random bytes are read or refused: no other error, nothing beyond the end, no endless loop', (t) => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), readAll), { numRuns: 3000 })
  t.pass()
})

test('a message with random payload and attribute lengths is read or refused', (t) => {
  const payload = fc.uint8Array({ maxLength: 200 })
  const attributes = fc.array(fc.record({ type: fc.nat(70), length: fc.nat(40), bytes: fc.uint8Array({ maxLength: 40 }) }), { maxLength: 8 })
  fc.assert(
    fc.property(fc.constantFrom(2, 3, 16, 17, 20, 24, 28, 0xa0c), fc.nat(0xffff), payload, attributes, (type, flags, head, list) => {
      const writer = new MessageWriter()
      writer.message(type, flags, 1, () => {
        for (const byte of head) writer.u8(byte)
        for (const { type: attribute, length, bytes } of list) {
          writer.u16(length).u16(attribute)
          for (const byte of bytes) writer.u8(byte)
        }
      })
      readAll(writer.bytes)
    }),
    { numRuns: 3000 },
  )
  t.pass()
})

test('a real message with one byte changed is read or refused', (t) => {
  const writer = new MessageWriter()
  newLink(writer, 1, { name: 'v0', alias: 'heddle:a:b', mtu: 1450, group: 7 }, { kind: 'vxlan', vni: 9, local: 'fd00::1', port: 4789 })
  const original = Uint8Array.from(writer.bytes)
  t.like(readLink(new MessageReader(original), { type: 16, flags: 0, sequence: 1, from: 16, to: original.length }), {
    name: 'v0',
    alias: 'heddle:a:b',
    mtu: 1450,
    group: 7,
    kind: 'vxlan',
    vxlan: { vni: 9, local: 'fd00::1', port: 4789, learning: false },
  })
  for (let at = 0; at < original.length; at++) {
    for (const value of [0, 1, 3, 0x7f, 0xff]) {
      const changed = Uint8Array.from(original)
      changed[at] = value
      readAll(changed)
    }
  }
})

test('a buffer that grows in the middle of a message keeps every byte of it', (t) => {
  const writer = new MessageWriter()
  for (let sequence = 1; sequence <= 5000; sequence++) newLink(writer, sequence, { name: `v${sequence}` }, { kind: 'bridge' })
  const names: string[] = []
  const reader = new MessageReader(writer.bytes)
  reader.eachMessage((message) => names.push(readLink(reader, message).name))
  t.deepEqual(
    names,
    Array.from({ length: 5000 }, (_, index) => `v${index + 1}`),
  )
})

test('addresses keep their value through text, and the text is canonical', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }), sparse), (bytes) => {
      const text = formatAddress(bytes)
      const canonical = bytes.length === 4 ? text : new URL(`http://[${text}]/`).hostname.slice(1, -1)
      return isIP(text) !== 0 && Buffer.compare(parseAddress(text), bytes) === 0 && (text.startsWith('::ffff:') || canonical === text)
    }),
    { numRuns: 2000 },
  )
  t.is(formatAddress(parseAddress('::FFFF:10.0.0.1')), '::ffff:10.0.0.1')
  t.is(formatAddress(parseAddress('1:0:0:2:0:0:0:3')), '1:0:0:2::3')
  t.is(formatMac(parseMac('02:aB:00:00:00:0F')), '02:ab:00:00:00:0f')
})

/** Mostly zeros, so that runs of them are met. */
const sparse = fc.array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 }).map((bytes) => Uint8Array.from(bytes))

test('text that is no address is refused as such, whatever it is', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f:.]{1,45}$/)), (text) => {
      let accepted = true
      try {
        parseAddress(text)
      } catch (error) {
        if (!(error instanceof InvalidValue)) throw error
        accepted = false
      }
      return accepted === isIP(text) > 0 || text.includes('%')
    }),
    { numRuns: 3000 },
  )
  for (const text of ['10.0.0.1', '10.0.0.1/', '10.0.0.1/33', '10.0.0.1/x', 'fd00::/129', '/8'])
    t.throws(() => parsePrefix(text), { instanceOf: InvalidValue }, text)
})
