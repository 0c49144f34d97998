/** STATUS. That it fails when an ADD could not be served is each plugin's own business to bring about. */
import { quiet, refused, rule } from '../trial.ts'

const section = 'section 2, STATUS'

export const statusRules = [
  rule('STATUS-1', section, 'STATUS of a network that ADD can serve succeeds, needs nothing but CNI_COMMAND and prints nothing', async (trial) => {
    trial.needs('STATUS')
    quiet(await trial.call('STATUS', {}, { env: { CNI_PATH: trial.subject.options.path } }), 'STATUS')
  }),
  rule('STATUS-2', section, 'STATUS in a version older than 1.1.0 is refused', async (trial) => {
    const old = trial.subject.versions.findLast((version) => version !== '1.1.0') ?? '1.0.0'
    refused(await trial.call('STATUS', { config: trial.subject.config({}, old) }), `STATUS in ${old}`, trial.subject.versions.includes('1.1.0') ? [1] : [])
  }),
  rule('STATUS-3', section, 'no operation depends on a STATUS before it, and STATUS keeps succeeding while containers come and go', async (trial) => {
    trial.needs('STATUS')
    const attached = await trial.attach()
    quiet(await trial.call('STATUS', {}), 'STATUS with a container attached')
    quiet(await trial.call('DEL', attached), 'DEL')
    quiet(await trial.call('STATUS', {}), 'STATUS after DEL')
  }),
]
