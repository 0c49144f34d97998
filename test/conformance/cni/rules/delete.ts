/** DEL: it takes back what ADD made, and never fails for what is gone already. */
import { rmSync, writeFileSync } from 'node:fs'
import { run } from '@heddle/testkit'
import { expect } from '../../report.ts'
import { ip, linkOf, stateOf } from '../kernel.ts'
import { type Attached, quiet, rule, type Trial } from '../trial.ts'
import { isAtLeast } from '../versions.ts'

const section = 'section 2, DEL'

const removeSandbox = (netns: string) => run(['ip', 'netns', 'delete', netns.slice('/run/netns/'.length)])

/** The configuration that a runtime gives DEL. */
function withResult(trial: Trial, { result }: Attached): Record<string, unknown> {
  return trial.subject.config(isAtLeast(trial.version, '0.4.0') ? { prevResult: result } : {})
}

async function nothingNew(trial: Trial, before: ReadonlySet<string>): Promise<void> {
  const left = await trial.newLinksSince(before)
  expect(left.length === 0, `left on the host: ${left.join(', ')}`)
}

export const deleteRules = [
  rule('DEL-1', section, 'DEL takes the interface out of the sandbox and what belonged to it off the host', async (trial) => {
    const container = await trial.container()
    const [before, host] = [await linkOf(container.netns, container.ifname), await trial.hostLinks()]
    const attached = await trial.attached(container)
    quiet(await trial.call('DEL', { ...attached, config: withResult(trial, attached) }), 'DEL')
    const after = await linkOf(attached.netns, attached.ifname)
    expect(after?.up !== true && (before !== undefined || after === undefined), `${attached.ifname} is ${after?.up ? 'up' : 'there'} in the sandbox`)
    await nothingNew(trial, host)
  }),
  rule('DEL-2', section, 'DEL prints nothing when it succeeds', async (trial) => {
    quiet(await trial.call('DEL', await trial.attach()), 'DEL')
  }),
  rule('DEL-3', section, 'a second DEL succeeds', async (trial) => {
    const attached = await trial.attach()
    quiet(await trial.call('DEL', attached), 'DEL')
    quiet(await trial.call('DEL', attached), 'the second DEL')
  }),
  rule('DEL-4', section, 'DEL of a container that was never attached succeeds', async (trial) => {
    quiet(await trial.call('DEL', await trial.container()), 'DEL')
  }),
  rule('DEL-5', section, 'DEL succeeds without prevResult', async (trial) => {
    const attached = await trial.attach()
    quiet(await trial.call('DEL', { ...attached, config: trial.subject.config() }), 'DEL')
  }),
  rule('DEL-6', section, 'DEL succeeds without CNI_NETNS', async (trial) => {
    const attached = await trial.attach()
    quiet(await trial.call('DEL', { ...attached, config: withResult(trial, attached) }, { env: { CNI_NETNS: undefined } }), 'DEL without CNI_NETNS')
    quiet(await trial.call('DEL', { ...attached, config: withResult(trial, attached) }, { netns: '' }), 'DEL with an empty CNI_NETNS')
  }),
  rule('DEL-7', section, 'DEL succeeds when the namespace is gone, and leaves nothing on the host', async (trial) => {
    const host = await trial.hostLinks()
    const attached = await trial.attach()
    await removeSandbox(attached.netns)
    quiet(await trial.call('DEL', { ...attached, config: withResult(trial, attached) }), 'DEL')
    await nothingNew(trial, host)
  }),
  rule('DEL-8', section, 'DEL succeeds when CNI_NETNS is the file of a namespace that a reboot has unmounted', async (trial) => {
    const attached = await trial.attach()
    await removeSandbox(attached.netns)
    writeFileSync(attached.netns, '')
    trial.defer(() => rmSync(attached.netns, { force: true }))
    quiet(await trial.call('DEL', { ...attached, config: withResult(trial, attached) }), 'DEL')
  }),
  rule('DEL-9', section, 'DEL succeeds when somebody else has deleted the interface', async (trial) => {
    const attached = await trial.attach()
    const deleted = await ip(attached.netns, 'link', 'delete', attached.ifname).then(
      () => true,
      () => false,
    )
    if (!deleted) await ip(attached.netns, 'link', 'set', attached.ifname, 'down')
    quiet(await trial.call('DEL', { ...attached, config: withResult(trial, attached) }), 'DEL')
  }),
  rule('DEL-10', 'section 3, Lifecycle and ordering', 'DEL succeeds after an ADD that failed', async (trial) => {
    const container = await trial.container({ netns: '/run/netns/never-was' })
    const added = await trial.call('ADD', container)
    expect(added.exitCode !== 0, 'ADD to a namespace that is not there succeeded')
    quiet(await trial.call('DEL', container), 'DEL')
  }),
  rule('DEL-11', section, 'DEL leaves the attachments of other containers alone', async (trial) => {
    trial.needsSeveral()
    const [one, two] = [await trial.attach(), await trial.attach()]
    const before = await stateOf(two.netns)
    quiet(await trial.call('DEL', one), 'DEL')
    const after = await stateOf(two.netns)
    expect(after === before, `the other sandbox was\n${before}\nand is\n${after}`)
  }),
  rule('DEL-12', 'section 3, Attachment parameters', "DEL of one interface leaves the container's other one alone", async (trial) => {
    trial.needsSeveral()
    const container = await trial.container()
    await trial.needsFreeName(container.netns)
    await trial.attached(container)
    const second = await trial.attached({ ...container, ifname: `${container.ifname}b` })
    const before = await linkOf(second.netns, container.ifname)
    quiet(await trial.call('DEL', second), 'DEL')
    const after = await linkOf(second.netns, container.ifname)
    expect(JSON.stringify(after) === JSON.stringify(before), `${container.ifname} was ${JSON.stringify(before)} and is ${JSON.stringify(after)}`)
  }),
]
