/** prevResult: the plugin as one of a list. */
import { expect, skip } from '../../report.ts'
import { addressesIn, readResult } from '../result.ts'
import { quiet, refused, rule, type Trial } from '../trial.ts'
import { isAtLeast } from '../versions.ts'

const section = 'section 2, ADD'

/** What a plugin before this one could have made. */
function earlier(trial: Trial, netns: string): Record<string, unknown> {
  if (!isAtLeast(trial.version, '0.3.0')) skip('the plugin supports no version that has prevResult')
  return {
    cniVersion: trial.version,
    interfaces: [{ name: 'earlier0', mac: '02:00:00:00:00:01', sandbox: netns }],
    ips: [{ address: '203.0.113.7/24', interface: 0, ...(isAtLeast(trial.version, '1.0.0') ? {} : { version: '4' }) }],
    routes: [{ dst: '198.51.100.0/24' }],
    dns: {},
  }
}

export const chainRules = [
  rule('CHAIN-1', section, 'what earlier plugins of the list made is in the result', async (trial) => {
    const container = await trial.container()
    const config = trial.subject.config({ prevResult: earlier(trial, container.netns) })
    const { result } = await trial.attached({ ...container, config })
    const { interfaces, ips } = readResult(result)
    expect(
      interfaces.some(({ name }) => name === 'earlier0'),
      `interfaces are ${JSON.stringify(interfaces)}`,
    )
    expect(addressesIn(result).includes('203.0.113.7/24'), `ips are ${JSON.stringify(ips)}`)
  }),
  rule('CHAIN-2', section, 'the indexes of ips point to the right interfaces also behind those of earlier plugins', async (trial) => {
    const container = await trial.container()
    const config = trial.subject.config({ prevResult: earlier(trial, container.netns) })
    const { result } = await trial.attached({ ...container, config })
    const { interfaces, ips } = readResult(result)
    for (const { address, interface: index } of ips) {
      if (index === undefined) continue
      const name = interfaces[index]?.name
      const wanted = address === '203.0.113.7/24' ? 'earlier0' : container.ifname
      expect(name === wanted, `${address} points to ${name ?? 'no interface'} instead of ${wanted}`)
    }
  }),
  rule('CHAIN-3', 'section 2, Errors', 'a prevResult that is none is refused, and nothing is made', async (trial) => {
    const container = await trial.container()
    const before = await trial.hostLinks()
    refused(await trial.call('ADD', { ...container, config: trial.subject.config({ prevResult: { cniVersion: trial.version, ips: 'none' } }) }), 'ADD')
    const left = await trial.newLinksSince(before)
    expect(left.length === 0, `left on the host: ${left.join(', ')}`)
  }),
  rule('CHAIN-4', 'section 3, Deleting an attachment', 'DEL takes the result of the whole list as prevResult', async (trial) => {
    if (!isAtLeast(trial.version, '0.4.0')) skip(`the plugin supports CNI up to ${trial.version}`)
    const attached = await trial.attach()
    const before = earlier(trial, attached.netns)
    const own = attached.result
    const prevResult = {
      ...own,
      interfaces: [...(own.interfaces ?? []), ...(before['interfaces'] as object[])],
      routes: [...(own.routes ?? []), ...(before['routes'] as object[])],
    }
    quiet(await trial.call('DEL', { ...attached, config: trial.subject.config({ prevResult }) }), 'DEL')
  }),
  rule('CHAIN-5', 'section 3, Checking an attachment', 'CHECK takes the result of the whole list as prevResult', async (trial) => {
    trial.needs('CHECK')
    const attached = await trial.attach()
    const own = attached.result
    const prevResult = { ...own, interfaces: [...(own.interfaces ?? []), { name: 'later0' }] }
    quiet(await trial.call('CHECK', { ...attached, config: trial.subject.config({ prevResult }) }), 'CHECK')
  }),
]
