/** Networks made from a link of the host, bridges that do more than the usual, and null, under the options Docker's users know. */
import anyTest, { type TestFn } from 'ava'
import { client, EndpointID, ids, NetworkID } from '../testing/docker-calls.ts'
import { startGateway, type TestGateway } from '../testing/gateway.ts'
import { none, settled } from '../testing/networks.ts'
import { caller, createBody } from '../testing/sriov-calls.ts'

const test = anyTest as TestFn<{ gateway: TestGateway }>
const icc = 'com.docker.network.bridge.enable_icc'
const masquerade = 'com.docker.network.bridge.enable_ip_masquerade'
const binding = 'com.docker.network.bridge.host_binding_ipv4'
const mtu = 'com.docker.network.driver.mtu'
const prefix = 'com.docker.network.container_iface_prefix'

test.beforeEach(async (t) => {
  t.context.gateway = await startGateway()
})
test.afterEach.always((t) => t.context.gateway.stop())

const docker = (gateway: TestGateway) => caller(gateway, 'docker')

/** A network of these options, and one container on it. */
async function lifeOf(gateway: TestGateway, generic: object, more: Parameters<typeof createBody>[1] = {}) {
  await docker(gateway).create(generic, more)
  const [network] = gateway.cluster.networks.values()
  const created = await docker(gateway).endpoint()
  const joined = await docker(gateway).join()
  await docker(gateway).leave()
  const left = await settled(gateway.cluster)
  await docker(gateway).call('DeleteNetwork', { NetworkID })
  return { network, created, joined, left: { ...left, networks: gateway.cluster.networks.size } }
}
const clean = { ...none, networks: 0 }

test("each option of Docker's drivers says which kind is meant, and reaches the network", async (t) => {
  const { gateway } = t.context
  const cases: [object, object][] = [
    [
      { parent: 'eth0', macvlan_mode: 'bridge' },
      { kind: 'macvlan', parent: { name: 'eth0', mode: 'bridge' }, pools: [{ prefix: '172.18.0.0/16', gateway: '172.18.0.1' }] },
    ],
    [
      { kind: 'macvlan', parent: 'eth0.100', [mtu]: '1400' },
      { parent: { name: 'eth0.100', mode: 'bridge' }, mtu: 1400 },
    ],
    [{ parent: 'eth0', macvlan_mode: 'passthru' }, { parent: { mode: 'passthru' } }],
    [
      { parent: 'eth0', ipvlan_mode: 'l3s' },
      { kind: 'ipvlan', parent: { mode: 'l3s' }, pools: [{ gateway: '' }] },
    ],
    [
      { kind: 'vlan', parent: 'eth0', vlan: '7', [prefix]: 'net' },
      { parent: { name: 'eth0', vlan: 7 }, options: { prefix: 'net' } },
    ],
    [
      { kind: 'host-device', parent: 'eth1', prefix: 'nic' },
      { parent: { name: 'eth1', mac: '' }, options: { prefix: 'nic' } },
    ],
    [{ kind: 'host-device', parent_mac: '02-AA-00-00-00-01' }, { parent: { mac: '02:aa:00:00:00:01' } }],
    [{ parent_pci: '3b:00.0' }, { kind: 'host-device', parent: { pci: '0000:3b:00.0' } }],
    [{ kind: 'null' }, { parent: undefined, pools: [{ gateway: '' }] }],
    [
      { [icc]: 'false', [binding]: '192.0.2.1' },
      { kind: 'bridge', bridge: { isolated: true, routed: false, hostBinding: '192.0.2.1' } },
    ],
    [{ [masquerade]: '0' }, { kind: 'bridge', bridge: { isolated: false, routed: true } }],
    [{ kind: 'bridge', [icc]: 'TRUE', [masquerade]: 'true', [binding]: '0.0.0.0' }, { bridge: undefined }],
    [{ [prefix]: 'lan' }, { kind: 'overlay', options: { prefix: 'lan' } }],
  ]
  for (const [generic, expected] of cases) {
    const { network, left } = await lifeOf(gateway, generic)
    t.like(network, expected, JSON.stringify(generic))
    t.deepEqual(left, clean, JSON.stringify(generic))
  }
})

test('a container on a wire has the gateway of the wire, and never docker_gwbridge beside it', async (t) => {
  const { gateway } = t.context
  const macvlan = { kind: 'macvlan', parent: 'eth0', [prefix]: 'net' }
  const names = { SrcName: 'hp0123456789a', DstPrefix: 'net' }
  const { created, joined } = await lifeOf(gateway, macvlan)
  t.regex(created.Interface.MacAddress, /^[0-9a-f:]{17}$/)
  t.deepEqual(joined, { InterfaceName: names, Gateway: '172.18.0.1', GatewayIPv6: '', StaticRoutes: [], DisableGatewayService: true })
  for (const [generic, more] of [
    [macvlan, { internal: true }],
    [{ ...macvlan, gateway: 'none' }, {}],
  ] as const)
    t.like((await lifeOf(gateway, generic, more)).joined, { Gateway: '', DisableGatewayService: true, StaticRoutes: [] })
  t.like((await lifeOf(gateway, { ...macvlan, gateway: 'docker' })).joined, { Gateway: '', DisableGatewayService: false })
  await docker(gateway).create(macvlan, { pool: '0.0.0.0/0', gateway: '' })
  t.regex((await docker(gateway).endpoint(EndpointID, { address: '' })).Interface.MacAddress, /^[0-9a-f:]{17}$/)
  t.like(await docker(gateway).join(), { Gateway: '', DisableGatewayService: true }, 'frames alone')
})

test("an ipvlan that the host routes goes out by its interface, and its MAC is its parent's", async (t) => {
  const { gateway } = t.context
  const l3 = { parent: 'eth0', ipvlan_mode: 'l3' }
  const { created, joined } = await lifeOf(gateway, l3)
  t.deepEqual(created, { Interface: {} })
  t.like(joined, { Gateway: '', DisableGatewayService: true, StaticRoutes: [{ Destination: '0.0.0.0/0', RouteType: 1, NextHop: '' }] })
  t.like((await lifeOf(gateway, l3, { internal: true })).joined, { Gateway: '', DisableGatewayService: true, StaticRoutes: [] })
  for (const generic of [l3, { kind: 'host-device', parent: 'eth1' }, { parent: 'eth0', macvlan_mode: 'passthru' }]) {
    await docker(gateway).create(generic)
    await t.throwsAsync(docker(gateway).endpoint(EndpointID, { mac: '02:00:00:00:00:01' }), { message: /MAC that cannot be chosen; leave the MAC out/ })
    t.deepEqual(await settled(gateway.cluster), none)
    await docker(gateway).call('DeleteNetwork', { NetworkID })
  }
})

test('a device that is given away keeps its MAC, and the record names it', async (t) => {
  const { gateway } = t.context
  await docker(gateway).create({ kind: 'host-device', parent: 'eth1' })
  t.deepEqual(await docker(gateway).endpoint(), { Interface: {} })
  await docker(gateway).join()
  t.like(gateway.cluster.endpoints.get(EndpointID), { state: 'wired', mac: '02:00:00:00:00:0d' })
})

test('a container on null gets no interface and no way out, and keeps its address', async (t) => {
  const { gateway } = t.context
  await docker(gateway).create({ kind: 'null' })
  t.deepEqual(await docker(gateway).endpoint(), { Interface: {} })
  t.deepEqual(await docker(gateway).join(), { InterfaceName: null, Gateway: '', GatewayIPv6: '', StaticRoutes: [], DisableGatewayService: true })
  t.like(gateway.cluster.endpoints.get(EndpointID), { state: 'wired', addresses: ['172.18.0.2/16'] })
})

test('ports are published on the address that the network says, unless one is given; where nothing can publish them they are refused', async (t) => {
  const { gateway } = t.context
  await docker(gateway).create({ [binding]: '127.0.0.1' })
  await docker(gateway).endpoint()
  await docker(gateway).join()
  const map = (HostIP: string, HostPort: number) => ({ Proto: 6, IP: '', Port: 80, HostIP, HostPort, HostPortEnd: HostPort })
  const Options = { 'com.docker.network.portmap': [map('', 8080), map('0.0.0.0', 8081), map('192.0.2.1', 8082)] }
  await client(gateway)('NetworkDriver.ProgramExternalConnectivity', { ...ids, Options })
  t.deepEqual(
    gateway.cluster.published.get(EndpointID)?.map(({ hostAddress, hostPort }) => [hostAddress, hostPort]),
    [
      ['127.0.0.1', 8080],
      ['0.0.0.0', 8081],
      ['192.0.2.1', 8082],
    ],
  )
  for (const [index, generic] of [
    { kind: 'macvlan', parent: 'eth0' },
    { parent: 'eth0', ipvlan_mode: 'l3' },
  ].entries()) {
    const id = String(index).repeat(64)
    await docker(gateway).create(generic, { id, pool: `172.2${index}.0.0/16`, gateway: `172.2${index}.0.1/16` })
    const refused = await docker(gateway).refused('ProgramExternalConnectivity', { NetworkID: id, EndpointID, Options })
    t.regex(refused, /of kind (macvlan|ipvlan), with a gateway of its own; leave -p out/)
  }
})

const refusals: readonly (readonly [what: string, generic: object, sentence: RegExp])[] = [
  ['an unknown option', { parnet: 'eth0' }, /"parnet" is not known; the options are: .*parent \(kind=macvlan\|ipvlan\|vlan\|host-device: .*macvlan_mode \(/],
  [
    "an unknown option that looks like Docker's",
    { 'com.docker.network.bridge.icc': 'false' },
    /is not known; the options are: .*bridge\.enable_icc \(kind=bridge: /,
  ],
  [
    'a mode of another kind',
    { kind: 'overlay', macvlan_mode: 'bridge' },
    /macvlan_mode is of networks of kind macvlan, not overlay; leave it out, or give -o kind=macvlan/,
  ],
  [
    'two kinds at once',
    { parent: 'eth0', macvlan_mode: 'bridge', ipvlan_mode: 'l2' },
    /ipvlan_mode is of networks of kind ipvlan, not macvlan, as macvlan_mode says; .*leave macvlan_mode out/,
  ],
  ['a parent without a kind', { parent: 'eth0' }, /parent is of networks of kind macvlan or ipvlan or vlan or host-device; add -o kind=macvlan/],
  [
    'a parent of a bridge',
    { [icc]: 'false', parent: 'eth0' },
    /parent is of networks of kind macvlan or .*, not bridge, as com\.docker\.network\.bridge\.enable_icc says/,
  ],
  [
    'a bridge option of a macvlan',
    { kind: 'macvlan', parent: 'eth0', [masquerade]: 'false' },
    /enable_ip_masquerade is of networks of kind bridge, not macvlan/,
  ],
  ['a VLAN of a macvlan', { kind: 'macvlan', parent: 'eth0', vlan: '7' }, /vlan is of networks of kind sriov or vlan, not macvlan/],
  ['an unknown mode', { kind: 'macvlan', parent: 'eth0', macvlan_mode: 'ring' }, /macvlan_mode: mode "ring" is not known; use bridge, private, vepa, passthru/],
  ['a macvlan of nothing', { kind: 'macvlan' }, /option parent: a network of kind macvlan needs a parent/],
  ['a parent that is no name', { kind: 'ipvlan', parent: '../eth0' }, /option parent: interface name "\.\.\/eth0" is not valid/],
  ['a VLAN that is none', { kind: 'vlan', parent: 'eth0', vlan: '4095' }, /option vlan: .*cannot have VLAN 4095; use 1 to 4094/],
  ['a VLAN that is no number', { kind: 'vlan', parent: 'eth0', vlan: 'x' }, /vlan="x" is not a number; write -o vlan=NUMBER/],
  ['a device named twice', { kind: 'host-device', parent: 'eth0', parent_mac: '02:00:00:00:00:01' }, /names its device in 2 ways; give exactly one/],
  ['a switch that is none', { [icc]: 'off' }, /enable_icc="off" is not true or false; write -o com\.docker\.network\.bridge\.enable_icc=true\|false/],
  ['a host binding that is none', { [binding]: '::1' }, /host_binding_ipv4="::1" is not an IPv4 address/],
  ['two MTUs', { mtu: '1400', [mtu]: '1300' }, /mtu and com\.docker\.network\.driver\.mtu both say what mtu is/],
  ['an MTU that is no number', { [mtu]: 'big' }, /driver option com\.docker\.network\.driver\.mtu="big" is not a number/],
  ['a prefix that leaves no room', { [prefix]: 'x'.repeat(13) }, /cannot begin an interface's name/],
  ['the name of the bridge', { 'com.docker.network.bridge.name': 'br0' }, /bridge\.name cannot be had: Heddle names its bridges itself.*; leave it out/],
  ['a gateway mode', { 'com.docker.network.bridge.gateway_mode_ipv4': 'routed' }, /cannot be had: .*enable_ip_masquerade=false for routed/],
  ["the VNIs of Docker's overlay", { 'com.docker.network.driver.overlay.vxlanid_list': '4097' }, /cannot be had: a network has one VNI.*-o vni=NUMBER/],
  ['an encrypted overlay', { encrypted: 'true' }, /encrypted cannot be had/],
  ['a way out of null', { kind: 'null', gateway: 'docker' }, /kind null has no interface, and so no way out/],
  ['another gateway of a bridge', { kind: 'bridge', gateway: 'none' }, /a bridge network is its own gateway/],
]

test('an option that is unknown, of another kind or impossible is refused by the name it was given, and nothing is made', async (t) => {
  const { gateway } = t.context
  for (const [what, generic, sentence] of refusals) t.regex(await docker(gateway).refused('CreateNetwork', createBody(generic)), sentence, what)
  const { networks, aliases, ipam } = gateway.cluster
  t.deepEqual([networks.size, aliases.size, ipam.pools.size], [0, 0, 0])
})

test('a network that is there is joined by its name, and an option that it does not have is refused', async (t) => {
  const { gateway } = t.context
  const pool = { poolId: 'wire.10.1.0.0_24', prefix: '10.1.0.0/24', gateway: '10.1.0.1' }
  gateway.cluster.addNetwork({ name: 'wire', kind: 'macvlan', parent: { name: 'eth0', mode: 'vepa' }, pools: [pool] })
  gateway.cluster.addNetwork({ name: 'lan', kind: 'bridge', bridge: { isolated: true }, pools: [{ ...pool, poolId: 'lan.10.1.0.0_24' }] })
  const at = { pool: '10.1.0.0/24', gateway: '' }
  const joins = [
    { network: 'wire' },
    { network: 'wire', kind: 'macvlan', parent: 'eth0' },
    { network: 'wire', macvlan_mode: 'vepa' },
    { network: 'lan', [icc]: 'false', [binding]: '0.0.0.0' },
  ]
  for (const [index, generic] of joins.entries()) await t.notThrowsAsync(docker(gateway).create(generic, { ...at, id: String(index).repeat(64) }))
  const refused: [object, RegExp][] = [
    [{ network: 'wire', kind: 'macvlan', parent: 'eth1' }, /wire exists and its parent is eth0; leave -o parent out/],
    [{ network: 'wire', macvlan_mode: 'bridge' }, /its macvlan_mode is vepa/],
    [{ network: 'lan', macvlan_mode: 'bridge' }, /its kind is bridge/],
    [{ network: 'lan', [icc]: 'true' }, /its com\.docker\.network\.bridge\.enable_icc is false/],
    [{ network: 'lan', [mtu]: '1400' }, /its com\.docker\.network\.driver\.mtu is none/],
    [{ network: 'lan', [prefix]: 'net' }, /its com\.docker\.network\.container_iface_prefix is none/],
  ]
  for (const [generic, sentence] of refused)
    t.regex(await docker(gateway).refused('CreateNetwork', createBody(generic, { ...at, id: 'f'.repeat(64) })), sentence)
  t.is(gateway.cluster.aliases.size, joins.length)
})

test('Docker need not reserve a gateway where none can be used', async (t) => {
  const { gateway } = t.context
  const check = async (generic: object) => (await docker(gateway).call('GwAllocCheck', { Options: createBody(generic).Options })).SkipIPv4
  t.deepEqual(
    [
      await check({ kind: 'macvlan', parent: 'eth0' }),
      await check({ kind: 'macvlan', parent: 'eth0', gateway: 'none' }),
      await check({ parent: 'eth0', ipvlan_mode: 'l3' }),
      await check({ kind: 'null' }),
      await check({ [icc]: 'false' }),
    ],
    [false, true, true, true, false],
  )
})
