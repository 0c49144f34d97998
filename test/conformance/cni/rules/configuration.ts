/** The network configuration on stdin, and what is passed in it beside the plugin's own keys. */
import { expect } from '../../report.ts'
import { refused, rule } from '../trial.ts'

const objects = 'section 1, Plugin configuration objects'

export const configurationRules = [
  rule('CONF-1', 'section 2, Errors', 'a configuration that is no JSON is refused with code 6', async (trial) => {
    refused(await trial.call('ADD', { ...(await trial.container()), config: '{"cniVersion": ' }), 'ADD with half a configuration', [6])
  }),
  rule('CONF-2', 'section 2, Errors', 'an empty stdin is refused with code 6', async (trial) => {
    refused(await trial.call('ADD', { ...(await trial.container()), config: '' }), 'ADD with an empty stdin', [6])
  }),
  rule('CONF-3', objects, 'a configuration without a name is refused', async (trial) => {
    refused(await trial.call('ADD', { ...(await trial.container()), config: trial.subject.config({ name: undefined }) }), 'ADD without a name')
  }),
  rule('CONF-4', objects, 'a network name that does not begin with a letter or digit, or has other signs than _ . -, is refused', async (trial) => {
    for (const name of ['-a', '../a', 'a b', 'a/b', 'a:b']) {
      refused(await trial.call('ADD', { ...(await trial.container()), config: trial.subject.config({ name }) }), `ADD with the name ${JSON.stringify(name)}`)
    }
  }),
  rule('CONF-5', objects, 'what a plugin does not know of args is ignored', async (trial) => {
    const args = { 'org.example.conformance': { labels: [{ key: 'app', value: 'weave' }] }, cni: { labels: [{ key: 'app', value: 'weave' }] } }
    await trial.attach({ config: trial.subject.config({ args }) })
  }),
  rule('CONF-6', 'conventions, CNI_ARGS', 'the arguments a Kubernetes runtime sends, with IgnoreUnknown, are taken', async (trial) => {
    const container = await trial.container()
    const args = 'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=5f0c'
    const outcome = await trial.call('ADD', container, { args })
    expect(outcome.exitCode === 0, `ADD failed: ${outcome.stdout}${outcome.stderr}`)
  }),
  rule('CONF-7', 'section 3, Deriving runtimeConfig', 'a runtimeConfig of capabilities that the plugin did not ask for does no harm', async (trial) => {
    await trial.attach({ config: trial.subject.config({ runtimeConfig: { 'org.example.conformance': ['a'] } }) })
  }),
]
