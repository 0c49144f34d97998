/** The error object, over failures that any plugin can be brought to. */
import type { CniOutcome } from '@heddle/testkit'
import { expect } from '../../report.ts'
import { rule, said, type Trial } from '../trial.ts'

const section = 'section 5, Error'
const wellKnown = new Set([1, 2, 3, 4, 5, 6, 7, 11])

async function failures(trial: Trial): Promise<(readonly [what: string, outcome: CniOutcome])[]> {
  const container = await trial.container()
  const add = (more: object, env = {}) => trial.call('ADD', { ...container, ...more }, { env })
  return [
    ['a configuration that is no JSON', await add({ config: '{' })],
    ['an unknown version', await add({ config: trial.subject.config({}, '99.0.0') })],
    ['no container id', await add({}, { CNI_CONTAINERID: '' })],
    ['a namespace that is not there', await add({ netns: '/run/netns/never-was' })],
  ]
}

async function each(trial: Trial, holds: (error: any, outcome: CniOutcome) => boolean): Promise<void> {
  for (const [what, outcome] of await failures(trial)) expect(holds(outcome.json ?? {}, outcome), `${what}: ${said(outcome)}`)
}

export const errorRules = [
  rule('ERROR-1', section, 'a failure ends with an exit code that is not 0', (trial) => each(trial, (_, { exitCode }) => exitCode > 0)),
  rule('ERROR-2', section, 'a failure prints one JSON object on stdout and nothing else', (trial) =>
    each(trial, (_, { json }) => typeof json === 'object' && json !== null && !Array.isArray(json)),
  ),
  rule('ERROR-3', section, 'the error object has a numeric code', (trial) => each(trial, ({ code }) => Number.isInteger(code))),
  rule('ERROR-4', section, 'the error object has a message', (trial) => each(trial, ({ msg }) => typeof msg === 'string' && msg !== '')),
  rule('ERROR-5', section, 'the error object has the cniVersion', (trial) =>
    each(trial, ({ cniVersion }) => typeof cniVersion === 'string' && cniVersion !== ''),
  ),
  rule('ERROR-6', section, "codes below 100 are the specification's own", (trial) =>
    each(trial, ({ code }) => Number.isInteger(code) && (code >= 100 || wellKnown.has(code))),
  ),
  rule('ERROR-7', section, 'details, where they are given, are text', (trial) =>
    each(trial, ({ details, msg }) => msg !== undefined && (details === undefined || typeof details === 'string')),
  ),
]
