/** Networks of kind sriov through Docker's door, under both its names; and what the plugins named sriov before were known to fail at. */
import { setTimeout } from 'node:timers/promises'
import { HeddleError } from '@heddle/core'
import anyTest, { type TestFn } from 'ava'
import { client, connect, createNetwork, EndpointID, ids, NetworkID, removeNetwork } from '../testing/docker-calls.ts'
import { startGateway, type TestGateway } from '../testing/gateway.ts'
import { none, settled } from '../testing/networks.ts'
import { caller, createBody, vfnet } from '../testing/sriov-calls.ts'

const test = anyTest as TestFn<{ gateway: TestGateway }>

test.beforeEach(async (t) => {
  t.context.gateway = await startGateway()
  t.context.gateway.cluster.vfs.addPf('eth0', 3)
})
test.afterEach.always((t) => t.context.gateway.stop())

/** Nothing of any endpoint, and every VF free and at its baseline. */
async function pristine({ cluster }: TestGateway) {
  const left = await settled(cluster)
  for (let attempt = 0; attempt < 200 && cluster.vfs.claims.size > 0; attempt++) await setTimeout(10)
  return { ...left, claimed: cluster.vfs.claims.size, astray: cluster.vfs.astray() }
}
const clean = { ...none, claimed: 0, astray: [] }

test('the whole life of the former plugin’s example leaves nothing, and each VF at its baseline', async (t) => {
  const { gateway } = t.context
  const { cluster } = gateway
  const docker = caller(gateway)
  await docker.create(vfnet, { internal: true })
  const [network] = cluster.networks.values()
  t.like(network, { kind: 'sriov', internal: true, createdBy: 'docker', sriov: { pool: '', selector: { pfNames: ['eth0'] }, settings: { vlan: 100 } } })
  const created = await docker.endpoint()
  t.deepEqual(created, { Interface: { MacAddress: '52:54:00:3b:00:00' } }, "the VF's own MAC, and no address: Docker has chosen it")
  t.like(cluster.endpoints.get(EndpointID), { state: 'reserved', addresses: ['172.18.0.2/16'], vf: { pci: '0000:3b:02.0', pf: '0000:3b:00.0' } })
  const joined = await docker.join()
  t.deepEqual(joined, {
    InterfaceName: { SrcName: 'eth0v0', DstPrefix: 'eth' },
    Gateway: '',
    GatewayIPv6: '',
    StaticRoutes: [],
    DisableGatewayService: true,
  })
  t.like(cluster.vfs.vfs.get('0000:3b:02.0'), { state: 'used', settings: { vlan: 100 } })
  t.like((await docker.call('EndpointOperInfo', ids)).Value, { 'heddle.vf': '0000:3b:02.0', 'heddle.pf': '0000:3b:00.0', 'heddle.vlan': 100 })
  t.deepEqual([await docker.endpoint(), await docker.join()], [created, joined], 'each of them repeated is the same')
  await docker.leave()
  t.deepEqual(await pristine(gateway), clean)
  await docker.call('DeleteNetwork', { NetworkID })
  t.deepEqual([cluster.networks.size, cluster.ipam.pools.size, cluster.aliases.size], [0, 0, 0])
})

test('without IPAM a network is of frames alone: no pool, no address, no gateway', async (t) => {
  const { gateway } = t.context
  const docker = caller(gateway, 'docker')
  await docker.create({ kind: 'sriov', pf: 'eth0' }, { pool: '0.0.0.0/0', gateway: '' })
  t.is(gateway.cluster.ipam.pools.size, 0)
  t.deepEqual(await docker.endpoint(EndpointID, { address: '' }), { Interface: { MacAddress: '52:54:00:3b:00:00' } })
  t.like(await docker.join(), { Gateway: '', DisableGatewayService: true, InterfaceName: { SrcName: 'eth0v0' } })
  await docker.leave()
  t.deepEqual(await pristine(gateway), clean)
})

test('with addresses of Heddle’s the default route is the gateway of the subnet, as on any wire', async (t) => {
  const { gateway } = t.context
  const network = await createNetwork(gateway, { kind: 'sriov', pf: 'eth0', mtu: '9000' }, { pool: '10.9.0.0/24' })
  t.like([...gateway.cluster.networks.values()][0], { mtu: 9000, pools: [{ prefix: '10.9.0.0/24', gateway: '10.9.0.1' }] })
  const { created, joined } = await connect(gateway, network)
  t.deepEqual(created, { Interface: { MacAddress: '52:54:00:3b:00:00' } })
  t.like(joined, { Gateway: '10.9.0.1', DisableGatewayService: true })
  await client(gateway)('NetworkDriver.DeleteEndpoint', ids)
  t.deepEqual(await pristine(gateway), clean)
  await removeNetwork(gateway, network)
})

test('every option reaches the network, and the former ones are spellings of them', async (t) => {
  const { gateway } = t.context
  const { cluster } = gateway
  cluster.vfs.addPool({ name: 'fast', selectors: [{}] })
  const rates = { min_tx_rate: '10', max_tx_rate: '1000', link_state: 'enable', policy: 'spread', near: '3b:00.0', prefix: 'net' }
  const vlan = { vlan: '7', vlan_qos: '3', vlan_proto: '802.1ad' }
  await caller(gateway, 'docker').create({ kind: 'sriov', pool: 'fast', pf: 'eth0#0-1', ...vlan, spoofchk: 'on', trust: 'off', ...rates })
  const settings = { vlan: 7, vlanQos: 3, vlanProto: '802.1ad', spoofchk: true, trust: false, minTxRate: 10, maxTxRate: 1000, linkState: 'enable' }
  const [all] = cluster.networks.values()
  t.like(all, { sriov: { pool: 'fast', selector: { pfNames: ['eth0#0-1'] }, settings, policy: 'spread', near: '0000:3b:00.0' }, options: { prefix: 'net' } })
  await caller(gateway, 'docker').create({ kind: 'sriov', pf: 'eth0', vlan_trunk: '100,200-210' }, { id: 'b'.repeat(64), pool: '172.19.0.0/16', gateway: '' })
  t.deepEqual([...cluster.networks.values()][1]?.sriov?.settings?.trunk, [
    { first: 100, last: 100 },
    { first: 200, last: 210 },
  ])
  const former = { phys_network: 'fast', netdevice: 'eth0', vlan: '8', mode: 'sriov', privileged: '1', prefix: 'roce' }
  await caller(gateway).create(former, { id: 'c'.repeat(64), pool: '172.20.0.0/16', gateway: '' })
  const wanted = { pool: 'fast', selector: { pfNames: ['eth0'] }, settings: { vlan: 8, trust: true, spoofchk: false } }
  t.like([...cluster.networks.values()][2], { sriov: wanted, options: { prefix: 'roce' } })
})

const refusals: readonly (readonly [what: string, door: 'docker' | 'sriov', generic: object, sentence: RegExp])[] = [
  ['an unknown option', 'sriov', { ...vfnet, colour: 'red' }, /"colour" is not known; the options are: .*pf_iface \(as pf\)/],
  [
    'a former option under the other name',
    'docker',
    { kind: 'sriov', pf_iface: 'eth0' },
    /"pf_iface" is not known; the options are: .*vlan \(kind=sriov: 0 to 4094; kind=vlan: 1 to 4094\)/,
  ],
  ['a VLAN that is no number, which was taken for none', 'sriov', { ...vfnet, vlanid: 'abc' }, /vlanid="abc" is not a number; write -o vlanid=NUMBER/],
  ['a VLAN out of range', 'sriov', { ...vfnet, vlanid: '4095' }, /vlanid: 4095 is not a VLAN; use 1 to 4094, or 0 for none/],
  ['a negative VLAN', 'sriov', { ...vfnet, vlanid: '-1' }, /vlanid="-1" is not a number/],
  ['an empty option', 'sriov', { ...vfnet, vlanid: '' }, /vlanid has no value; write -o vlanid=VALUE/],
  ['two spellings of one option', 'sriov', { ...vfnet, netdevice: 'eth0' }, /pf_iface and netdevice both say what pf is; give one of them/],
  [
    'privileged and what it stands for',
    'sriov',
    { ...vfnet, privileged: '1', trust: 'off' },
    /(privileged and trust|trust and privileged) both say what trust is/,
  ],
  ['privileged that is neither', 'sriov', { ...vfnet, privileged: 'yes' }, /privileged="yes" is not known; use 1 or 0/],
  ['the PF itself', 'sriov', { netdevice: 'eth0', mode: 'passthrough' }, /mode=passthrough would give the container the PF itself, .*; leave it out/],
  ['a mode that never was', 'sriov', { netdevice: 'eth0', mode: 'bridge' }, /mode="bridge" is not known; use sriov or passthrough/],
  ['the hop limit of RoCE', 'sriov', { ...vfnet, rocehoplimit: '64' }, /rocehoplimit cannot be had: .*RDMA device.*; leave it out/],
  [
    'a user-space driver',
    'docker',
    { kind: 'sriov', pf: 'eth0', driver: 'vfio-pci' },
    /driver cannot be had: Docker gives a container a network interface.*; leave it out/,
  ],
  ['PFs apart', 'docker', { kind: 'sriov', pf: 'eth0', apart: 'on' }, /apart cannot be had: Docker says for which container/],
  ['a prefix that leaves no room for a number', 'sriov', { ...vfnet, prefix: 'x'.repeat(13) }, /cannot begin an interface's name; use 1 to 12 bytes/],
  ['a prefix with a slash', 'sriov', { ...vfnet, prefix: 'a/b' }, /"a\/b" cannot begin/],
  [
    'another kind under the name sriov',
    'sriov',
    { ...vfnet, kind: 'bridge' },
    /makes networks of kind sriov, not "bridge"; leave -o kind out, or use -d heddle/,
  ],
  ['VFs of another kind', 'docker', { pf: 'eth0' }, /pf is of networks of kind sriov; add -o kind=sriov/],
  ['a VNI', 'docker', { kind: 'sriov', pf: 'eth0', vni: '5000' }, /has no VNI/],
  ['no source of VFs', 'docker', { kind: 'sriov' }, /needs a PF or a pool to take VFs from; give -o pf=INTERFACE or -o pool=NAME/],
  ['a PF that is none', 'sriov', { pf_iface: 'eth9' }, /eth9 is not a device of host h1 that can have VFs; use one of eth0/],
  ['a PF that is no name', 'sriov', { pf_iface: '../eth0' }, /interface name "\.\.\/eth0" is not valid/],
  ['VFs that are no indexes', 'docker', { kind: 'sriov', pf: 'eth0#a' }, /pf .*is not a list of VF indexes/],
  ['a physical network that is no pool', 'sriov', { phys_network: 'physnet1' }, /no VF pool physnet1; create it with `heddle vf pool create physnet1`/],
  ['a pool for user-space drivers', 'docker', { kind: 'sriov', pool: 'dpdk' }, /VF pool dpdk gives VFs to the driver vfio-pci, .*; use another pool/],
  ['a VLAN and a trunk', 'docker', { kind: 'sriov', pf: 'eth0', vlan: '5', vlan_trunk: '6' }, /vlan_trunk: a VF on VLAN 5 cannot be a trunk/],
  ['a trunk that is none', 'docker', { kind: 'sriov', pf: 'eth0', vlan_trunk: '1-x' }, /is not a list of VLANs; write -o vlan_trunk=100,200-210/],
  ['rates the wrong way round', 'docker', { kind: 'sriov', pf: 'eth0', min_tx_rate: '9', max_tx_rate: '8' }, /min_tx_rate: the least rate, 9 Mbit/],
  ['a priority without VLAN', 'docker', { kind: 'sriov', pf: 'eth0', vlan_qos: '3' }, /vlan_qos: VLAN priority 3 needs a VLAN/],
  ['a switch that is neither', 'docker', { kind: 'sriov', pf: 'eth0', trust: 'maybe' }, /trust="maybe" is not known; use on or off/],
  ['an unknown policy', 'docker', { kind: 'sriov', pf: 'eth0', policy: 'best' }, /policy="best" is not known; use pack or spread/],
  ['an unknown link state', 'docker', { kind: 'sriov', pf: 'eth0', link_state: 'up' }, /link_state: link state "up" is unknown/],
]

test('an option that is unknown, impossible or contradicts another is refused with what to do, and nothing is made', async (t) => {
  const { gateway } = t.context
  gateway.cluster.vfs.addPool({ name: 'dpdk', selectors: [{}], driver: 'vfio-pci' })
  for (const [what, door, generic, sentence] of refusals) t.regex(await caller(gateway, door).refused('CreateNetwork', createBody(generic)), sentence, what)
  const { networks, aliases, ipam } = gateway.cluster
  t.deepEqual([networks.size, aliases.size, ipam.pools.size], [0, 0, 0])
})

test('the other name is a NetworkDriver only, and both see the same networks', async (t) => {
  const { gateway } = t.context
  const { sriov, cluster } = gateway
  t.deepEqual((await sriov.call('Plugin.Activate')).json, { Implements: ['NetworkDriver'] })
  t.is((await sriov.call('IpamDriver.RequestPool', {})).status, 404)
  await caller(gateway, 'docker').create({ kind: 'sriov', network: 'blue', pf: 'eth0', vlan: '7' })
  const other = { id: 'b'.repeat(64) }
  await caller(gateway).create({ network: 'blue' }, other)
  await caller(gateway).create({ network: 'blue', vlanid: '7' }, { id: 'c'.repeat(64) })
  t.deepEqual([cluster.networks.size, cluster.aliases.size], [1, 3])
  const differing = createBody({ network: 'blue', vlanid: '8' }, { id: 'd'.repeat(64) })
  t.regex(await caller(gateway).refused('CreateNetwork', differing), /network blue exists and its vlan is 7; leave -o vlan out/)
  cluster.addNetwork({ name: 'red', kind: 'bridge' })
  t.regex(await caller(gateway).refused('CreateNetwork', createBody({ network: 'red' }, { id: 'd'.repeat(64) })), /network red exists and its kind is bridge/)
})

test('the name sriov can be left to another plugin', async (t) => {
  const other = await startGateway({ docker: { sriov: false } })
  t.is((await other.docker.call('Plugin.Activate')).status, 200)
  await t.throwsAsync(other.sriov.call('Plugin.Activate'), { code: 'ENOENT' })
  await other.stop()
})

test('Docker need not reserve a gateway where nobody would use it', async (t) => {
  const { gateway } = t.context
  const { cluster } = gateway
  const check = async (generic: object, internal = false) =>
    (await caller(gateway).call('GwAllocCheck', { Options: createBody(generic, { internal }).Options })).SkipIPv4
  t.deepEqual(
    [await check(vfnet), await check(vfnet, true), await check({ ...vfnet, gateway: 'none' }), await check({ ...vfnet, gateway: 'docker' })],
    [false, true, true, true],
  )
  cluster.addNetwork({ name: 'blue', kind: 'sriov', pools: [{ poolId: 'b', prefix: '10.1.0.0/24', gateway: '' }] })
  t.true(await check({ network: 'blue' }))
})

test('docker_gwbridge is added where it is asked for, and nowhere else', async (t) => {
  const { gateway } = t.context
  const docker = caller(gateway)
  await docker.create({ ...vfnet, gateway: 'docker' })
  await docker.endpoint()
  t.like(await docker.join(), { Gateway: '', DisableGatewayService: false })
})

test('a VF is given once: as many containers as there are VFs, however they come, and the next is told why not', async (t) => {
  const { gateway } = t.context
  const docker = caller(gateway)
  await docker.create(vfnet)
  const outcomes = await Promise.allSettled([1, 2, 3, 4].map((n) => docker.endpoint(`e${n}`, { address: `172.18.0.${n + 1}/16` })))
  const given = outcomes.flatMap((one) => (one.status === 'fulfilled' ? [one.value.Interface.MacAddress] : []))
  t.is(new Set(given).size, 3)
  const refused = outcomes.flatMap((one) => (one.status === 'rejected' ? [String(one.reason)] : []))
  t.is(refused.length, 1)
  t.regex(refused[0] ?? '', /500 none of 3 VFs is free; remove containers, or make more VFs/)
  t.is(gateway.cluster.endpoints.size, 3)
  t.is(gateway.cluster.ipam.claims.size, 3, 'the address of the one that was refused is free again')
})

test('a gateway that is restarted knows every VF: those in containers are not given again, the others are', async (t) => {
  const { gateway } = t.context
  const docker = caller(gateway)
  await docker.create({ ...vfnet, prefix: 'net' })
  await docker.endpoint()
  await docker.join()
  const restarted = await startGateway({}, gateway.cluster)
  const again = caller(restarted)
  t.deepEqual(await again.endpoint('e2', { address: '172.18.0.3/16' }), { Interface: { MacAddress: '52:54:00:3b:00:01' } })
  t.like(await again.join('e2'), { InterfaceName: { SrcName: 'eth0v1', DstPrefix: 'net' } }, 'the prefix is as it was given')
  await again.leave()
  await again.leave('e2')
  t.deepEqual(await pristine(gateway), clean)
  await restarted.stop()
})

test('an unknown network or endpoint is an answer, not the end of the plugin', async (t) => {
  const { gateway } = t.context
  const docker = caller(gateway)
  const unknown = { NetworkID: 'b'.repeat(64), EndpointID: 'f'.repeat(64), SandboxKey: '', Options: {} }
  t.regex(await docker.refused('CreateEndpoint', { ...unknown, Interface: {} }), /has no Heddle network; .*docker network rm/)
  t.regex(await docker.refused('Join', unknown), /has no Heddle network/)
  for (const method of ['Leave', 'DeleteEndpoint', 'DeleteNetwork']) t.deepEqual(await docker.call(method, unknown), {}, method)
  t.is((await gateway.sriov.raw('NetworkDriver.Join', { text: '' })).status, 400, 'a request that Docker repeats has no body')
})

test('a VF whose container died is put back without a Leave, and free for who hears the answer', async (t) => {
  const { gateway } = t.context
  const { cluster } = gateway
  const docker = caller(gateway)
  await docker.create({ ...vfnet, pf_iface: 'eth0#1' })
  await docker.endpoint()
  await docker.join()
  const slow = Promise.withResolvers<void>()
  cluster.faults.set('vfAllocator.release', slow.promise)
  await docker.call('DeleteEndpoint', ids)
  t.deepEqual([cluster.vfs.vfs.get('0000:3b:02.1')?.state, cluster.vfs.claims.size], ['ready', 1], 'put back first, freed after that')
  const next = docker.endpoint('e2', { address: '172.18.0.3/16' })
  // Time enough to be refused, were it not waited for.
  await setTimeout(50)
  slow.resolve()
  t.deepEqual(await next, { Interface: { MacAddress: '52:54:00:3b:00:01' } })
  await docker.leave('e2')
  t.deepEqual(await pristine(gateway), clean)
})

test('a VF that cannot be put back stays claimed, and is freed once it can be', async (t) => {
  const { gateway } = t.context
  const { cluster } = gateway
  const docker = caller(gateway)
  await docker.create(vfnet)
  await docker.endpoint()
  await docker.join()
  cluster.faults.set('wiring.detach', new HeddleError('unavailable', 'the hands are away'))
  await docker.leave()
  t.deepEqual([cluster.vfs.claims.size, cluster.endpoints.size], [1, 1], 'Docker is answered, the VF is nobody else’s')
  cluster.faults.clear()
  t.deepEqual(await pristine(gateway), clean)
})

test('a VF without network interface is an error that names it, not a container without one', async (t) => {
  const { gateway } = t.context
  const { cluster } = gateway
  const docker = caller(gateway)
  await docker.create(vfnet)
  for (const vf of cluster.vfs.vfs.values()) Object.assign(vf, { name: '', driver: 'vfio-pci', baseline: { ...vf.baseline, name: '', driver: 'vfio-pci' } })
  await t.throwsAsync(docker.endpoint(), { message: /VF 0000:3b:02\.0 of eth0 has no network interface.*\(driver: vfio-pci\); bind it/ })
  t.deepEqual(await pristine(gateway), clean)
  for (const vf of cluster.vfs.vfs.values()) Object.assign(vf, { driver: 'igbvf', baseline: { ...vf.baseline, name: 'was-there' } })
  await docker.endpoint()
  await t.throwsAsync(docker.join(), { message: /VF 0000:3b:02\.0 has no network interface.*; see `heddle vf inspect 0000:3b:02\.0`/ })
  await docker.leave()
  t.deepEqual(await pristine(gateway), clean)
})

test('two networks may share a VLAN of a PF: the VLAN is one wire, and each network its own addresses on it', async (t) => {
  const { gateway } = t.context
  const docker = caller(gateway)
  await docker.create(vfnet)
  const network = 'b'.repeat(64)
  await docker.create(vfnet, { id: network, pool: '172.19.0.0/16', gateway: '172.19.0.1/16' })
  await docker.endpoint()
  t.deepEqual(await docker.endpoint('e2', { network, address: '172.19.0.2/16' }), { Interface: { MacAddress: '52:54:00:3b:00:01' } })
  t.deepEqual(
    [...gateway.cluster.endpoints.values()].map(({ vf }) => vf?.settings?.vlan),
    [100, 100],
  )
})

test('a MAC that is asked for is set; one that is a free VF’s own chooses this VF', async (t) => {
  const { gateway } = t.context
  const { cluster } = gateway
  const docker = caller(gateway)
  await docker.create(vfnet)
  t.deepEqual(await docker.endpoint('e1', { mac: '02:42:AC:12:00:02' }), { Interface: {} }, 'Docker knows it already')
  t.like(cluster.endpoints.get('e1'), { mac: '02:42:ac:12:00:02', vf: { pci: '0000:3b:02.0' } })
  await docker.endpoint('e2', { mac: '52:54:00:3b:00:02', address: '172.18.0.3/16' })
  t.like(cluster.endpoints.get('e2'), { mac: '52:54:00:3b:00:02', vf: { pci: '0000:3b:02.2' } })
  await docker.endpoint('e3', { mac: '52:54:00:3b:00:00', address: '172.18.0.4/16' })
  t.like(cluster.endpoints.get('e3'), { vf: { pci: '0000:3b:02.1' } }, 'that VF is not free: another, with this MAC')
})

test('a VF that has no MAC of its own gets one that stays the same', async (t) => {
  const { gateway } = t.context
  const docker = caller(gateway)
  await docker.create(vfnet)
  for (const vf of gateway.cluster.vfs.vfs.values()) Object.assign(vf, { mac: '00:00:00:00:00:00', baseline: { ...vf.baseline, mac: '00:00:00:00:00:00' } })
  const { MacAddress } = (await docker.endpoint()).Interface
  t.regex(MacAddress, /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/)
  t.not(MacAddress, '00:00:00:00:00:00')
  t.is((await docker.endpoint()).Interface.MacAddress, MacAddress)
})

test('when a later step of CreateEndpoint fails the VF is put back and free', async (t) => {
  const { gateway } = t.context
  const { cluster } = gateway
  const docker = caller(gateway)
  await docker.create(vfnet)
  for (const step of ['ipam.adopt', 'networks.putEndpoint', 'vfAllocator.claim']) {
    cluster.faults.set(step, new HeddleError('overloaded', `${step} fails`, { remedy: 'try again' }))
    await t.throwsAsync(docker.endpoint(), { message: new RegExp(`500 ${step} fails; try again`) })
    cluster.faults.clear()
    t.deepEqual(await pristine(gateway), clean, step)
  }
})
