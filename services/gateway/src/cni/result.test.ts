import { readFileSync, writeFileSync } from 'node:fs'
import test from 'ava'
import { type CniResult, mergeResults, parseResult, serializeResult } from './result.ts'
import { cniVersions } from './versions.ts'

const full: CniResult = {
  interfaces: [
    { name: 'hb0123456789a', mac: '02:00:00:00:00:02', mtu: 1450 },
    { name: 'hd0123456789a', mac: '02:00:00:00:00:01', mtu: 1450 },
    { name: 'eth0', mac: '02:42:0a:01:00:02', mtu: 1450, sandbox: '/run/netns/c1', socketPath: '/run/vhost.sock', pciID: '0000:01:00.1' },
  ],
  ips: [
    { address: '10.1.0.2/24', gateway: '10.1.0.1', interface: 2 },
    { address: 'fd00::2/64', interface: 2 },
  ],
  routes: [
    { dst: '0.0.0.0/0', gw: '10.1.0.1', mtu: 1400, priority: 10 },
    { dst: 'fd01::/64', gw: 'fd00::9' },
  ],
  dns: { nameservers: ['10.1.0.53'], search: ['example.org'] },
}

for (const version of cniVersions) {
  test(`a result in CNI ${version} is what the golden file says`, (t) => {
    const golden = new URL(`golden/${version}.json`, import.meta.url)
    const json = serializeResult(full, version)
    if (process.env['HEDDLE_WRITE_GOLDEN'] === '1') writeFileSync(golden, `${JSON.stringify(json, null, 2)}\n`)
    t.deepEqual(json, JSON.parse(readFileSync(golden, 'utf8')))
  })

  test(`what CNI ${version} can say is read back from its own JSON`, (t) => {
    const json = serializeResult(full, version)
    t.deepEqual(serializeResult(parseResult(json, version), version), json)
  })
}

test('a legacy result keeps the first address of each family and needs one', (t) => {
  const two = { ...full, ips: [...full.ips, { address: '10.2.0.2/24', interface: 2 }] }
  t.like(serializeResult(two, '0.2.0'), { ip4: { ip: '10.1.0.2/24' }, ip6: { ip: 'fd00::2/64' } })
  t.throws(() => serializeResult({ ...full, ips: [] }, '0.2.0'), { message: /without addresses/ })
})

test('in a chain our interfaces follow those there are and our addresses point at ours', (t) => {
  const before: CniResult = { interfaces: [{ name: 'lo' }], ips: [{ address: '127.0.0.1/8', interface: 0 }], routes: [], dns: {} }
  const merged = mergeResults(before, full)
  t.is(merged.interfaces[merged.ips[1]?.interface ?? 0]?.name, 'eth0')
  t.is(merged.interfaces[merged.ips[0]?.interface ?? -1]?.name, 'lo')
  t.deepEqual(merged.dns, full.dns)
})
