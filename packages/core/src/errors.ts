/**
 * The one error class and its closed catalogue. Each door renders a code in its own dialect from this table:
 * gRPC status (google.rpc.Code), CNI error code (CNI spec 1.1.0 section "Error": 0-99 reserved, 100+ ours),
 * and for Docker the message itself.
 */
import type { Failure } from '@heddle/contract'

export interface ErrorKind {
  /** google.rpc.Code number. */
  readonly grpc: number
  /** CNI error code. */
  readonly cni: number
  /** Whether the same call may succeed later unchanged. */
  readonly retryable: boolean
}

const kind = (grpc: number, cni: number, retryable = false): ErrorKind => ({ grpc, cni, retryable })

/** Every code there is. Codes are part of the wire contract: add, never rename. */
export const errorCatalogue = {
  /** A field of the request is missing, malformed or contradicts another. */
  'invalid-argument': kind(3, 7),
  /** Understood, but this version or kernel cannot do it. */
  unsupported: kind(12, 2),
  'incompatible-cni-version': kind(3, 1),
  'invalid-environment': kind(3, 4),
  'undecodable-config': kind(3, 6),
  /** The sandbox is the host's own network namespace. */
  'host-namespace': kind(3, 8),
  'network-unknown': kind(5, 100),
  'network-exists': kind(6, 101),
  'network-in-use': kind(9, 102),
  'endpoint-unknown': kind(5, 103),
  'pool-unknown': kind(5, 104),
  'pool-overlaps': kind(6, 105),
  'pool-in-use': kind(9, 106),
  'pool-exhausted': kind(8, 107),
  'address-taken': kind(6, 108),
  'address-outside-pool': kind(11, 109),
  'mac-taken': kind(6, 110),
  'vni-taken': kind(6, 111),
  'host-unknown': kind(5, 112),
  'host-in-use': kind(9, 113),
  'netns-gone': kind(9, 114),
  'interface-exists': kind(6, 115),
  'kernel-refused': kind(13, 116),
  /** The kernel is not as recorded (CNI CHECK). */
  drifted: kind(9, 117),
  'trace-unknown': kind(5, 118),
  /** A host port is published or bound already. */
  'port-taken': kind(6, 120),
  /** No VF that suits is free; the message says how many there are and why each cannot be had. */
  'vf-exhausted': kind(8, 121),
  'vf-unknown': kind(5, 122),
  /** Somebody else holds the VF. */
  'vf-in-use': kind(9, 123),
  /** The VF would not go back to its baseline. */
  'vf-quarantined': kind(9, 124),
  /** No such device, or one that cannot have VFs. */
  'pf-unknown': kind(5, 125),
  /** VFs of the PF are in use. */
  'pf-in-use': kind(9, 126),
  'vf-pool-unknown': kind(5, 127),
  'vf-pool-exists': kind(6, 128),
  'vf-pool-in-use': kind(9, 129),
  /** The host has no such link: the parent of a network, or the device it gives away. */
  'device-unknown': kind(5, 130),
  /** The host or another endpoint uses the link in a way that excludes this use. */
  'device-in-use': kind(9, 131),
  /** A plugin that is asked for a part of a call refused it. */
  'delegate-failed': kind(9, 130),
  /** Its claims were freed because nobody recorded the endpoint in time; claim again. */
  'claim-fenced': kind(10, 11, true),
  /** Somebody else wrote first; read again. */
  conflict: kind(10, 11, true),
  /** A part this call needs does not answer. */
  unavailable: kind(14, 11, true),
  'deadline-exceeded': kind(4, 11, true),
  overloaded: kind(8, 11, true),
  cancelled: kind(1, 11, true),
  'not-implemented': kind(12, 4),
  internal: kind(13, 119),
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errorCatalogue

export interface ErrorParts {
  /** The request field at fault. */
  readonly field?: string | undefined
  /** What the operator can do about it. */
  readonly remedy?: string | undefined
  readonly details?: Readonly<Record<string, string>> | undefined
  /** Kept for logs, never sent. */
  readonly cause?: unknown
}

const brand = Symbol.for('heddle.error')

/** A failure with a code of the catalogue. `message` says what is wrong in one sentence; `remedy` what to do. */
export class HeddleError extends Error {
  readonly code: ErrorCode
  readonly field: string | undefined
  readonly remedy: string | undefined
  readonly details: Readonly<Record<string, string>>
  readonly [brand] = true

  constructor(code: ErrorCode, message: string, parts: ErrorParts = {}) {
    super(message, parts.cause === undefined ? undefined : { cause: parts.cause })
    this.name = 'HeddleError'
    this.code = code
    this.field = parts.field
    this.remedy = parts.remedy
    this.details = parts.details ?? {}
  }

  get kind(): ErrorKind {
    return errorCatalogue[this.code]
  }

  get retryable(): boolean {
    return this.kind.retryable
  }

  /** Message and remedy in one line, as a person sees it. */
  get sentence(): string {
    return this.remedy === undefined ? this.message : `${this.message}; ${this.remedy}`
  }

  static is(value: unknown): value is HeddleError {
    return typeof value === 'object' && value !== null && (value as { [brand]?: boolean })[brand] === true
  }

  /** Makes a HeddleError of whatever was thrown; what is unknown becomes `internal`, an AbortError `cancelled`. */
  static from(value: unknown): HeddleError {
    if (HeddleError.is(value)) return value
    if (value instanceof Error && value.name === 'AbortError') {
      return HeddleError.is(value.cause) ? value.cause : new HeddleError('cancelled', 'the call was cancelled', { cause: value })
    }
    const message = value instanceof Error ? value.message : String(value)
    return new HeddleError('internal', message, { cause: value, remedy: 'this is a defect in Heddle: see the log of the service that answered' })
  }
}

export function toFailure(error: HeddleError): Failure {
  return {
    code: error.code,
    message: error.message,
    retryable: error.retryable,
    field: error.field ?? '',
    remedy: error.remedy ?? '',
    details: { ...error.details },
  }
}

/** A failure from the wire; a code this version does not know becomes `internal`. */
export function fromFailure(failure: Failure): HeddleError {
  const known = Object.hasOwn(errorCatalogue, failure.code)
  return new HeddleError(known ? (failure.code as ErrorCode) : 'internal', failure.message, {
    field: failure.field || undefined,
    remedy: failure.remedy || undefined,
    details: failure.details,
  })
}

/** Shorthand for the commonest failure. */
export function invalid(field: string, message: string, remedy?: string): HeddleError {
  return new HeddleError('invalid-argument', message, { field, remedy })
}
