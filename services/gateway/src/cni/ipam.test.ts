import { HeddleError } from '@heddle/core'
import test from 'ava'
import { startGateway } from '../testing/gateway.ts'
import { bare, left, nothingLeft, vfEnv, vfPci } from '../testing/sriov-networks.ts'
import { parseIpam, pluginIn } from './ipam.ts'

const subnetsOf = (json: object) =>
  parseIpam(json, [])?.subnets.map(({ prefix, gateway, ranges, excluded }) => [
    prefix,
    gateway,
    ranges.map(({ first, last }) => `${first}-${last}`).join(' '),
    excluded.join(' '),
  ])

const wishes: [string, object, string[][]][] = [
  [
    "host-local as sriov-cni's README has it",
    { type: 'host-local', subnet: '10.56.217.0/24', rangeStart: '10.56.217.171', rangeEnd: '10.56.217.181', gateway: '10.56.217.1' },
    [['10.56.217.0/24', '10.56.217.1', '10.56.217.171-10.56.217.181', '']],
  ],
  ['no type', { subnet: '10.1.0.0/16' }, [['10.1.0.0/16', '10.1.0.1', '', '']]],
  ['a start alone', { subnet: '10.1.0.0/24', rangeStart: '10.1.0.9' }, [['10.1.0.0/24', '10.1.0.1', '10.1.0.9-10.1.0.254', '']]],
  ['an end alone', { subnet: 'fd00::/120', rangeEnd: 'fd00::9' }, [['fd00::/120', 'fd00::1', 'fd00::1-fd00::9', '']]],
  ['a subnet of two addresses, which leaves none for a gateway', { subnet: '10.1.0.0/31' }, [['10.1.0.0/31', '', '', '']]],
  [
    'both families, each in a set',
    { type: 'host-local', ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: 'fd00::/64', gateway: 'fd00::ff' }]] },
    [
      ['10.1.0.0/24', '10.1.0.1', '', ''],
      ['fd00::/64', 'fd00::ff', '', ''],
    ],
  ],
  [
    'several ranges of a set',
    {
      ranges: [
        [
          { subnet: '10.1.0.0/24', rangeStart: '10.1.0.5', rangeEnd: '10.1.0.6' },
          { subnet: '10.1.0.0/24', rangeStart: '10.1.0.9', rangeEnd: '10.1.0.9' },
          { subnet: '10.2.0.0/24' },
        ],
      ],
    },
    [
      ['10.1.0.0/24', '10.1.0.1', '10.1.0.5-10.1.0.6 10.1.0.9-10.1.0.9', ''],
      ['10.2.0.0/24', '10.2.0.1', '', ''],
    ],
  ],
  [
    'whereabouts',
    { type: 'whereabouts', range: '192.168.2.225/24', exclude: ['192.168.2.230/32'], range_start: '192.168.2.10', gateway: '192.168.2.1' },
    [['192.168.2.0/24', '192.168.2.1', '192.168.2.10-192.168.2.254', '192.168.2.230/32']],
  ],
  ['a range of whereabouts', { type: 'whereabouts', range: '10.1.0.5-10.1.0.9/24' }, [['10.1.0.0/24', '', '10.1.0.5-10.1.0.9', '']]],
  [
    'ranges of whereabouts',
    { type: 'whereabouts', ipRanges: [{ range: '10.1.0.0/24' }, { range: 'fd00::/64' }] },
    [
      ['10.1.0.0/24', '', '', ''],
      ['fd00::/64', '', '', ''],
    ],
  ],
  [
    'static',
    { type: 'static', addresses: [{ address: '10.56.217.130/24', gateway: '10.56.217.1' }, { address: 'fd00::9/64' }] },
    [
      ['10.56.217.0/24', '10.56.217.1', '', ''],
      ['fd00::/64', '', '', ''],
    ],
  ],
]
for (const [name, json, subnets] of wishes) test(`subnets: ${name}`, (t) => t.deepEqual(subnetsOf(json), subnets))

test('of what another plugin reads too only the subnets count, as far as they can be read', (t) => {
  const wish = (json: object) => {
    const { subnets, addresses, routes } = parseIpam(json, [], true) ?? {}
    return [subnets?.map(({ prefix, gateway }) => `${prefix} ${gateway}`), addresses, routes]
  }
  const two = {
    type: 'host-local',
    ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: '10.2.0.0/24' }]],
    routes: [{ dst: '0.0.0.0/0' }],
    resolvConf: '/etc/resolv.conf',
  }
  t.deepEqual(wish(two), [['10.1.0.0/24 10.1.0.1', '10.2.0.0/24 10.2.0.1'], [], []])
  t.deepEqual(wish({ type: 'dhcp' }), [[], [], []])
  t.deepEqual(wish({ type: 'calico-ipam', subnet: 7 }), [[], [], []])
})

test('the plugin that is executed is one that Heddle does not stand for', (t) => {
  t.deepEqual([{}, { ipam: {} }, { ipam: { type: 'heddle' } }].map(pluginIn), [undefined, undefined, undefined])
  t.is(pluginIn({ ipam: { type: 'dhcp' } }), 'dhcp')
  for (const type of ['../host-local', '/bin/sh', 7, 'a b']) t.throws(() => pluginIn({ ipam: { type } }), { message: /ipam.type/ }, String(type))
})

const wrong: [string, object, string, string][] = [
  ['a file of servers', { subnet: '10.1.0.0/24', resolvConf: '/etc/resolv.conf' }, 'unsupported', 'ipam.resolvConf'],
  ['a subnet with host bits', { subnet: '10.1.0.1/24' }, 'invalid-argument', 'ipam.subnet'],
  ['a second address of a family', { ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: '10.2.0.0/24' }]] }, 'unsupported', 'ipam.ranges[1]'],
  [
    'two gateways of a subnet',
    { ranges: [[{ subnet: '10.1.0.0/24' }, { subnet: '10.1.0.0/24', gateway: '10.1.0.9' }]] },
    'invalid-argument',
    'ipam.ranges[0].gateway',
  ],
  ['a static address without length', { type: 'static', addresses: [{ address: '10.1.0.5' }] }, 'invalid-argument', 'ipam.addresses'],
  ['host-local without a subnet', { type: 'host-local' }, 'invalid-argument', 'ipam.subnet'],
  ['host-local with an empty set', { type: 'host-local', ranges: [[]] }, 'invalid-argument', 'ipam.subnet'],
  ['whereabouts without a range', { type: 'whereabouts' }, 'invalid-argument', 'ipam.range'],
  ['a range that begins nowhere', { subnet: '10.1.0.0/24', rangeStart: 'x' }, 'invalid-argument', 'ipam.rangeStart'],
  ['a gateway that is none', { ranges: [[{ subnet: '10.1.0.0/24', gateway: 'x' }]] }, 'invalid-argument', 'ipam.ranges[0].gateway'],
  ['a static gateway that is none', { type: 'static', addresses: [{ address: '10.1.0.5/24', gateway: 'x' }] }, 'invalid-argument', 'ipam.addresses.gateway'],
  ['what is excluded that is none', { type: 'whereabouts', range: '10.1.0.0/24', exclude: ['x'] }, 'invalid-argument', 'ipam.exclude[0]'],
  ['ipam that is a list', [1], 'invalid-argument', 'ipam'],
]
for (const [name, json, code, field] of wrong) {
  test(`refused with field and remedy: ${name}`, (t) => {
    const error = HeddleError.from(t.throws(() => parseIpam(json, [])))
    t.deepEqual([error.code, error.field], [code, field])
    t.truthy(error.remedy)
  })
}

const hostLocal = { type: 'host-local', subnet: '10.56.217.0/24', rangeStart: '10.56.217.171', rangeEnd: '10.56.217.172', gateway: '10.56.217.1' }

test("an address of the ranges, no default route but where the configuration has one, and routes by the network's gateway", async (t) => {
  const { cni, cluster, stop } = await startGateway()
  t.teardown(stop)
  cluster.vfs.addPf('eth0', 3)
  const first = await cni(vfEnv, { ...bare, ipam: hostLocal })
  t.deepEqual(first.json.ips, [{ address: '10.56.217.171/24', gateway: '10.56.217.1', interface: 0 }])
  t.is(first.json.routes, undefined, 'the container has its default route from another interface')
  const routes = [{ dst: '0.0.0.0/0' }, { dst: '192.168.0.0/16', gw: '10.56.217.9' }]
  const second = await cni({ ...vfEnv, CNI_CONTAINERID: 'c2' }, { ...bare, deviceID: vfPci(1), ipam: { ...hostLocal, routes } })
  t.deepEqual(second.json.routes, [
    { dst: '0.0.0.0/0', gw: '10.56.217.1' },
    { dst: '192.168.0.0/16', gw: '10.56.217.9' },
  ])
  const third = await cni({ ...vfEnv, CNI_CONTAINERID: 'c3' }, { ...bare, deviceID: vfPci(2), ipam: hostLocal })
  t.is(third.json.code, 107)
  t.is(cluster.vfs.claims.size, 2, 'and the VF is free again')
  const prevResult = first.json
  t.is((await cni({ ...vfEnv, CNI_COMMAND: 'CHECK' }, { ...bare, ipam: hostLocal, prevResult })).exitCode, 0)
  for (const id of ['c1', 'c2', 'c3']) await cni({ ...vfEnv, CNI_CONTAINERID: id, CNI_COMMAND: 'DEL' }, { ...bare, ipam: hostLocal })
  t.deepEqual(left(cluster), nothingLeft)
})

test('other subnets than those of a network that is there are refused', async (t) => {
  const { cni, cluster, stop } = await startGateway()
  t.teardown(stop)
  cluster.vfs.addPf('eth0', 2)
  await cni(vfEnv, { ...bare, ipam: hostLocal })
  const other = await cni({ ...vfEnv, CNI_CONTAINERID: 'c2' }, { ...bare, deviceID: vfPci(1), ipam: { ...hostLocal, subnet: '10.9.0.0/24' } })
  t.is(other.json.code, 101)
})

test("static addresses are those given, the runtime's before the configuration's, and taken once in the cluster", async (t) => {
  const { cni, cluster, stop } = await startGateway()
  t.teardown(stop)
  cluster.vfs.addPf('eth0', 4)
  const dns = { nameservers: ['10.56.217.53'] }
  const ipam = { type: 'static', addresses: [{ address: '10.56.217.130/24', gateway: '10.56.217.1' }], dns }
  const given = async (index: number, more: object = {}, env: object = {}) => {
    const { json } = await cni({ ...vfEnv, ...env, CNI_CONTAINERID: `c${index}` }, { ...bare, deviceID: vfPci(index), ipam, ...more })
    return json.ips?.[0].address ?? json.code
  }
  t.is(await given(0), '10.56.217.130/24')
  t.deepEqual((await cni({ ...vfEnv, CNI_CONTAINERID: 'c0' }, { ...bare, ipam })).json.dns, dns)
  t.is(await given(1, { runtimeConfig: { ips: ['10.56.217.131/24'] } }), '10.56.217.131/24')
  t.is(await given(2, {}, { CNI_ARGS: 'IP=10.56.217.132/24' }), '10.56.217.132/24')
  t.is(await given(3), 108)
  t.is(await given(3, { ipam: { type: 'static' } }), 7)
  t.is(await given(3, { ipam: { type: 'static' }, runtimeConfig: { ips: ['192.0.2.1/24'] } }), 109)
})

test('addresses cannot be said twice', async (t) => {
  const { cni, stop } = await startGateway()
  t.teardown(stop)
  const { json } = await cni(vfEnv, { ...bare, ipam: hostLocal, heddle: { subnets: ['10.1.0.0/24'] } })
  t.is(json.code, 7)
  t.regex(json.msg, /heddle\.subnets and ipam/)
})
