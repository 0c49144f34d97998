/**
 * What the launcher and the gateway say to each other on `cni.sock`, once per connection; lengths are big-endian u32.
 * Request: "HCN1", length and bytes of the environment (KEY=VALUE, each ended by NUL), length and bytes of stdin.
 * Answer: exit code, length and bytes of stdout. deploy/cni-launcher/heddle-cni.c is the other side.
 */
import { invalid } from '@heddle/core'

const magic = Buffer.from('HCN1')
const maxEnvironmentBytes = 256 * 1024
const maxStdinBytes = 1024 * 1024

export interface CniRequest {
  readonly env: ReadonlyMap<string, string>
  readonly stdin: string
}

/** Collects one request. Fails with invalid-argument on what no launcher sends. */
export class FrameReader {
  #bytes: Buffer = Buffer.alloc(0)

  /** The request, once all of it is there. */
  push(chunk: Buffer): CniRequest | undefined {
    const bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
    this.#bytes = bytes
    if (!magic.subarray(0, bytes.length).equals(bytes.subarray(0, magic.length))) {
      throw invalid('frame', 'the request does not begin with HCN1', 'install the launcher of this version')
    }
    const env = block(bytes, magic.length, maxEnvironmentBytes, 'environment')
    const stdin = env === undefined ? undefined : block(bytes, magic.length + 4 + env.length, maxStdinBytes, 'stdin')
    return env === undefined || stdin === undefined ? undefined : { env: environmentOf(env), stdin: stdin.toString() }
  }
}

export function encodeRequest(env: ReadonlyMap<string, string>, stdin: string): Buffer {
  const block = [...env].map(([key, value]) => `${key}=${value}\0`).join('')
  return Buffer.concat([magic, counted(Buffer.from(block)), counted(Buffer.from(stdin))])
}

export function encodeAnswer(exitCode: number, stdout: string): Buffer {
  return Buffer.concat([u32(exitCode), counted(Buffer.from(stdout))])
}

function block(bytes: Buffer, at: number, maxBytes: number, what: string): Buffer | undefined {
  if (bytes.length < at + 4) return undefined
  const length = bytes.readUInt32BE(at)
  if (length > maxBytes) throw invalid('frame', `the ${what} has ${length} bytes, more than ${maxBytes}`, 'make the network configuration smaller')
  return bytes.length < at + 4 + length ? undefined : bytes.subarray(at + 4, at + 4 + length)
}

function environmentOf(bytes: Buffer): Map<string, string> {
  const env = new Map<string, string>()
  for (const entry of bytes.toString().split('\0')) {
    const equals = entry.indexOf('=')
    if (equals > 0) env.set(entry.slice(0, equals), entry.slice(equals + 1))
  }
  return env
}

function counted(bytes: Buffer): Buffer {
  return Buffer.concat([u32(bytes.length), bytes])
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
