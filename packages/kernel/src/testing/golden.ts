/** Messages compared with the bytes that iproute2 sends, attribute for attribute. Tests only. */
import test, { type ExecutionContext } from 'ava'
import { littleEndian, MessageWriter } from '../rtnl/wire.ts'

/** The bytes were captured on a little-endian machine, and netlink is in the machine's own order. */
export function golden(title: string, body: (t: ExecutionContext) => void): void {
  test(title, (t) => {
    if (littleEndian) return body(t)
    t.log('skipped: the bytes are those of a little-endian machine')
    t.pass()
  })
}

/** Hex of what is written. */
export function bytes(build: (writer: MessageWriter) => void): string {
  const writer = new MessageWriter()
  build(writer)
  return Buffer.from(writer.bytes).toString('hex')
}

/** Hex with blanks for the reader. */
export const hex = (...parts: string[]) => parts.join('').replaceAll(' ', '')
