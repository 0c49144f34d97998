import { BinaryWriter } from '@bufbuild/protobuf/wire'
import type { Codec } from './services.ts'

/** Keeps the room it has grown to; a new one would be copied at every doubling on its way to the size of its message. */
const writer = new BinaryWriter()

/** A message as bytes. */
export function encodeMessage<T>(codec: Codec<T>, message: T): Uint8Array {
  // Also forgets the half of a message that could not be written whole.
  writer.finish()
  return codec.encode(message, writer).finish()
}
