/** Addresses: one container's alone while it has them, and free afterwards. */
import { run } from '@heddle/testkit'
import { expect, skip } from '../../report.ts'
import { linkOf } from '../kernel.ts'
import { addressesIn, isLoopback } from '../result.ts'
import { type Attached, quiet, rule, said, type Trial } from '../trial.ts'

const section = 'section 4, IPAM delegation'
const atOnce = 8
/** A pool larger than this is not gone through. */
const rounds = 40

function expectUnique(attached: readonly Attached[]): void {
  const all = attached.flatMap(({ result }) => addressesIn(result)).filter((address) => !isLoopback(address))
  expect(new Set(all).size === all.length, `one was given twice: ${all.join(', ')}`)
}

async function several(trial: Trial): Promise<readonly Attached[]> {
  trial.needsSeveral()
  const containers = await Promise.all(Array.from({ length: atOnce }, () => trial.container()))
  const outcomes = await Promise.all(containers.map((container) => trial.call('ADD', container)))
  const attached = outcomes.map((outcome, index): Attached => {
    expect(outcome.exitCode === 0, `one of ${atOnce} ADDs at once failed: ${said(outcome)}`)
    return { ...(containers[index] as Attached), result: outcome.json }
  })
  return attached
}

/** Attaches and lets go, again and again, until `address` is given out a second time. */
async function comesBack(trial: Trial, address: string, letGo: (attached: Attached) => Promise<unknown>): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const attached = await trial.attach()
    if (addressesIn(attached.result).includes(address)) return
    await letGo(attached)
  }
  skip(`the pool has more than ${rounds} addresses`)
}

const del = async (trial: Trial, attached: Attached) => quiet(await trial.call('DEL', attached), 'DEL')

export const addressRules = [
  rule('IPAM-1', section, 'no two containers have the same address', async (trial) => {
    trial.needsSeveral()
    const attached = [await trial.attach(), await trial.attach(), await trial.attach()]
    trial.needsOwnAddress(attached[0]?.result)
    expectUnique(attached)
  }),
  rule('IPAM-2', 'section 3, Lifecycle and ordering', `${atOnce} containers are attached at once, each with an address of its own`, async (trial) => {
    const attached = await several(trial)
    for (const { netns, ifname } of attached) expect((await linkOf(netns, ifname))?.up === true, `${ifname} is not up in ${netns}`)
    expectUnique(attached)
  }),
  rule('IPAM-3', 'section 3, Lifecycle and ordering', `${atOnce} containers are detached at once, and nothing of them stays`, async (trial) => {
    const before = await trial.hostLinks()
    const attached = await several(trial)
    const outcomes = await Promise.all(attached.map((one) => trial.call('DEL', one)))
    for (const outcome of outcomes) quiet(outcome, `one of ${atOnce} DELs at once`)
    const left = await trial.newLinksSince(before)
    expect(left.length === 0, `left on the host: ${left.join(', ')}`)
  }),
  rule('IPAM-4', section, 'an address is given to nobody else before DEL, and again after it', async (trial) => {
    const first = await trial.attach()
    trial.needsOwnAddress(first.result)
    const [address = ''] = addressesIn(first.result)
    if (!trial.subject.options.exclusive) expectUnique([first, await trial.attach(), await trial.attach()])
    await del(trial, first)
    await comesBack(trial, address, (attached) => del(trial, attached))
  }),
  rule('IPAM-5', 'section 2, ADD', 'an ADD that fails keeps no address', async (trial) => {
    const first = await trial.attach()
    trial.needsOwnAddress(first.result)
    const [address = ''] = addressesIn(first.result)
    await del(trial, first)
    for (let round = 0; round < rounds; round++) {
      const failed = await trial.subject.call({ command: 'ADD', ...(await trial.container({ netns: '/run/netns/never-was' })) })
      expect(failed.exitCode !== 0, 'ADD to a namespace that is not there succeeded')
    }
    await comesBack(trial, address, (attached) => del(trial, attached))
  }),
  rule('IPAM-6', 'section 2, DEL', 'an address is given again after a DEL without a namespace', async (trial) => {
    const first = await trial.attach()
    trial.needsOwnAddress(first.result)
    const [address = ''] = addressesIn(first.result)
    const withoutSandbox = async (attached: Attached) => {
      await run(['ip', 'netns', 'delete', attached.netns.slice('/run/netns/'.length)])
      await del(trial, { ...attached, netns: '' })
    }
    await withoutSandbox(first)
    await comesBack(trial, address, withoutSandbox)
  }),
]
