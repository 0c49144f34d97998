/** The result of ADD: its shape in each version, and that it is true. */
import { expect, skip } from '../../report.ts'
import { linkOf, linksOf, routesOf } from '../kernel.ts'
import { addressesIn, hostInterfacesIn, isV6, readResult } from '../result.ts'
import { rule } from '../trial.ts'
import { type CniVersion, cniVersions, isAtLeast } from '../versions.ts'

const section = 'section 5, ADD success'

/** The keys of each version; what a plugin adds in others tells a runtime nothing, or the wrong thing. */
function keysOf(version: CniVersion) {
  const at = (first: CniVersion, ...keys: string[]) => (isAtLeast(version, first) ? keys : [])
  return {
    top: isAtLeast(version, '0.3.0') ? ['cniVersion', 'interfaces', 'ips', 'routes', 'dns'] : ['cniVersion', 'ip4', 'ip6', 'dns'],
    interface: ['name', 'mac', 'sandbox', ...at('1.1.0', 'mtu', 'socketPath', 'pciID')],
    ip: ['address', 'gateway', 'interface', ...(isAtLeast(version, '1.0.0') ? [] : ['version'])],
    legacyIp: ['ip', 'gateway', 'routes'],
    route: ['dst', 'gw', ...at('1.1.0', 'mtu', 'advmss', 'priority', 'table', 'scope')],
  }
}

function expectShape(json: any, version: CniVersion): void {
  const keys = keysOf(version)
  const only = (what: string, value: unknown, allowed: readonly string[]) => {
    expect(typeof value === 'object' && value !== null, `${what} is no object: ${JSON.stringify(value)}`)
    const others = Object.keys(value).filter((key) => !allowed.includes(key))
    expect(others.length === 0, `${what} has ${others.join(', ')}, which ${version} does not know: ${JSON.stringify(value)}`)
  }
  const each = (what: string, value: unknown, allowed: readonly string[]) => {
    if (value === undefined || value === null) return
    expect(Array.isArray(value), `${what} is no list: ${JSON.stringify(value)}`)
    for (const one of value) only(`one of ${what}`, one, allowed)
  }
  // 0.1.0 does not ask for it.
  expect(json?.cniVersion === version || (version === '0.1.0' && json?.cniVersion === undefined), `cniVersion is ${JSON.stringify(json?.cniVersion)}`)
  only('the result', json, keys.top)
  each('interfaces', json.interfaces, keys.interface)
  each('ips', json.ips, keys.ip)
  each('routes', json.routes, keys.route)
  for (const family of ['ip4', 'ip6']) {
    if (json[family] === undefined || json[family] === null) continue
    only(family, json[family], keys.legacyIp)
    each(`${family}.routes`, json[family].routes, keys.route)
  }
  if (!isAtLeast(version, '1.0.0')) {
    for (const { version: family, address } of json.ips ?? [])
      expect(family === (isV6(address) ? '6' : '4'), `ips[].version of ${address} is ${JSON.stringify(family)}`)
  }
}

const shapes = cniVersions.map((version) =>
  rule(`RESULT-${version}`, section, `a configuration of ${version} is answered in ${version}: its cniVersion and its keys`, async (trial) => {
    if (!trial.subject.versions.includes(version)) skip(`the plugin supports ${trial.subject.versions.join(', ')}`)
    if (!isAtLeast(version, '0.3.0')) trial.needsAddress((await trial.attach()).result)
    const { result } = await trial.attach({ config: trial.subject.config({}, version) })
    expectShape(result, version)
  }),
)

export const resultRules = [
  ...shapes,
  rule('RESULT-INTERFACES-1', section, 'every interface of the result is where it says, with the MAC and MTU it says', async (trial) => {
    const { result, netns } = await trial.attach()
    for (const { name, mac, mtu, sandbox } of readResult(result).interfaces) {
      const link = await linkOf(sandbox ? netns : trial.subject.host, name)
      expect(link !== undefined, `there is no ${name} ${sandbox ? 'in the sandbox' : 'on the host'}`)
      expect(mac === undefined || mac.toLowerCase() === link.mac, `${name} has MAC ${link.mac}, the result says ${mac}`)
      expect(mtu === undefined || mtu === link.mtu, `${name} has MTU ${link.mtu}, the result says ${mtu}`)
    }
  }),
  rule('RESULT-INTERFACES-2', section, 'the interface that was asked for is in the result, with CNI_NETNS as its sandbox', async (trial) => {
    const { result, netns, ifname } = await trial.attach()
    const { interfaces } = readResult(result)
    const ours = interfaces.find(({ name, sandbox }) => name === ifname && sandbox === netns)
    expect(ours !== undefined, `interfaces are ${JSON.stringify(interfaces)}`)
  }),
  rule('RESULT-INTERFACES-3', section, 'interfaces of the host have no sandbox, those of the container no other than CNI_NETNS', async (trial) => {
    const { result, netns } = await trial.attach()
    trial.needsHostInterface(result)
    const names = new Set((await linksOf(trial.subject.host)).map(({ name }) => name))
    const strays = hostInterfacesIn(result).filter(({ name }) => !names.has(name))
    expect(strays.length === 0, `not on the host: ${JSON.stringify(strays)}`)
    const elsewhere = readResult(result).interfaces.filter(({ sandbox }) => sandbox && sandbox !== netns)
    expect(elsewhere.length === 0, `in another sandbox: ${JSON.stringify(elsewhere)}`)
  }),
  rule('RESULT-IPS-1', section, 'every address of the result is on the interface it points to', async (trial) => {
    const { result, netns } = await trial.attach()
    trial.needsAddress(result)
    const { ips, interfaces } = readResult(result)
    for (const { address, interface: index } of ips) {
      expect(
        index === undefined || (Number.isInteger(index) && index >= 0 && index < interfaces.length),
        `${address} points to interface ${index} of ${interfaces.length}`,
      )
      const name = index === undefined ? trial.ifname : (interfaces[index]?.name ?? '')
      const has = (await linkOf(netns, name))?.addresses ?? []
      expect(has.includes(address), `${name} has ${has.join(', ') || 'no address'}, not ${address}`)
    }
  }),
  rule('RESULT-IPS-2', section, 'every address that the interface got is in the result', async (trial) => {
    const { result, netns, ifname } = await trial.attach()
    const told = new Set(addressesIn(result))
    const untold = ((await linkOf(netns, ifname))?.addresses ?? []).filter((address) => !told.has(address))
    expect(untold.length === 0, `not in the result: ${untold.join(', ')}`)
  }),
  rule('RESULT-ROUTES-1', section, 'every route of the result is in the sandbox, by its gateway', async (trial) => {
    const { result, netns } = await trial.attach()
    const { routes } = readResult(result)
    if (routes.length === 0) skip('the configuration gives no route')
    const there = await routesOf(netns)
    for (const { dst, gw } of routes) {
      const found = there.filter(({ destination }) => destination === dst)
      expect(
        found.some(({ gateway }) => gw === undefined || gateway === gw),
        `${dst}${gw === undefined ? '' : ` by ${gw}`} is not there: ${JSON.stringify(there)}`,
      )
    }
  }),
]
