/** GC: it removes what is in no list of valid attachments, and nothing else. */
import { run } from '@heddle/testkit'
import { expect } from '../../report.ts'
import { linkOf, stateOf } from '../kernel.ts'
import { addressesIn } from '../result.ts'
import { type Attached, type Container, quiet, refused, rule, said, type Trial } from '../trial.ts'

const section = 'section 2, GC'

/** The network's own, so that the list names all that is attached to it. */
function gc(trial: Trial, valid: readonly Container[], more: object = {}) {
  const list = valid.map(({ containerId: containerID, ifname }) => ({ containerID, ifname }))
  return trial.call('GC', { config: trial.subject.config({ 'cni.dev/valid-attachments': list, ...more }) })
}

/** Its link on the host is gone, and so is the interface in the sandbox. */
async function expectGone(trial: Trial, { netns, ifname }: Attached, before: ReadonlySet<string>): Promise<void> {
  expect((await linkOf(netns, ifname)) === undefined, `${ifname} is still in the sandbox`)
  const left = await trial.newLinksSince(before)
  expect(left.length === 0, `left on the host: ${left.join(', ')}`)
}

export const gcRules = [
  rule('GC-1', section, 'GC keeps every attachment of the list', async (trial) => {
    trial.needs('GC')
    const all = [await trial.attach()]
    if (!trial.subject.options.exclusive) all.push(await trial.attach())
    const look = async () => (await Promise.all(all.map(({ netns }) => stateOf(netns)))).join()
    const before = await look()
    quiet(await gc(trial, all), 'GC')
    const after = await look()
    expect(after === before, `the sandboxes were\n${before}\nand are\n${after}`)
    for (const attached of all)
      quiet(await trial.call('CHECK', { ...attached, config: trial.subject.config({ prevResult: attached.result }) }), 'CHECK of a valid attachment')
  }),
  rule('GC-2', section, 'GC removes an attachment that is not in the list', async (trial) => {
    trial.needs('GC')
    trial.needsSeveral()
    const valid = await trial.attach()
    const before = await trial.hostLinks()
    const stale = await trial.attach()
    quiet(await gc(trial, [valid]), 'GC')
    await expectGone(trial, stale, before)
    expect((await linkOf(valid.netns, valid.ifname))?.up === true, 'the valid one is gone too')
  }),
  rule('GC-3', section, 'GC removes an attachment whose namespace is gone', async (trial) => {
    trial.needs('GC')
    const before = await trial.hostLinks()
    const stale = await trial.attach()
    await run(['ip', 'netns', 'delete', stale.netns.slice('/run/netns/'.length)])
    quiet(await gc(trial, []), 'GC')
    const left = await trial.newLinksSince(before)
    expect(left.length === 0, `left on the host: ${left.join(', ')}`)
  }),
  rule('GC-4', section, 'GC frees the addresses of what it removes', async (trial) => {
    trial.needs('GC')
    const stale = await trial.attach()
    trial.needsOwnAddress(stale.result)
    quiet(await gc(trial, []), 'GC')
    const wanted = addressesIn(stale.result)[0]?.split('/')[0] ?? ''
    const outcome = await trial.call('ADD', await trial.container(), { args: `IgnoreUnknown=1;IP=${wanted}` })
    expect(outcome.exitCode === 0, `${wanted} cannot be given to another container: ${said(outcome)}`)
  }),
  rule('GC-5', section, 'an interface of a container goes although another one of it is valid', async (trial) => {
    trial.needs('GC')
    trial.needsSeveral()
    const valid = await trial.attach()
    const before = await trial.hostLinks()
    const stale = await trial.attached({ ...valid, ifname: `${valid.ifname}b` })
    quiet(await gc(trial, [valid]), 'GC')
    await expectGone(trial, stale, before)
    expect((await linkOf(valid.netns, valid.ifname))?.up === true, 'the valid one is gone too')
  }),
  rule('GC-6', section, 'GC again, and with nothing there, succeeds', async (trial) => {
    trial.needs('GC')
    await trial.attach()
    for (const what of ['GC', 'the second GC']) quiet(await gc(trial, []), what)
  }),
  rule('GC-7', section, 'an attachment that GC removed can still be deleted, and be made again', async (trial) => {
    trial.needs('GC')
    const stale = await trial.attach()
    quiet(await gc(trial, []), 'GC')
    quiet(await trial.call('DEL', stale), 'DEL')
    await trial.attached(stale)
  }),
  rule('GC-8', section, 'GC in a version older than 1.1.0 is refused', async (trial) => {
    const old = trial.subject.versions.findLast((version) => version !== '1.1.0') ?? '1.0.0'
    const config = trial.subject.config({ 'cni.dev/valid-attachments': [] }, old)
    refused(await trial.call('GC', { config }), `GC in ${old}`, trial.subject.versions.includes('1.1.0') ? [1] : [])
  }),
]
