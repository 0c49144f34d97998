import anyTest, { type TestFn } from 'ava'
import { startGateway, type TestGateway } from '../testing/gateway.ts'
import { addBlue, blueConfig } from '../testing/networks.ts'
import { bare, everyOption, left, nothingLeft, settingsOf, vfEnv, vfPci } from '../testing/sriov-networks.ts'

const test = anyTest as TestFn<{ gateway: TestGateway }>

test.beforeEach(async (t) => {
  t.context.gateway = await startGateway()
  t.context.gateway.cluster.vfs.addPf('eth0', 6)
})
test.afterEach.always((t) => t.context.gateway.stop())

test('the configuration with every option of sriov-cni works with another type', async (t) => {
  const { cni, cluster } = t.context.gateway
  const { exitCode, json } = await cni(vfEnv, everyOption)
  t.is(exitCode, 0)
  const mac = 'ca:fe:c0:ff:ee:00'
  t.deepEqual(json.interfaces, [{ name: 'net1', mac, mtu: 1500, sandbox: vfEnv['CNI_NETNS'], pciID: vfPci(0) }])
  t.deepEqual(json.ips, [])
  t.deepEqual(settingsOf(cluster), {
    mac,
    vlan: 1000,
    vlanQos: 4,
    vlanProto: '802.1ad',
    minTxRate: 100,
    maxTxRate: 200,
    spoofchk: false,
    trust: true,
    linkState: 'enable',
  })
  t.is((await cni({ ...vfEnv, CNI_COMMAND: 'DEL' }, everyOption)).exitCode, 0)
  t.deepEqual(left(cluster), nothingLeft)
})

const options: [string, object, object][] = [
  ['vlan', { vlan: 1000 }, { vlan: 1000 }],
  ['vlan 0, which is said and not left alone', { vlan: 0, vlanQoS: 0, vlanProto: '802.1q' }, { vlan: 0, vlanQos: 0, vlanProto: '802.1q' }],
  ['vlanQoS', { vlan: 5, vlanQoS: 7 }, { vlan: 5, vlanQos: 7 }],
  ['vlanProto in any case', { vlan: 5, vlanProto: '802.1AD' }, { vlan: 5, vlanProto: '802.1ad' }],
  ['mac', { mac: 'CA:FE:C0:FF:EE:00' }, { mac: 'ca:fe:c0:ff:ee:00' }],
  ['spoofchk on', { spoofchk: 'on' }, { spoofchk: true }],
  ['spoofchk off', { spoofchk: 'off' }, { spoofchk: false }],
  ['trust on', { trust: 'on' }, { trust: true }],
  ['trust off', { trust: 'off' }, { trust: false }],
  ['link_state auto', { link_state: 'auto' }, { linkState: 'auto' }],
  ['link_state disable', { link_state: 'disable' }, { linkState: 'disable' }],
  ['min_tx_rate', { min_tx_rate: 100, max_tx_rate: 100 }, { minTxRate: 100, maxTxRate: 100 }],
  ['min_tx_rate alone', { min_tx_rate: 100 }, { minTxRate: 100 }],
  ['max_tx_rate, 0 for no limit', { max_tx_rate: 0 }, { maxTxRate: 0 }],
  ['logLevel and logFile, which say nothing', { logLevel: 'panic', logFile: '/var/log/sriov.log' }, {}],
  ['an empty ipam', { ipam: {} }, {}],
  ['nulls, which are nothing', { vlan: null, spoofchk: null, ipam: null, runtimeConfig: null }, {}],
  ['mtu', { mtu: 9000 }, { mtu: 9000 }],
  [
    'vlanTrunk',
    { vlanTrunk: [{ id: 7 }, { minID: 10, maxID: 20 }] },
    {
      trunk: [
        { first: 7, last: 7 },
        { first: 10, last: 20 },
      ],
    },
  ],
]
for (const [name, more, settings] of options) {
  test(`${name} is set, and nothing else`, async (t) => {
    const { cni, cluster } = t.context.gateway
    const { exitCode, stdout } = await cni(vfEnv, { ...bare, ...more })
    t.is(exitCode, 0, stdout)
    t.deepEqual(settingsOf(cluster), settings)
  })
}

test('a MAC is taken from runtimeConfig, args, CNI_ARGS, and the configuration, in this order', async (t) => {
  const { cni, cluster } = t.context.gateway
  const mac = (last: string) => `02:00:00:00:00:${last}`
  const env = { ...vfEnv, CNI_ARGS: `IgnoreUnknown=1;MAC=${mac('20')}` }
  const args = { cni: { mac: mac('30') } }
  const wishes: [string, object, object][] = [
    [mac('10'), vfEnv, {}],
    [mac('20'), env, {}],
    [mac('30'), env, { args }],
    [mac('40'), env, { args, runtimeConfig: { mac: mac('40') } }],
  ]
  for (const [index, [wanted, from, more]] of wishes.entries()) {
    const id = `c${index}`
    const { json } = await cni({ ...from, CNI_CONTAINERID: id }, { ...bare, mac: mac('10'), deviceID: vfPci(index), ...more })
    t.deepEqual([json.interfaces[0].mac, settingsOf(cluster, id).mac], [wanted, wanted])
  }
})

test('a device is taken from runtimeConfig, args, CNI_ARGS, deviceID and pciBusID, in this order', async (t) => {
  const { cni } = t.context.gateway
  const { deviceID: _, ...none } = bare
  const env = { ...vfEnv, CNI_ARGS: `deviceID=${vfPci(2).toUpperCase()}` }
  const args = { cni: { deviceID: vfPci(3) } }
  const wishes: [number, object, object][] = [
    [0, vfEnv, { pciBusID: vfPci(0) }],
    [1, vfEnv, { pciBusID: vfPci(0), deviceID: vfPci(1) }],
    [2, env, { pciBusID: vfPci(0), deviceID: vfPci(1) }],
    [3, env, { deviceID: vfPci(1), args }],
    [4, env, { deviceID: vfPci(1), args, runtimeConfig: { deviceID: vfPci(4) } }],
  ]
  for (const [index, from, more] of wishes) {
    const { json, stdout } = await cni({ ...from, CNI_CONTAINERID: `c${index}` }, { ...none, ...more })
    t.is(json.interfaces?.[0].pciID, vfPci(index), stdout)
  }
})

test('without a MAC the VF keeps its own, and the result says it', async (t) => {
  const { cni, cluster } = t.context.gateway
  t.is((await cni(vfEnv, bare)).json.interfaces[0].mac, '52:54:00:3b:00:00')
  t.is(settingsOf(cluster).mac, undefined)
})

test('a VF can be any of a pool, of a PF, or of what selectors match', async (t) => {
  const { cni, cluster } = t.context.gateway
  cluster.vfs.addPool({ name: 'high', selectors: [{ pfNames: ['eth0#4-5'] }] })
  const { deviceID: _, ...none } = bare
  const given = async (id: string, more: object) => (await cni({ ...vfEnv, CNI_CONTAINERID: id }, { ...none, ...more })).json.interfaces?.[0].pciID
  t.is(await given('a', { vfPool: 'high' }), vfPci(4))
  t.is(await given('b', { pf: 'eth0' }), vfPci(0))
  t.is(await given('c', { pf: 'eth0#3' }), vfPci(3))
  t.is(await given('d', { selectors: { drivers: ['igbvf'], pfNames: ['eth0#2'] } }), vfPci(2))
  t.is(await given('e', { vfPool: 'high', deviceID: vfPci(5) }), vfPci(5))
})

test('a VF for a user-space driver has no interface, and a result all the same', async (t) => {
  const { cni, cluster } = t.context.gateway
  const ipam = { type: 'host-local', subnet: '10.56.217.0/24' }
  const { json } = await cni(vfEnv, { ...bare, vfDriver: 'vfio-pci', vlan: 1000, ipam })
  t.deepEqual(json.interfaces, [{ name: 'net1', mac: '52:54:00:3b:00:00', sandbox: vfEnv['CNI_NETNS'], pciID: vfPci(0) }])
  t.deepEqual(json.ips, [{ address: '10.56.217.2/24', gateway: '10.56.217.1', interface: 0 }])
  t.is(cluster.vfs.vfs.get(vfPci(0))?.driver, 'vfio-pci')
})

test('the options of an ADD are its own: another one on the same network has others', async (t) => {
  const { cni, cluster } = t.context.gateway
  await cni(vfEnv, { ...bare, vlan: 100 })
  await cni({ ...vfEnv, CNI_CONTAINERID: 'c2' }, { ...bare, deviceID: vfPci(1) })
  t.deepEqual([settingsOf(cluster), settingsOf(cluster, 'c2')], [{ vlan: 100 }, {}])
  t.is(cluster.networks.size, 1)
  t.like([...cluster.networks.values()][0], { kind: 'sriov', createdBy: 'cni', pools: [] })
})

test('a network that was made beforehand says what its VFs are, and an ADD says what it wants else', async (t) => {
  const { cni, cluster } = t.context.gateway
  const sriov = { pool: 'high', settings: { vlan: 100, vlanQos: 2, trust: true } }
  cluster.vfs.addPool({ name: 'high', selectors: [{ pfNames: ['eth0#4-5'] }] })
  cluster.addNetwork({ name: 'fast', kind: 'sriov', sriov, options: { gateway: 'network' }, internal: true })
  const fast = { cniVersion: '1.1.0', name: 'fast', type: 'heddle' }
  t.is((await cni(vfEnv, fast)).json.interfaces[0].pciID, vfPci(4))
  t.deepEqual(settingsOf(cluster), { vlan: 100, vlanQos: 2, trust: true })
  t.is((await cni({ ...vfEnv, CNI_CONTAINERID: 'c2' }, { ...fast, trust: 'off', spoofchk: 'off' })).exitCode, 0)
  t.deepEqual(settingsOf(cluster, 'c2'), { vlan: 100, vlanQos: 2, trust: false, spoofchk: false })
})

test('a network defined in the configuration is made with all that is said of its VFs', async (t) => {
  const { cni, cluster } = t.context.gateway
  const settings = { vlan: 100, vlanProto: '802.1ad', spoofchk: false, trunk: [] }
  const selector = { pfNames: ['eth0#2-3'] }
  const heddle = { kind: 'sriov', subnets: ['10.7.0.0/24'], sriov: { selector, settings, policy: 'spread', apart: true, near: 'node:0' } }
  const config = { cniVersion: '1.1.0', name: 'green', type: 'heddle', heddle }
  t.is((await cni(vfEnv, config)).json.interfaces[0].pciID, vfPci(2))
  t.like([...cluster.networks.values()][0]?.sriov, {
    policy: 'spread',
    apart: true,
    near: 'node:0',
    settings: { vlan: 100, vlanProto: '802.1ad', spoofchk: false },
  })
  t.is((await cni({ ...vfEnv, CNI_CONTAINERID: 'c2' }, config)).exitCode, 0)
  const other = { ...config, heddle: { ...heddle, sriov: { selector, settings: { vlan: 101 } } } }
  const refused = await cni({ ...vfEnv, CNI_CONTAINERID: 'c3' }, other)
  t.is(refused.json.code, 101)
  t.regex(refused.json.msg, /"vlan":100.*"vlan":101/)
})

const wrong: [string, object, object, number, RegExp][] = [
  ['a VLAN out of range', { vlan: 4095 }, {}, 7, /^vlan: 4095 .*1 to 4094/],
  ['a VLAN below 0', { vlan: -1 }, {}, 7, /^vlan: use 0 or more/],
  ['a VLAN that is text', { vlan: '100' }, {}, 7, /^vlan: /],
  ['a priority out of range', { vlan: 1, vlanQoS: 8 }, {}, 7, /^vlanQoS: .*0 to 7/],
  ['a priority without a VLAN', { vlanQoS: 1 }, {}, 7, /^vlanQoS: .*give vlan too/],
  ['a priority with VLAN 0', { vlan: 0, vlanQoS: 1 }, {}, 7, /^vlanQoS: .*give the VLAN too/],
  ['a protocol without a VLAN', { vlanProto: '802.1q' }, {}, 7, /^vlanProto: .*give vlan too/],
  ['802.1ad with VLAN 0', { vlan: 0, vlanProto: '802.1ad' }, {}, 7, /^vlanProto: /],
  ['an unknown protocol', { vlan: 1, vlanProto: '802.1x' }, {}, 7, /^vlanProto: .*"802\.1q" or "802\.1ad"/],
  ['a MAC that is none', { mac: 'zz' }, {}, 7, /mac/],
  ['spoofchk that is neither', { spoofchk: 'true' }, {}, 7, /^spoofchk: write "on" or "off"/],
  ['trust that is neither', { trust: true }, {}, 7, /^trust: write "on" or "off"/],
  ['an unknown link state', { link_state: 'up' }, {}, 7, /^link_state: .*"auto", "enable" or "disable"/],
  ['a least rate above the highest', { min_tx_rate: 200, max_tx_rate: 100 }, {}, 7, /^min_tx_rate: .*200.*100/],
  ['a rate below 0', { max_tx_rate: -5 }, {}, 7, /^max_tx_rate: /],
  ['a device that is no PCI address', { deviceID: 'mlx5_core.sf.4' }, {}, 7, /deviceID|PCI address.*0000:3b:02\.1/],
  ['a device in CNI_ARGS that is none', {}, { CNI_ARGS: 'deviceID=eth0' }, 4, /CNI_ARGS deviceID/],
  ['a device nobody has', { deviceID: '0000:99:02.0' }, {}, 122, /0000:99:02\.0/],
  ['a device that somebody has', { deviceID: vfPci(5) }, {}, 123, /in use by endpoint [0-9a-f]{32}/],
  ['an unknown pool', { vfPool: 'none' }, {}, 127, /none/],
  ['a pool that has no good name', { vfPool: 'a b' }, {}, 7, /letters/],
  ['a PF that has no good name', { pf: 'a/b' }, {}, 7, /^pf: /],
  ['a PF said twice', { pf: 'eth0', selectors: { pfNames: ['eth1'] } }, {}, 7, /give one of them/],
  ['an unknown key of selectors', { selectors: { pf: 'eth0' } }, {}, 2, /selectors .*"pf".*remove it; the keys are: vendors, /],
  ['a vendor that is none', { selectors: { vendors: ['intel'] } }, {}, 7, /^selectors\.vendors\[0\]: .*8086/],
  ['a driver that is none', { vfDriver: 'igb_uio' }, {}, 2, /^vfDriver: .*vfio-pci/],
  ['half a range of a trunk', { vlanTrunk: [{ minID: 5 }] }, {}, 7, /^vlanTrunk\[0\]: .*"maxID"/],
  ['a trunk out of range', { vlanTrunk: [{ id: 4095 }] }, {}, 7, /^vlanTrunk\[0\]: /],
  ['a trunk beside a VLAN', { vlan: 5, vlanTrunk: [{ id: 6 }] }, {}, 7, /^vlanTrunk: .*either a VLAN or a trunk/],
  ['an MTU that is none', { mtu: 1 }, {}, 7, /^mtu: /],
  ['no device, pool or PF', { deviceID: '', vlan: 5 }, {}, 7, /deviceID.*vfPool.*pf/],
  ['an address of a network without any', { ips: ['10.0.0.1'] }, {}, 109, /leave the address out/],
  ['a version whose result needs an address', { cniVersion: '0.2.0' }, {}, 1, /1\.1\.0/],
  ['an option beside a bridge', { heddle: { kind: 'bridge' }, vlan: 5 }, {}, 7, /vlan is an option of networks of kind sriov/],
  ['an option of a VF for a bridge that is there', { name: 'blue', vlan: 5 }, {}, 101, /kind is bridge, not sriov/],
  ['a device for a bridge that is there', { name: 'blue' }, {}, 101, /kind is bridge, not sriov/],
  ['ports', { runtimeConfig: { portMappings: [{ hostPort: 80, containerPort: 80 }] } }, {}, 2, /bridge/],
  ['VFs of a bridge', { deviceID: '', heddle: { kind: 'bridge', sriov: { pool: 'p' } } }, {}, 7, /no VFs/],
  ['a VNI of VFs', { heddle: { kind: 'sriov', vni: 5000 } }, {}, 7, /VNI/],
]
for (const [name, more, env, code, remedy] of wrong) {
  test(`${name}: error ${code} that names the option, and nothing changed`, async (t) => {
    const { cni, cluster } = t.context.gateway
    addBlue(cluster)
    await cni({ ...vfEnv, CNI_CONTAINERID: 'first' }, { ...blueConfig, name: 'other', deviceID: vfPci(5) })
    const before = left(cluster)
    const refused = await cni({ ...vfEnv, ...env }, { ...bare, ...more })
    t.is(refused.json?.code, code, refused.stdout)
    t.regex(refused.json.msg, remedy)
    t.notRegex(refused.stdout, /not found|no such file/i)
    t.deepEqual(left(cluster), before)
  })
}

test('what is refused makes no network', async (t) => {
  const { cni, cluster } = t.context.gateway
  for (const more of [{ deviceID: '', vlan: 5 }, { ips: ['10.0.0.1'] }, { cniVersion: '0.2.0' }, { vlan: 4095 }]) await cni(vfEnv, { ...bare, ...more })
  t.is(cluster.networks.size, 0)
})

test('a runtime that names a device to every plugin does not make a VF of a bridge that is called one', async (t) => {
  const { cni } = t.context.gateway
  const heddle = { kind: 'bridge', subnets: ['10.7.0.0/24'] }
  const { json } = await cni(vfEnv, { ...bare, name: 'green', heddle })
  t.is(json.interfaces.at(-1).pciID, undefined)
  t.is(json.interfaces.length, 3)
})
