/** ADD: what it makes, and what it leaves when it fails. */
import { spawn } from 'node:child_process'
import { symlinkSync, unlinkSync } from 'node:fs'
import { expect } from '../../report.ts'
import { ip, linkOf, stateOf } from '../kernel.ts'
import { readResult } from '../result.ts'
import { refused, rule, said, type Trial } from '../trial.ts'

const section = 'section 2, ADD'

/** An ADD that must fail, in a sandbox of which it must change nothing. */
async function failsAndLeavesNothing(trial: Trial, netns: string, sandbox: string): Promise<void> {
  const container = await trial.container({ netns })
  const [before, host] = [await stateOf(sandbox), await trial.hostLinks()]
  refused(await trial.call('ADD', container), 'ADD')
  const after = await stateOf(sandbox)
  expect(after === before, `the sandbox was\n${before}\nand is\n${after}`)
  const left = await trial.newLinksSince(host)
  expect(left.length === 0, `left on the host: ${left.join(', ')}`)
}

export const addRules = [
  rule('ADD-1', section, 'ADD makes the interface CNI_IFNAME in CNI_NETNS and brings it up', async (trial) => {
    const { netns, ifname } = await trial.attach()
    const link = await linkOf(netns, ifname)
    expect(link !== undefined, `there is no ${ifname} in the sandbox`)
    expect(link.up, `${ifname} is down`)
  }),
  rule('ADD-2', 'section 5, ADD success', 'ADD prints one JSON object and nothing else', async (trial) => {
    const outcome = await trial.call('ADD', await trial.container())
    expect(outcome.exitCode === 0 && typeof outcome.json === 'object' && outcome.json !== null, said(outcome))
  }),
  rule('ADD-3', section, 'ADD fails when CNI_IFNAME is taken in the sandbox, and leaves what has it as it was', async (trial) => {
    const netns = await trial.sandbox()
    await trial.needsFreeName(netns)
    await ip(netns, 'link', 'add', trial.ifname, 'type', 'bridge')
    await failsAndLeavesNothing(trial, netns, netns)
  }),
  rule('ADD-4', section, 'ADD fails for a namespace that is not there, and leaves nothing on the host', async (trial) => {
    await failsAndLeavesNothing(trial, '/run/netns/never-was', await trial.sandbox())
  }),
  rule('ADD-5', section, 'ADD fails for a file that is no network namespace, and leaves nothing on the host', async (trial) => {
    await failsAndLeavesNothing(trial, '/etc/hostname', await trial.sandbox())
  }),
  rule(
    'ADD-6',
    'section 3, Lifecycle and ordering',
    'a second ADD of an attachment is refused or answered as the first, and harms it in no case',
    async (trial) => {
      const attached = await trial.attach()
      const before = await stateOf(attached.netns)
      const again = await trial.call('ADD', attached)
      if (again.exitCode === 0) expect(JSON.stringify(again.json) === JSON.stringify(attached.result), `another result: ${said(again)}`)
      else refused(again, 'the second ADD')
      const after = await stateOf(attached.netns)
      expect(after === before, `the sandbox was\n${before}\nand is\n${after}`)
    },
  ),
  rule('ADD-7', 'section 3, Attachment parameters', 'a container gets a second interface by another name', async (trial) => {
    trial.needsSeveral()
    const first = await trial.container()
    await trial.needsFreeName(first.netns)
    await trial.attached(first)
    await trial.attached({ ...first, ifname: `${first.ifname}b` })
    for (const name of [first.ifname, `${first.ifname}b`]) expect((await linkOf(first.netns, name))?.up === true, `${name} is not up in the sandbox`)
  }),
  rule('ADD-8', 'section 3, Lifecycle and ordering', 'an attachment can be made again once it was deleted', async (trial) => {
    const attached = await trial.attach()
    const outcome = await trial.call('DEL', attached)
    expect(outcome.exitCode === 0, `DEL failed: ${said(outcome)}`)
    await trial.attached(attached)
    expect((await linkOf(attached.netns, attached.ifname))?.up === true, `${attached.ifname} is not up in the sandbox`)
  }),
  rule('ADD-9', section, 'CNI_NETNS may be the path below /proc of a process, and the result names it so', async (trial) => {
    const named = await trial.container()
    const process = spawn('nsenter', [`--net=${named.netns}`, 'sleep', '600'], { stdio: 'ignore' })
    trial.defer(() => process.kill('SIGKILL'))
    const netns = `/proc/${process.pid}/ns/net`
    const { result } = await trial.attached({ ...named, netns })
    expect((await linkOf(named.netns, named.ifname))?.up === true, `${named.ifname} is not up in the sandbox`)
    const inside = readResult(result).interfaces.filter(({ sandbox }) => sandbox)
    expect(
      inside.every(({ sandbox }) => sandbox === netns),
      `the result says ${JSON.stringify(inside)}`,
    )
  }),
  rule('ADD-10', section, 'CNI_NETNS may be a symbolic link', async (trial) => {
    const named = await trial.container()
    const netns = `${named.netns}.link`
    symlinkSync(named.netns, netns)
    trial.defer(() => unlinkSync(netns))
    await trial.attached({ ...named, netns })
    expect((await linkOf(named.netns, named.ifname))?.up === true, `${named.ifname} is not up in the sandbox`)
  }),
]
