/** What sysfs refuses, as errors of the catalogue. */
import { HeddleError } from '@heddle/core'

export interface Attempt {
  readonly path: string
  readonly value?: string
  readonly field?: string
  /** What to do about an errno where that is known better than in general. */
  readonly remedies?: Readonly<Record<string, string>>
}

const readOnly = 'run netns-wiring as root and with /sys mounted writable (a container needs it mounted from the host, not read-only)'
const remedies: Readonly<Record<string, string>> = {
  EACCES: readOnly,
  EPERM: readOnly,
  EROFS: readOnly,
  ENOENT: 'the device is gone, or its driver has no such file',
}

/**
 * The kernel's name of what it refused with. libuv says ENOTSUP for errno 95 (EOPNOTSUPP, what a netdev without a switch answers),
 * and has no name for the kernel's own: 524 (ENOTSUPP), 517 (E517, a driver that must be tried later).
 */
export function errnoOf(error: unknown): string {
  const { code = '' } = error instanceof Error ? (error as NodeJS.ErrnoException) : {}
  if (code === 'ENOTSUP') return 'EOPNOTSUPP'
  if (code === 'Unknown system error -524') return 'ENOTSUPP'
  return code.replace(/^Unknown system error -(\d+)$/, 'E$1')
}

/** `kernel-refused` with errno, path and value in its details; what is no refusal of the kernel stays what it is. */
export function refused(error: unknown, what: string, attempt: Attempt): HeddleError {
  if (HeddleError.is(error)) return error
  const errno = errnoOf(error)
  if (!/^E[A-Z0-9]+$/.test(errno)) return HeddleError.from(error)
  return new HeddleError('kernel-refused', `the kernel refused ${what}: ${errno}`, {
    field: attempt.field,
    remedy: attempt.remedies?.[errno] ?? remedies[errno],
    details: { errno, path: attempt.path, ...(attempt.value === undefined ? {} : { value: attempt.value.trim() }) },
    cause: error,
  })
}

/** A refusal that is known before the kernel is asked. */
export function refusal(errno: string, what: string, attempt: Attempt): HeddleError {
  return refused(Object.assign(new Error(errno), { code: errno }), what, attempt)
}

/** The same failure, saying besides that what was put back was not put back entirely. */
export function withUndo(error: HeddleError, undo: unknown): HeddleError {
  const { message } = HeddleError.from(undo)
  return new HeddleError(error.code, `${error.message}; putting back what was failed as well: ${message}`, {
    field: error.field,
    remedy: error.remedy,
    details: { ...error.details, undo: message },
    cause: error,
  })
}
