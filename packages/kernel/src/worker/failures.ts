/** Why a request failed, in a form that crosses the thread boundary. */
import { constants } from 'node:os'
import { InvalidValue, MalformedMessage } from '../rtnl/wire.ts'

export type Failure =
  /** The kernel said no. `end` names the veth end whose name was taken, `setting` the one of a VF that was not taken. */
  | {
      readonly kind: 'refused'
      readonly index: number
      readonly errno: string
      readonly text: string
      readonly end?: 'link' | 'peer'
      readonly setting?: string
    }
  | { readonly kind: 'netns-gone'; readonly index: number; readonly path: string; readonly reason: string }
  | { readonly kind: 'invalid'; readonly index: number; readonly field: string; readonly text: string }
  /** May work when tried again. */
  | { readonly kind: 'unavailable'; readonly text: string }
  | { readonly kind: 'expired' }
  | { readonly kind: 'internal'; readonly text: string }

/** errno names the kernel uses beyond those of POSIX (linux/errno.h). */
const kernelOnly: Readonly<Record<number, string>> = { 512: 'ERESTARTSYS', 524: 'ENOTSUPP' }
const names = new Map<number, string>(Object.entries(constants.errno).map(([name, number]) => [number, name]))
// Two names share a number on Linux; these are the ones man pages use for sockets.
names.set(11, 'EAGAIN').set(95, 'EOPNOTSUPP')

export function errnoName(errno: number): string {
  return names.get(errno) ?? kernelOnly[errno] ?? `E${errno}`
}

export class SystemCallFailure extends Error {
  override readonly name = 'SystemCallFailure'
  readonly errno: string

  constructor(call: string, errno: number) {
    super(`${call}: ${errnoName(errno)}`)
    this.errno = errnoName(errno)
  }
}

/** The kernel refused a request. */
export class Refused extends Error {
  override readonly name = 'Refused'
  readonly errno: string
  readonly text: string
  readonly part: { readonly end?: 'link' | 'peer'; readonly setting?: string }

  constructor(errno: string, text: string, part: Refused['part'] = {}) {
    super(text === '' ? errno : `${errno}: ${text}`)
    this.errno = errno
    this.text = text
    this.part = part
  }
}

export class NamespaceGone extends Error {
  override readonly name = 'NamespaceGone'
  readonly path: string

  constructor(path: string, reason: string) {
    super(reason)
    this.path = path
  }
}

/** No answer, an answer overrun, a dump that never held still. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable'
}

/** Nobody waits for it any more. */
export class Expired extends Error {}

/** `index` is the step at fault where there are steps. */
export function toFailure(error: unknown, index = 0): Failure {
  if (error instanceof Refused) return { kind: 'refused', index, errno: error.errno, text: error.text, ...error.part }
  if (error instanceof SystemCallFailure) return { kind: 'refused', index, errno: error.errno, text: error.message }
  if (error instanceof NamespaceGone) return { kind: 'netns-gone', index, path: error.path, reason: error.message }
  if (error instanceof InvalidValue) return { kind: 'invalid', index, field: error.field, text: error.message }
  if (error instanceof Unavailable || error instanceof MalformedMessage) return { kind: 'unavailable', text: error.message }
  if (error instanceof Expired) return { kind: 'expired' }
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  if (typeof code === 'string' && /^E[A-Z0-9]+$/.test(code)) return { kind: 'refused', index, errno: code, text: (error as Error).message }
  return { kind: 'internal', text: error instanceof Error ? (error.stack ?? error.message) : String(error) }
}
