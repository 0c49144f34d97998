/**
 * Header blocks of NATS messages (ADR-4): `NATS/1.0`, then lines as in HTTP. Written here because the library's header
 * object canonicalises and searches on each `set`, on the path every request takes.
 */
import { headerNames, type RequestHeaders } from './wire.ts'

export function encodeRequestHeaders(headers: RequestHeaders): Uint8Array {
  let text = `NATS/1.0\r\n${headerNames.budget}: ${headers.budgetMs}\r\n`
  if (headers.key !== '') text += `${headerNames.key}: ${oneLine(headers.key)}\r\n`
  if (headers.traceparent !== '') text += `${headerNames.traceparent}: ${headers.traceparent}\r\n`
  if (headers.tracestate !== '') text += `${headerNames.tracestate}: ${oneLine(headers.tracestate)}\r\n`
  return Buffer.from(`${text}\r\n`)
}

export function encodeError(code: string): Uint8Array {
  return Buffer.from(`NATS/1.0\r\n${headerNames.error}: ${code}\r\n\r\n`)
}

export function decodeHeaders(headers: Iterable<[string, string[]]> | undefined): RequestHeaders {
  const decoded: RequestHeaders = { budgetMs: Number.NaN, key: '', traceparent: '', tracestate: '' }
  if (headers === undefined) return decoded
  for (const [name, values] of headers) {
    const value = values[0] ?? ''
    if (name === headerNames.budget) decoded.budgetMs = Number.parseFloat(value)
    else if (name === headerNames.key) decoded.key = value
    else if (name === headerNames.traceparent) decoded.traceparent = value
    else if (name === headerNames.tracestate) decoded.tracestate = value
  }
  return decoded
}

/** A value must not be able to end its line and start a header of its own. */
function oneLine(value: string): string {
  return /[\r\n]/.test(value) ? value.replace(/[\r\n]+/g, ' ') : value
}
