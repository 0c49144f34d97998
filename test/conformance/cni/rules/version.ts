/** VERSION, and what a plugin says of itself with it. */
import { expect } from '../../report.ts'
import { rule, said } from '../trial.ts'
import { isKnown } from '../versions.ts'

const section = 'section 2, VERSION'

export const versionRules = [
  rule('VERSION-1', section, 'VERSION needs no variable but CNI_COMMAND and prints cniVersion and supportedVersions', async (trial) => {
    const outcome = await trial.subject.call({ command: 'VERSION', config: { cniVersion: trial.version } })
    expect(outcome.exitCode === 0, said(outcome))
    expect(typeof outcome.json?.cniVersion === 'string', `cniVersion is missing: ${said(outcome)}`)
    expect(Array.isArray(outcome.json?.supportedVersions), `supportedVersions is missing: ${said(outcome)}`)
  }),
  rule('VERSION-2', 'section 5, VERSION success', 'supportedVersions are versions of the specification, each once', async (trial) => {
    const { json } = await trial.subject.call({ command: 'VERSION', config: { cniVersion: trial.version } })
    const listed = (json?.supportedVersions ?? []) as unknown[]
    const unknown = listed.filter((version) => !isKnown(version))
    expect(listed.length > 0 && unknown.length === 0, `supported: ${JSON.stringify(listed)}`)
    expect(new Set(listed).size === listed.length, `one is listed twice: ${JSON.stringify(listed)}`)
  }),
  rule(
    'VERSION-3',
    'section 1, Version considerations',
    'a configuration in a version that is none is refused with code 1, and nothing is made',
    async (trial) => {
      const container = await trial.container()
      const before = await trial.hostLinks()
      const outcome = await trial.call('ADD', { ...container, config: trial.subject.config({}, '99.0.0') })
      expect(outcome.exitCode !== 0 && outcome.json?.code === 1, said(outcome))
      const left = await trial.newLinksSince(before)
      expect(left.length === 0, `left on the host: ${left.join(', ')}`)
    },
  ),
  rule('VERSION-4', section, 'VERSION prints one JSON object and nothing else', async (trial) => {
    const outcome = await trial.subject.call({ command: 'VERSION', config: { cniVersion: trial.version } })
    expect(typeof outcome.json === 'object', `not one JSON document: ${said(outcome)}`)
  }),
]
