/** CHECK: content with what ADD made, and with nothing less. */
import { expect, skip } from '../../report.ts'
import { ip, linkOf, linksOf, routesOf } from '../kernel.ts'
import { hostInterfacesIn, isV6, readResult } from '../result.ts'
import { type Attached, quiet, refused, rule, type Trial } from '../trial.ts'
import { cniVersions, isAtLeast } from '../versions.ts'

const section = 'section 2, CHECK'

const check = (trial: Trial, attached: Attached, more: object = {}) =>
  trial.call('CHECK', { ...attached, config: trial.subject.config({ prevResult: attached.result }), ...more })

/** Tampering that the kernel refuses is none: `lo` cannot be deleted or renamed. */
async function tamper(netns: string, ...args: string[]): Promise<void> {
  await ip(netns, ...args).catch((error: Error) => skip(`it could not be tampered with: ${error.message.split('\n').at(-1)}`))
}

/** CHECK succeeds, then fails once `act` has changed something. */
function finds(id: string, what: string, act: (trial: Trial, attached: Attached) => Promise<unknown>) {
  return rule(id, section, `CHECK fails when ${what}`, async (trial) => {
    trial.needs('CHECK')
    const attached = await trial.attach()
    quiet(await check(trial, attached), 'CHECK of what ADD made')
    await act(trial, attached)
    refused(await check(trial, attached), 'CHECK')
  })
}

const bridgePort = async (trial: Trial, { result }: Attached) => {
  trial.needsHostInterface(result)
  const links = await linksOf(trial.subject.host)
  const port = links.find(({ name, master }) => master !== '' && hostInterfacesIn(result).some((one) => one.name === name))
  if (port === undefined) skip('no interface of the result is the port of a bridge')
  return port.name
}

export const checkRules = [
  rule('CHECK-1', section, 'CHECK succeeds right after ADD and prints nothing', async (trial) => {
    trial.needs('CHECK')
    quiet(await check(trial, await trial.attach()), 'CHECK')
  }),
  rule('CHECK-2', section, 'CHECK changes nothing', async (trial) => {
    trial.needs('CHECK')
    const attached = await trial.attach()
    const look = async () => JSON.stringify([await linksOf(attached.netns), await routesOf(attached.netns), await linksOf(trial.subject.host)])
    const before = await look()
    quiet(await check(trial, attached), 'CHECK')
    expect((await look()) === before, `it was ${before}`)
  }),
  rule('CHECK-3', section, 'CHECK without prevResult is refused', async (trial) => {
    trial.needs('CHECK')
    refused(await check(trial, await trial.attach(), { config: trial.subject.config() }), 'CHECK without prevResult')
  }),
  rule('CHECK-4', section, 'CHECK in a version older than 0.4.0 is refused with code 1', async (trial) => {
    trial.needs('CHECK')
    const old = trial.subject.versions.filter((version) => !isAtLeast(version, '0.4.0')).at(-1)
    if (old === undefined) skip('the plugin supports none')
    const attached = await trial.attach({ config: trial.subject.config({}, old) })
    refused(await check(trial, attached, { config: trial.subject.config({ prevResult: attached.result }, old) }), `CHECK in ${old}`, [1])
  }),
  rule('CHECK-5', section, 'CHECK succeeds in every version that has it', async (trial) => {
    trial.needs('CHECK')
    for (const version of cniVersions.filter((one) => isAtLeast(one, '0.4.0') && trial.subject.versions.includes(one))) {
      const attached = await trial.attach({ config: trial.subject.config({}, version) })
      quiet(await check(trial, attached, { config: trial.subject.config({ prevResult: attached.result }, version) }), `CHECK in ${version}`)
      quiet(await trial.call('DEL', attached), 'DEL')
    }
  }),
  rule('CHECK-6', section, 'CHECK allows for what a later plugin of the chain has added', async (trial) => {
    trial.needs('CHECK')
    const attached = await trial.attach()
    await ip(attached.netns, 'address', 'add', '192.0.2.77/32', 'dev', attached.ifname)
    await ip(attached.netns, 'route', 'add', '198.51.100.0/24', 'dev', attached.ifname)
    quiet(await check(trial, attached), 'CHECK')
  }),
  finds('CHECK-LINK-GONE', 'the interface is gone', (_, { netns, ifname }) => tamper(netns, 'link', 'delete', ifname)),
  finds('CHECK-LINK-DOWN', 'the interface is down', (_, { netns, ifname }) => tamper(netns, 'link', 'set', ifname, 'down')),
  finds('CHECK-MAC', 'the interface has another MAC than the result says', async (trial, { netns, ifname, result }) => {
    const told = readResult(result).interfaces.find(({ name, sandbox }) => name === ifname && sandbox)
    if (!told?.mac || told.mac === '00:00:00:00:00:00') skip('the result says no MAC')
    await tamper(netns, 'link', 'set', ifname, 'address', '02:00:00:00:77:77')
    expect((await linkOf(netns, trial.ifname))?.mac === '02:00:00:00:77:77', 'the MAC could not be changed')
  }),
  finds('CHECK-ADDRESS', 'an address of the result is gone', async (trial, { netns, ifname, result }) => {
    trial.needsAddress(result)
    await tamper(netns, 'address', 'delete', readResult(result).ips[0]?.address ?? '', 'dev', ifname)
  }),
  finds('CHECK-ROUTE', 'a route of the result is gone', async (_, { netns, result }) => {
    const [route] = readResult(result).routes
    if (route === undefined) skip('the configuration gives no route')
    await tamper(netns, isV6(route.dst) ? '-6' : '-4', 'route', 'delete', route.dst)
  }),
  finds('CHECK-HOST', 'an interface of the host that the result names is gone', async (trial, { result }) => {
    trial.needsHostInterface(result)
    const name = hostInterfacesIn(result).at(-1)?.name ?? ''
    await tamper(trial.subject.host, 'link', 'set', name, 'down')
    await tamper(trial.subject.host, 'link', 'set', name, 'name', 'conf-renamed')
    trial.defer(() => ip(trial.subject.host, 'link', 'delete', 'conf-renamed').catch(() => ''))
  }),
  finds('CHECK-PORT', "the host's end is no port of its bridge any more", async (trial, attached) => {
    await tamper(trial.subject.host, 'link', 'set', await bridgePort(trial, attached), 'nomaster')
  }),
  rule('CHECK-NETNS', section, 'CHECK fails when the namespace is not there', async (trial) => {
    trial.needs('CHECK')
    refused(await check(trial, await trial.attach(), { netns: '/run/netns/never-was' }), 'CHECK')
  }),
  rule('CHECK-DELETED', section, 'CHECK fails once DEL has taken the attachment back', async (trial) => {
    trial.needs('CHECK')
    const attached = await trial.attach()
    quiet(await trial.call('DEL', attached), 'DEL')
    refused(await check(trial, attached), 'CHECK after DEL')
  }),
]
