/** The variables of a call: which it needs, and what may be in them. */
import type { CniCall } from '@heddle/testkit'
import { expect, skip } from '../../report.ts'
import { linkOf } from '../kernel.ts'
import { refused, rule, said, type Trial } from '../trial.ts'

const section = 'section 2, Parameters'

/** CNI_COMMAND is not among them: a plugin run without it may say what it is. */
const required = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
} as const

const missing = Object.entries(required).flatMap(([command, names]) =>
  names.map((name) =>
    rule(
      `ENV-${command}-${name.slice(4)}`,
      `section 2, ${command}`,
      `${command} without ${name} is refused with code 4 and a message that names it`,
      async (trial) => {
        const verb = command as keyof typeof required
        if (verb === 'CHECK') trial.needs('CHECK')
        const call = verb === 'ADD' ? await trial.container() : await trial.attach()
        const config = trial.subject.config('result' in call ? { prevResult: call.result } : {})
        const outcome = await trial.call(verb, { ...call, config }, { env: { [name]: undefined } })
        refused(outcome, `${command} without ${name}`, [4])
        expect(`${outcome.json.msg} ${outcome.json.details ?? ''}`.includes(name), `the message does not name it: ${said(outcome)}`)
      },
    ),
  ),
)

const commandsOfAttachments = ['ADD', 'DEL'] as const

const optionalPath = commandsOfAttachments.map((command) =>
  rule(`ENV-${command}-PATH`, `section 2, ${command}`, `CNI_PATH is optional for ${command} of a plugin that delegates nothing`, async (trial) => {
    if (typeof (trial.subject.options.config['ipam'] as any)?.type === 'string') skip('the configuration names an IPAM plugin, which is looked for in CNI_PATH')
    const container = command === 'ADD' ? await trial.container() : await trial.attach()
    const outcome = await trial.call(command, container, { env: { CNI_PATH: undefined } })
    expect(outcome.exitCode === 0, said(outcome))
  }),
)

async function refusesAll(trial: Trial, name: string, values: readonly string[], variable: keyof CniCall): Promise<void> {
  for (const value of values) {
    const outcome = await trial.call('ADD', await trial.container(), { [variable]: value })
    refused(outcome, `ADD with ${name}=${JSON.stringify(value)}`)
  }
}

export const environmentRules = [
  ...missing,
  rule('ENV-COMMAND', 'section 2, Errors', 'an unknown CNI_COMMAND is refused with code 4', async (trial) => {
    refused(await trial.call('ADD', await trial.container(), { env: { CNI_COMMAND: 'UNRAVEL' } }), 'UNRAVEL', [4])
  }),
  ...optionalPath,
  rule('ENV-ID-1', section, 'a container id that does not begin with a letter or digit, or has other signs than _ . -, is refused', (trial) =>
    refusesAll(trial, 'CNI_CONTAINERID', ['-a', '.a', '_a', '../a', 'a/b', 'a b', 'a:b'], 'containerId'),
  ),
  rule('ENV-ID-2', section, 'a container id of every allowed sign, as long as runtimes make them, is taken', async (trial) => {
    await trial.attach({ containerId: `Z9_a.b-${'0123456789abcdef'.repeat(4)}` })
  }),
  rule('ENV-IFNAME-1', section, 'an interface name that no Linux interface can have is refused', async (trial) => {
    await refusesAll(trial, 'CNI_IFNAME', ['.', '..', 'a/b', 'a:b', 'a b', 'sixteen-letters0'], 'ifname')
  }),
  rule('ENV-IFNAME-2', section, 'an interface name of 15 letters is taken', async (trial) => {
    if (trial.ifname === 'lo') skip('the only name that this plugin knows is lo')
    const ifname = 'fifteen-letters'
    const { netns } = await trial.attach({ ifname })
    expect((await linkOf(netns, ifname)) !== undefined, `there is no ${ifname} in the sandbox`)
  }),
]
