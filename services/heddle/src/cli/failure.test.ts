import { Failure } from '@heddle/contract'
import { HeddleError, toFailure } from '@heddle/core'
import test from 'ava'
import { exitCodes } from './exit-codes.ts'
import { describe } from './failure.ts'

function grpcFailure(code: number, details: string, failure?: HeddleError): Error {
  const sent = failure === undefined ? [] : [Buffer.from(Failure.encode(toFailure(failure)).finish())]
  return Object.assign(new Error(details), { code, details, metadata: { get: () => sent } })
}

for (const [code, exitCode] of [
  ['network-unknown', exitCodes.notFound],
  ['trace-unknown', exitCodes.notFound],
  ['invalid-argument', exitCodes.usage],
  ['address-outside-pool', exitCodes.usage],
  ['unavailable', exitCodes.unavailable],
  ['deadline-exceeded', exitCodes.unavailable],
  ['network-in-use', exitCodes.failed],
  ['internal', exitCodes.failed],
] as const) {
  test(`${code} from the gateway ends with exit code ${exitCode}`, (t) => {
    t.is(describe(grpcFailure(13, 'x', new HeddleError(code, 'x'))).exitCode, exitCode)
  })
}

test('a failure is its message with the field, and the remedy below', (t) => {
  const failure = new HeddleError('network-in-use', 'network blue has 2 endpoints', { field: 'name', remedy: 'remove its containers first' })
  t.is(describe(grpcFailure(9, 'x', failure)).text, 'heddle: network blue has 2 endpoints (name)\n  remove its containers first\n')
})

test('a gateway that does not answer is told apart from one that refuses', (t) => {
  const { text, exitCode } = describe(grpcFailure(14, 'connect ENOENT /run/heddle/heddle.sock'))
  t.is(exitCode, exitCodes.unavailable)
  t.regex(text, /does not answer\n.*heddle up.*--socket.*ENOENT/)
})
