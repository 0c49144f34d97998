import { HeddleError, macOf } from '@heddle/core'
import anyTest, { type TestFn } from 'ava'
import { startGateway, type TestGateway } from '../testing/gateway.ts'
import { leftovers, none } from '../testing/networks.ts'

const test = anyTest as TestFn<{ gateway: TestGateway }>
const NetworkID = 'a'.repeat(64)
const EndpointID = 'e'.repeat(64)
const ids = { NetworkID, EndpointID }

test.beforeEach(async (t) => {
  t.context.gateway = await startGateway()
})
test.afterEach.always((t) => t.context.gateway.stop())

/** Calls that must succeed. */
function client({ docker }: TestGateway) {
  return async (method: string, body?: unknown) => {
    const answer = await docker.call(method, body)
    if (answer.status !== 200) throw new Error(`${method}: ${answer.status} ${JSON.stringify(answer.json)}`)
    return answer.json
  }
}

interface Created {
  readonly pool: { readonly PoolID: string; readonly Pool: string }
  readonly gateway: string
}

/** `docker network create` as the engine spells it. */
async function createNetwork(
  gateway: TestGateway,
  generic: object,
  more: { ipam?: object; id?: string; pool?: string; subPool?: string; aux?: object; internal?: boolean } = {},
): Promise<Created> {
  const call = client(gateway)
  const { LocalDefaultAddressSpace: AddressSpace } = await call('IpamDriver.GetDefaultAddressSpaces')
  const pool = await call('IpamDriver.RequestPool', { AddressSpace, Pool: more.pool ?? '', SubPool: more.subPool ?? '', Options: more.ipam ?? null, V6: false })
  const given = pool.Data['com.docker.network.gateway']
  const type = { RequestAddressType: 'com.docker.network.gateway' }
  const Gateway = given ?? (await call('IpamDriver.RequestAddress', { PoolID: pool.PoolID, Address: '', Options: type })).Address
  const AuxAddresses: Record<string, string> = {}
  for (const [name, Address] of Object.entries(more.aux ?? {}))
    AuxAddresses[name] = (await call('IpamDriver.RequestAddress', { PoolID: pool.PoolID, Address, Options: null })).Address
  const data = { AddressSpace, Pool: pool.Pool, Gateway, ...(more.aux === undefined ? {} : { AuxAddresses }) }
  const Options = {
    'com.docker.network.enable_ipv6': false,
    'com.docker.network.generic': generic,
    ...(more.internal ? { 'com.docker.network.internal': true } : {}),
  }
  await call('NetworkDriver.CreateNetwork', { NetworkID: more.id ?? NetworkID, Options, IPv4Data: [data], IPv6Data: [] })
  return { pool, gateway: Gateway }
}

/** Reserve and wire, as `docker run`. */
async function connect(gateway: TestGateway, { pool }: Created, more: { endpoint?: string; mac?: string; options?: object } = {}) {
  const call = client(gateway)
  const endpoint = { NetworkID, EndpointID: more.endpoint ?? EndpointID }
  const { Address } = await call('IpamDriver.RequestAddress', { PoolID: pool.PoolID, Address: '', Options: {} })
  const Interface = { Address, AddressIPv6: '', MacAddress: more.mac ?? '' }
  const created = await call('NetworkDriver.CreateEndpoint', { ...endpoint, Interface, Options: more.options ?? null })
  const joined = await call('NetworkDriver.Join', { ...endpoint, SandboxKey: '/var/run/docker/netns/0123456789ab', Options: more.options ?? null })
  return { Address, created, joined }
}

async function disconnect(gateway: TestGateway, { pool }: Created, Address: string) {
  const call = client(gateway)
  await call('NetworkDriver.Leave', ids)
  await call('NetworkDriver.DeleteEndpoint', ids)
  await call('IpamDriver.ReleaseAddress', { PoolID: pool.PoolID, Address: Address.split('/')[0] })
}

async function removeNetwork(gateway: TestGateway, { pool, gateway: address }: Created, id = NetworkID) {
  const call = client(gateway)
  await call('IpamDriver.ReleaseAddress', { PoolID: pool.PoolID, Address: address.split('/')[0] })
  await call('IpamDriver.ReleasePool', { PoolID: pool.PoolID })
  await call('NetworkDriver.DeleteNetwork', { NetworkID: id })
}

test('the whole life of an overlay network and a container leaves nothing', async (t) => {
  const { gateway } = t.context
  const { cluster } = gateway
  const network = await createNetwork(gateway, { network: 'blue' }, { ipam: { network: 'blue' }, pool: '10.1.0.0/16' })
  t.like([...cluster.networks.values()][0], { name: 'blue', kind: 'overlay', createdBy: 'docker', pools: [{ prefix: '10.1.0.0/16', gateway: '' }] })
  const { Address, created, joined } = await connect(gateway, network)
  t.deepEqual(created, { Interface: { MacAddress: macOf(EndpointID) } })
  t.deepEqual(joined, {
    InterfaceName: { SrcName: 'hp0123456789a', DstPrefix: 'eth' },
    Gateway: '',
    GatewayIPv6: '',
    StaticRoutes: [],
    DisableGatewayService: false,
  })
  t.like(cluster.endpoints.get(EndpointID), { state: 'wired', addresses: [Address], runtime: 'docker' })
  await disconnect(gateway, network, Address)
  t.deepEqual(leftovers(cluster), none)
  await removeNetwork(gateway, network)
  t.deepEqual([cluster.networks.size, cluster.ipam.pools.size, cluster.vnis.size, cluster.aliases.size], [0, 0, 0, 0])
})

test('a bridge network gives its own gateway, bare, and publishes ports', async (t) => {
  const { gateway } = t.context
  const call = client(gateway)
  const network = await createNetwork(
    gateway,
    { kind: 'bridge', 'com.docker.network.driver.mtu': '1400', 'com.docker.network.bridge.name': 'ignored' },
    { pool: '10.9.0.0/24' },
  )
  t.like([...gateway.cluster.networks.values()][0], { name: `docker-${NetworkID.slice(0, 12)}`, kind: 'bridge', mtu: 1400 })
  const { joined } = await connect(gateway, network)
  t.is(joined.Gateway, '10.9.0.1')
  const portmap = [
    { Proto: 6, IP: '', Port: 80, HostIP: '0.0.0.0', HostPort: 8080, HostPortEnd: 8080 },
    { Proto: 6, IP: '', Port: 80, HostIP: '::', HostPort: 8080, HostPortEnd: 8080 },
    { Proto: 17, IP: '', Port: 53, HostIP: '127.0.0.1', HostPort: 0, HostPortEnd: 0 },
  ]
  await call('NetworkDriver.ProgramExternalConnectivity', { ...ids, Options: { 'com.docker.network.portmap': portmap } })
  const published = [
    { protocol: 'tcp', hostAddress: '', hostPort: 8080, containerPort: 80 },
    { protocol: 'udp', hostAddress: '127.0.0.1', hostPort: 32_768, containerPort: 53 },
  ]
  t.deepEqual(gateway.cluster.published.get(EndpointID), published)
  t.deepEqual(gateway.cluster.endpoints.get(EndpointID)?.ports, published)
  await call('NetworkDriver.RevokeExternalConnectivity', ids)
  t.deepEqual(gateway.cluster.published.get(EndpointID), [])
  t.deepEqual(await call('NetworkDriver.EndpointOperInfo', ids), { Value: { 'heddle.network': `docker-${NetworkID.slice(0, 12)}`, 'heddle.state': 'wired' } })
})

test('a range of host ports goes on to the next while one is taken', async (t) => {
  const { gateway } = t.context
  const network = await createNetwork(gateway, { kind: 'bridge' })
  await connect(gateway, network)
  gateway.cluster.faults.set('wiring.publishPorts', new HeddleError('port-taken', 'taken'))
  const Options = { 'com.docker.network.portmap': [{ Proto: 6, IP: '', Port: 80, HostIP: '', HostPort: 8000, HostPortEnd: 8003 }] }
  const refused = await gateway.docker.call('NetworkDriver.ProgramExternalConnectivity', { ...ids, Options })
  t.is(refused.status, 500)
  t.is(gateway.cluster.calls.filter((name) => name === 'wiring.publishPorts').length, 4)
})

test('a second host joins a network by its name, with the pool and gateway that are there', async (t) => {
  const { gateway } = t.context
  const { cluster } = gateway
  cluster.addNetwork({ name: 'blue', createdBy: 'cli', pools: [{ poolId: 'blue.10.1.0.0_16', prefix: '10.1.0.0/16', gateway: '10.1.0.1' }] })
  const network = await createNetwork(gateway, { network: 'blue' }, { ipam: { network: 'blue' } })
  t.is(network.pool.PoolID, 'blue.10.1.0.0_16')
  t.is(network.gateway, '10.1.0.1/16')
  t.is(cluster.aliases.size, 1)
  await removeNetwork(gateway, network)
  t.deepEqual([cluster.networks.size, cluster.ipam.pools.size, cluster.aliases.size], [1, 1, 0], 'what Docker only joined stays')
})

test('a network that two Docker networks share goes with the last of them', async (t) => {
  const { gateway } = t.context
  const options = { ipam: { network: 'blue' } }
  const first = await createNetwork(gateway, { network: 'blue' }, { ...options, pool: '10.1.0.0/16' })
  const second = await createNetwork(gateway, { network: 'blue' }, { ...options, id: 'b'.repeat(64) })
  await removeNetwork(gateway, first)
  t.deepEqual([gateway.cluster.networks.size, gateway.cluster.ipam.pools.size], [1, 1])
  await removeNetwork(gateway, second, 'b'.repeat(64))
  t.deepEqual([gateway.cluster.networks.size, gateway.cluster.ipam.pools.size], [0, 0])
})

test('auxiliary addresses are set aside by name, also when a second host names them again', async (t) => {
  const { gateway } = t.context
  const more = { ipam: { network: 'blue' }, pool: '10.1.0.0/16', aux: { router: '10.1.0.9' } }
  await createNetwork(gateway, { network: 'blue' }, more)
  t.deepEqual(gateway.cluster.ipam.pools.get('blue.10.1.0.0_16')?.auxiliary, { router: '10.1.0.9' })
  await createNetwork(gateway, { network: 'blue' }, { ...more, id: 'b'.repeat(64) })
  t.is(gateway.cluster.ipam.claims.size, 0)
})

test('each request for any pool gets another one, and a subnet of this host cannot be had twice', async (t) => {
  const { gateway } = t.context
  const request = { AddressSpace: 'heddle', Pool: '', SubPool: '', Options: null, V6: false }
  const call = client(gateway)
  const pools = [
    await call('IpamDriver.RequestPool', request),
    await call('IpamDriver.RequestPool', request),
    await call('IpamDriver.RequestPool', { ...request, V6: true }),
  ]
  t.is(new Set(pools.map((pool) => pool.Pool)).size, 3)
  t.regex(pools[2].Pool, /^fd.*\/64$/)
  await createNetwork(gateway, {}, { pool: '10.9.0.0/24' })
  const again = await gateway.docker.call('IpamDriver.RequestPool', { ...request, Pool: '10.9.0.0/24' })
  t.is(again.status, 500)
  t.regex(again.json.Error, /another Docker network.*--subnet/)
})

test('a pool requested for a network that was never made is deleted with what is provisional in it', async (t) => {
  const { gateway } = t.context
  const call = client(gateway)
  const pool = await call('IpamDriver.RequestPool', { AddressSpace: 'heddle', Pool: '10.9.0.0/24', SubPool: '10.9.0.128/25', Options: null, V6: false })
  t.deepEqual(gateway.cluster.ipam.pools.get(pool.PoolID)?.ranges, [{ first: '10.9.0.128', last: '10.9.0.255' }])
  await call('IpamDriver.RequestAddress', { PoolID: pool.PoolID, Address: '10.9.0.7', Options: null })
  await call('IpamDriver.ReleasePool', { PoolID: pool.PoolID })
  t.deepEqual([gateway.cluster.ipam.pools.size, gateway.cluster.ipam.claims.size], [0, 0])
})

test('GwAllocCheck skips the gateway of an overlay and keeps that of a bridge', async (t) => {
  const call = client(t.context.gateway)
  const check = (generic: object, more: object = {}) => call('NetworkDriver.GwAllocCheck', { Options: { 'com.docker.network.generic': generic, ...more } })
  t.deepEqual(await check({}), { SkipIPv4: true, SkipIPv6: true })
  t.deepEqual(await check({ kind: 'bridge' }), { SkipIPv4: false, SkipIPv6: false })
  t.deepEqual(await check({ gateway: 'network' }), { SkipIPv4: false, SkipIPv6: false })
  t.deepEqual(await check({ kind: 'bridge' }, { 'com.docker.network.internal': true }), { SkipIPv4: true, SkipIPv6: true })
})

test('the way out of an overlay is as its option says', async (t) => {
  const { gateway } = t.context
  const network = await createNetwork(gateway, { gateway: 'network' })
  t.is((await connect(gateway, network)).joined.Gateway, network.gateway.split('/')[0])
  const closed = await startGateway()
  const { joined } = await connect(closed, await createNetwork(closed, { gateway: 'none' }))
  t.true(joined.DisableGatewayService)
  await closed.stop()
  const internal = await startGateway()
  const inner = await connect(internal, await createNetwork(internal, { kind: 'bridge' }, { internal: true }))
  t.is(inner.joined.Gateway, '')
  t.true(inner.joined.DisableGatewayService)
  await internal.stop()
})

test('options that are not known or have no sense are refused with what there is', async (t) => {
  const { gateway } = t.context
  const refuse = async (generic: unknown, remedy: RegExp) => {
    const data = [{ AddressSpace: 'heddle', Pool: '10.1.0.0/16', Gateway: '10.1.0.1/16' }]
    const answer = await gateway.docker.call('NetworkDriver.CreateNetwork', {
      NetworkID,
      Options: { 'com.docker.network.generic': generic },
      IPv4Data: data,
      IPv6Data: null,
    })
    t.is(answer.status, 500)
    t.regex(answer.json.Err, remedy)
    t.is(answer.json.Err, answer.json.Error)
  }
  await refuse({ colour: 'red' }, /network \(.*kind \(.*mtu \(.*vni \(.*gateway \(/)
  await refuse({ vni: 'many' }, /NUMBER/)
  await refuse({ network: '' }, /-o network=VALUE/)
  await refuse({ kind: 'ring' }, /overlay or bridge/)
  await refuse({ network: 'blue' }, /both -o network=NAME and --ipam-opt network=NAME/)
  await refuse('x', /key=value/)
  const ipam = await gateway.docker.call('IpamDriver.RequestPool', { AddressSpace: 'heddle', Pool: '', SubPool: '', Options: { colour: 'red' }, V6: false })
  t.regex(ipam.json.Error, /--ipam-opt "colour".*network \(/)
  t.is(gateway.cluster.networks.size, 0)
})

test('with the null IPAM driver a network is joined and the driver gives the addresses', async (t) => {
  const { gateway } = t.context
  gateway.cluster.addNetwork({ name: 'blue', createdBy: 'cli', pools: [{ poolId: 'blue.10.1.0.0_16', prefix: '10.1.0.0/16', gateway: '' }] })
  const call = client(gateway)
  const data = [{ AddressSpace: 'null', Pool: '0.0.0.0/0' }]
  await call('NetworkDriver.CreateNetwork', { NetworkID, Options: { 'com.docker.network.generic': { network: 'blue' } }, IPv4Data: data, IPv6Data: [] })
  const Interface = { Address: '', AddressIPv6: '', MacAddress: '02:42:00:00:00:01' }
  t.deepEqual(await call('NetworkDriver.CreateEndpoint', { ...ids, Interface, Options: null }), { Interface: { Address: '10.1.0.1/16' } })
})

test('repeated calls do the same once: network, endpoint, join', async (t) => {
  const { gateway } = t.context
  const network = await createNetwork(gateway, { network: 'blue' }, { ipam: { network: 'blue' }, pool: '10.1.0.0/16' })
  await client(gateway)('NetworkDriver.CreateNetwork', { NetworkID, Options: null, IPv4Data: null, IPv6Data: null })
  const { Address, created, joined } = await connect(gateway, network)
  const Interface = { Address, AddressIPv6: '', MacAddress: '' }
  t.deepEqual(await client(gateway)('NetworkDriver.CreateEndpoint', { ...ids, Interface, Options: {} }), created)
  t.deepEqual(await client(gateway)('NetworkDriver.Join', { ...ids, SandboxKey: '', Options: {} }), joined)
  t.deepEqual(leftovers(gateway.cluster), { claims: 1, endpoints: 1, interfaces: 1 })
})

test('a gateway that was restarted joins and removes an endpoint it never heard of', async (t) => {
  const { gateway } = t.context
  const network = await createNetwork(gateway, { network: 'blue' }, { ipam: { network: 'blue' }, pool: '10.1.0.0/16' })
  const { Address } = await connect(gateway, network)
  const restarted = await startGateway({}, gateway.cluster)
  await client(restarted)('NetworkDriver.Join', { ...ids, SandboxKey: '', Options: null })
  await disconnect(restarted, network, Address)
  t.deepEqual(leftovers(gateway.cluster), none)
  await restarted.stop()
})

test('when a step of CreateEndpoint fails nothing is left, when one of Join fails DeleteEndpoint takes the rest', async (t) => {
  const { gateway } = t.context
  const network = await createNetwork(gateway, { network: 'blue' }, { ipam: { network: 'blue' }, pool: '10.1.0.0/16' })
  const failure = new HeddleError('mac-taken', 'the MAC is taken', { remedy: 'choose another' })
  gateway.cluster.faults.set('networks.putEndpoint', failure)
  await t.throwsAsync(connect(gateway, network), { message: /500.*the MAC is taken; choose another/ })
  t.deepEqual(leftovers(gateway.cluster), none)
  gateway.cluster.faults.clear()
  gateway.cluster.faults.set('wiring.attach', failure)
  await t.throwsAsync(connect(gateway, network))
  await client(gateway)('NetworkDriver.Leave', ids)
  await client(gateway)('NetworkDriver.DeleteEndpoint', ids)
  t.deepEqual(leftovers(gateway.cluster), none)
})

test('deletes and releases succeed for what nobody knows, and with every brain away', async (t) => {
  const { gateway } = t.context
  const requests: [string, object][] = [
    ['NetworkDriver.Leave', ids],
    ['NetworkDriver.DeleteEndpoint', ids],
    ['NetworkDriver.RevokeExternalConnectivity', ids],
    ['NetworkDriver.DeleteNetwork', { NetworkID }],
    ['NetworkDriver.FreeNetwork', { NetworkID }],
    ['IpamDriver.ReleaseAddress', { PoolID: 'blue.10.1.0.0_16', Address: '10.1.0.7' }],
    ['IpamDriver.ReleaseAddress', { PoolID: 'nonsense', Address: 'nonsense' }],
    ['IpamDriver.ReleasePool', { PoolID: 'blue.10.1.0.0_16' }],
  ]
  for (const [method, body] of requests) t.deepEqual(await client(gateway)(method, body), {}, method)
  for (const brain of ['networks', 'ipam', 'overlay']) gateway.cluster.faults.set(brain, new HeddleError('internal', 'away'))
  for (const [method, body] of requests) t.deepEqual(await client(gateway)(method, body), {}, `${method} without brains`)
})

test('a network whose brains are away is removed when they are back', async (t) => {
  const { gateway } = t.context
  const network = await createNetwork(gateway, { network: 'blue' }, { ipam: { network: 'blue' }, pool: '10.1.0.0/16' })
  gateway.cluster.faults.set('networks', new HeddleError('unavailable', 'away'))
  await removeNetwork(gateway, network)
  t.is(gateway.cluster.networks.size, 1)
  gateway.cluster.faults.clear()
  while (gateway.cluster.networks.size + gateway.cluster.ipam.pools.size > 0) await new Promise((resolve) => setTimeout(resolve, 20))
  t.is(gateway.cluster.aliases.size, 0)
})

test('a call that nobody answers is answered by its deadline', async (t) => {
  const slow = await startGateway({ docker: { timeoutMs: 300 } })
  for (const brain of ['networks', 'ipam', 'overlay', 'wiring']) slow.cluster.faults.set(brain, 'hang')
  const answer = await slow.docker.call('IpamDriver.RequestAddress', { PoolID: 'blue.10.1.0.0_16', Address: '', Options: null })
  t.is(answer.status, 500)
  t.regex(answer.json.Error, /no result within/)
  await slow.stop()
})
