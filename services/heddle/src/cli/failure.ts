/** Any failure as text for people and as an exit code. gRPC failures carry the Heddle failure the gateway sent along. */
import { Failure } from '@heddle/contract'
import { type ErrorCode, fromFailure, HeddleError } from '@heddle/core'
import { exitCodes } from './exit-codes.ts'

/** google.rpc.Code numbers that a transport produces by itself. */
const codeOfStatus: Readonly<Record<number, ErrorCode>> = {
  1: 'cancelled',
  3: 'invalid-argument',
  4: 'deadline-exceeded',
  12: 'unsupported',
  14: 'unavailable',
}

interface GrpcFailure {
  readonly code: number
  readonly details: string
  readonly metadata?: { get(key: string): readonly (string | Buffer)[] }
}

export function describe(thrown: unknown): { readonly text: string; readonly exitCode: number } {
  const error = asHeddleError(thrown)
  const where = error.field === undefined ? '' : ` (${error.field})`
  const remedy = error.remedy === undefined ? '' : `  ${error.remedy}\n`
  return { text: `heddle: ${error.message}${where}\n${remedy}`, exitCode: exitCodeOf(error) }
}

export function asHeddleError(thrown: unknown): HeddleError {
  if (!isGrpcFailure(thrown)) return HeddleError.from(thrown)
  const sent = thrown.metadata?.get('heddle-failure-bin')[0]
  if (Buffer.isBuffer(sent)) return fromFailure(Failure.decode(sent))
  const code = codeOfStatus[thrown.code] ?? 'internal'
  if (code !== 'unavailable') return new HeddleError(code, thrown.details)
  return new HeddleError(code, 'the gateway of this host does not answer', {
    remedy: `is \`heddle up\` running here, and is this its socket (--socket, HEDDLE_SOCKET)? ${thrown.details}`,
  })
}

function isGrpcFailure(thrown: unknown): thrown is GrpcFailure & Error {
  return thrown instanceof Error && typeof (thrown as Partial<GrpcFailure>).code === 'number' && typeof (thrown as Partial<GrpcFailure>).details === 'string'
}

function exitCodeOf(error: HeddleError): number {
  if (error.code.endsWith('-unknown')) return exitCodes.notFound
  if (error.retryable) return exitCodes.unavailable
  // google.rpc INVALID_ARGUMENT and OUT_OF_RANGE.
  if (error.kind.grpc === 3 || error.kind.grpc === 11) return exitCodes.usage
  return exitCodes.failed
}
