/**
 * What the launcher and the gateway say to each other on `cni.sock`, once per connection; lengths are big-endian u32.
 * Request: "HCN1", length and bytes of the environment (KEY=VALUE, each ended by NUL), length and bytes of stdin.
 * Answer: exit code, length and bytes of stdout. Before it any number of orders to run a plugin: 256, length and bytes of its
 * name, the milliseconds it has, variables that replace the launcher's own, an empty text (each ended by NUL) and its stdin;
 * the launcher answers its exit status (256: it is nowhere in CNI_PATH; 257: it was ended), length and bytes of its stdout.
 * deploy/cni-launcher/heddle-cni.c is the other side.
 */
import { invalid } from '@heddle/core'

const magic = Buffer.from('HCN1')
const maxEnvironmentBytes = 256 * 1024
const maxStdinBytes = 1024 * 1024
/** In place of an exit code: an order. */
export const runPlugin = 256

export interface CniRequest {
  readonly env: ReadonlyMap<string, string>
  readonly stdin: string
}

export interface PluginOrder {
  readonly plugin: string
  readonly timeoutMs: number
  readonly env: ReadonlyMap<string, string>
  readonly stdin: string
}

export interface PluginOutcome {
  /** Of the process, `noPlugin` or `pluginEnded`. */
  readonly status: number
  readonly stdout: string
}

export const noPlugin = 256
export const pluginEnded = 257

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

export function encodeOrder({ plugin, timeoutMs, env, stdin }: PluginOrder): Buffer {
  const texts = [plugin, String(Math.ceil(timeoutMs)), ...[...env].map(([key, value]) => `${key}=${value}`), '']
  return Buffer.concat([u32(runPlugin), counted(Buffer.from(texts.map((text) => `${text}\0`).join('') + stdin))])
}

/** Collects what a plugin made of an order. Fails with invalid-argument on what no launcher sends. */
export class OutcomeReader {
  #bytes: Buffer = Buffer.alloc(0)

  /** The outcome, once all of it is there. */
  push(chunk: Buffer): PluginOutcome | undefined {
    const bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
    this.#bytes = bytes
    const stdout = bytes.length < 4 ? undefined : block(bytes, 4, maxStdinBytes, "plugin's stdout")
    return stdout === undefined ? undefined : { status: bytes.readUInt32BE(0), stdout: stdout.toString() }
  }
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
