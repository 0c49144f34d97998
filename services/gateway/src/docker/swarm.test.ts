// Docker's swarm: the calls of a manager and of its nodes, as swarmkit and the engine order them.
import { isSwarmOwner } from '@heddle/core'
import anyTest, { type TestFn } from 'ava'
import { startGateway, type TestGateway } from '../testing/gateway.ts'

const test = anyTest as TestFn<{ gateway: TestGateway }>

const NetworkID = 'utdaqiq2gw1j2x9kd0pcv5zrt'
const EndpointID = 'e'.repeat(64)
const ids = { NetworkID, EndpointID }
const serial = { 'com.docker.network.ipam.serial': 'true' }
const gatewayType = { RequestAddressType: 'com.docker.network.gateway' }
const Pool = '10.90.0.0/24'

test.beforeEach(async (t) => {
  t.context.gateway = await startGateway({ docker: { scope: 'global' } })
})
test.afterEach.always((t) => t.context.gateway.stop())

function calls({ docker }: TestGateway) {
  return async (method: string, body?: unknown) => {
    const { status, json } = await docker.call(method, body)
    if (status !== 200) throw new Error(`${method}: ${status} ${json.Err}`)
    return json
  }
}

/** As the allocator of a manager makes a network. */
async function allocateNetwork(gateway: TestGateway, more: { id?: string; options?: object; ipam?: object; pool?: string } = {}) {
  const call = calls(gateway)
  const { GlobalDefaultAddressSpace: AddressSpace } = await call('IpamDriver.GetDefaultAddressSpaces')
  const { PoolID } = await call('IpamDriver.RequestPool', { AddressSpace, Pool: more.pool ?? Pool, SubPool: '', Options: more.ipam ?? null, V6: false })
  const Gateway = (await call('IpamDriver.RequestAddress', { PoolID, Address: '', Options: { ...gatewayType, ...serial } })).Address
  const data = [{ AddressSpace: '', Pool: more.pool ?? Pool, Gateway, AuxAddresses: null }]
  const body = { NetworkID: more.id ?? NetworkID, Options: more.options ?? null, IPv4Data: data, IPv6Data: null }
  const { Options } = await call('NetworkDriver.AllocateNetwork', body)
  return { PoolID: PoolID as string, Gateway: Gateway as string, Options: Options as Record<string, string> }
}

type Allocated = Awaited<ReturnType<typeof allocateNetwork>>

/** As a node makes it when its first task comes. */
async function createOnNode(gateway: TestGateway, { Options, Gateway }: Allocated, more: { internal?: boolean; ipam?: object } = {}) {
  const call = calls(gateway)
  const { PoolID } = await call('IpamDriver.RequestPool', { AddressSpace: 'heddle', Pool, SubPool: '', Options: more.ipam ?? null, V6: false })
  const address = Gateway.split('/')[0]
  const again = await call('IpamDriver.RequestAddress', { PoolID, Address: address, Options: gatewayType })
  const options = {
    'com.docker.network.enable_ipv6': false,
    'com.docker.network.generic': Options,
    ...(more.internal ? { 'com.docker.network.internal': true } : {}),
  }
  const data = [{ AddressSpace: 'heddle', Pool, Gateway: again.Address }]
  await call('NetworkDriver.CreateNetwork', { NetworkID, Options: options, IPv4Data: data, IPv6Data: [] })
  return { PoolID: PoolID as string, gateway: again.Address as string }
}

/** A task of a service: its address from the manager, then asked for by name on its node. */
async function startTask(gateway: TestGateway, PoolID: string, endpoint = EndpointID): Promise<string> {
  const call = calls(gateway)
  const { Address } = await call('IpamDriver.RequestAddress', { PoolID, Address: '', Options: serial })
  const bare = Address.split('/')[0]
  const node = await call('IpamDriver.RequestAddress', { PoolID, Address: bare, Options: { 'com.docker.network.endpoint.name': 'web.1' } })
  const Interface = { Address: node.Address, AddressIPv6: '', MacAddress: '' }
  await call('NetworkDriver.CreateEndpoint', { NetworkID, EndpointID: endpoint, Interface, Options: null })
  await call('NetworkDriver.Join', { NetworkID, EndpointID: endpoint, SandboxKey: '/var/run/docker/netns/0123456789ab', Options: null })
  return bare
}

async function stopOnNode(gateway: TestGateway, PoolID: string, Address: string) {
  const call = calls(gateway)
  await call('NetworkDriver.Leave', ids)
  await call('NetworkDriver.DeleteEndpoint', ids)
  await call('IpamDriver.ReleaseAddress', { PoolID, Address })
}

function held({ cluster }: TestGateway): string[] {
  return [...cluster.ipam.claims.values()].filter(({ owner }) => isSwarmOwner(owner)).map(({ address }) => address)
}

test('the capabilities name the scope, and the driver of the other name has it too', async (t) => {
  for (const client of [t.context.gateway.docker, t.context.gateway.sriov]) {
    const { json } = await client.call('NetworkDriver.GetCapabilities')
    t.deepEqual(json, { Scope: 'global', ConnectivityScope: 'global', GwAllocChecker: true })
  }
})

test('a manager allocates one network for all nodes; what it answers takes the place of the options, so these are in it', async (t) => {
  const { gateway } = t.context
  const made = await allocateNetwork(gateway, { options: { mtu: '1400', 'com.example.x': 'y' } }).catch((error: Error) => error.message)
  t.regex(String(made), /option -o "com\.example\.x" is not known/)
  const { Options } = await allocateNetwork(gateway, { options: { mtu: '1400' } })
  const [network] = [...gateway.cluster.networks.values()]
  t.deepEqual(Options, { mtu: '1400', vni: String(network?.vni) })
  t.like(network, { name: 'docker-utdaqiq2gw1j', createdBy: 'docker', mtu: 1400 })
  t.deepEqual([...gateway.cluster.aliases.keys()], [`docker:swarm:${NetworkID}`])
})

test('a new leader allocates every network again, with the answer it had, and gets the same', async (t) => {
  const { gateway } = t.context
  const first = await allocateNetwork(gateway)
  const again = await allocateNetwork(gateway, { options: first.Options })
  t.deepEqual(again, first)
  t.is(gateway.cluster.networks.size, 1)
  t.is(gateway.cluster.ipam.pools.size, 1)
})

test('a node creates the network of its manager, again after each start of its engine, and leaves no trace in the cluster', async (t) => {
  const { gateway } = t.context
  const allocated = await allocateNetwork(gateway)
  const before = [...gateway.cluster.aliases.keys()]
  for (const start of ['first', 'second']) {
    const node = await createOnNode(gateway, allocated)
    t.is(node.PoolID, allocated.PoolID, start)
    t.is(node.gateway, allocated.Gateway, start)
  }
  t.is(gateway.cluster.networks.size, 1)
  const call = calls(gateway)
  await call('IpamDriver.ReleasePool', { PoolID: allocated.PoolID })
  await call('NetworkDriver.DeleteNetwork', { NetworkID })
  t.is(gateway.cluster.networks.size, 1, 'the last task of a node went, not the network')
  t.deepEqual([...gateway.cluster.aliases.keys()], before)
  await createOnNode(gateway, allocated)
  t.regex(
    String(await createOnNode(gateway, allocated, { internal: true }).catch((error: Error) => error.message)),
    /exists and is not internal/,
    'the manager is not told of --internal',
  )
})

test("a task's address is the manager's until the manager releases it, however often the node asks and releases", async (t) => {
  const { gateway } = t.context
  const { PoolID } = await allocateNetwork(gateway)
  const address = await startTask(gateway, PoolID)
  t.deepEqual(held(gateway), [address])
  t.like(gateway.cluster.endpoints.get(EndpointID), { addresses: [`${address}/24`], state: 'wired' })
  await stopOnNode(gateway, PoolID, address)
  t.deepEqual(held(gateway), [address])
  const call = calls(gateway)
  const other = await call('IpamDriver.RequestAddress', { PoolID, Address: '', Options: serial })
  t.not(other.Address, `${address}/24`)
  await call('IpamDriver.ReleaseAddress', { PoolID, Address: address })
  await call('IpamDriver.ReleaseAddress', { PoolID, Address: other.Address.split('/')[0] })
  t.deepEqual(held(gateway), [])
})

test('a new leader asks for the addresses of all tasks and services again, and gets them', async (t) => {
  const { gateway } = t.context
  const call = calls(gateway)
  const { PoolID } = await allocateNetwork(gateway)
  const address = await startTask(gateway, PoolID)
  const { Address: virtual } = await call('IpamDriver.RequestAddress', { PoolID, Address: '', Options: serial })
  for (const one of [`${address}/24`, virtual]) {
    t.is((await call('IpamDriver.RequestAddress', { PoolID, Address: one.split('/')[0], Options: serial })).Address, one)
  }
  t.is(held(gateway).length, 2)
})

test('after a restart of the gateway the release of a node is still not that of the manager', async (t) => {
  const { gateway } = t.context
  const { PoolID } = await allocateNetwork(gateway)
  const address = await startTask(gateway, PoolID)
  const restarted = await startGateway({ docker: { scope: 'global' } }, gateway.cluster)
  t.teardown(() => restarted.stop())
  await stopOnNode(restarted, PoolID, address)
  t.deepEqual(held(gateway), [address])
  t.false(gateway.cluster.endpoints.has(EndpointID))
})

test('freeing a network removes it with its pool and what nobody released, and never fails', async (t) => {
  const { gateway } = t.context
  const call = calls(gateway)
  const { PoolID } = await allocateNetwork(gateway)
  await startTask(gateway, PoolID)
  await call('NetworkDriver.DeleteEndpoint', ids)
  t.is(held(gateway).length, 1)
  for (const time of ['once', 'twice']) t.deepEqual(await call('NetworkDriver.FreeNetwork', { NetworkID }), {}, time)
  t.deepEqual(await call('IpamDriver.ReleasePool', { PoolID }), {})
  const { networks, aliases, vnis, ipam } = gateway.cluster
  t.deepEqual([networks.size, aliases.size, vnis.size, ipam.pools.size, ipam.claims.size], [0, 0, 0, 0, 0])
})

test('a network that is there already is joined by its name and stays when the swarm frees it', async (t) => {
  const { gateway } = t.context
  const blue = gateway.cluster.addNetwork({
    name: 'blue',
    createdBy: 'cli',
    vni: 5000,
    pools: [{ poolId: 'blue.10.90.0.0_24', prefix: Pool, gateway: '' }],
  })
  const named = { options: { network: 'blue' }, ipam: { network: 'blue' } }
  const allocated = await allocateNetwork(gateway, named)
  t.deepEqual(allocated.Options, { network: 'blue', vni: '5000' })
  await createOnNode(gateway, allocated, { ipam: named.ipam })
  await startTask(gateway, allocated.PoolID)
  t.is(gateway.cluster.endpoints.get(EndpointID)?.networkId, blue.id)
  await calls(gateway)('NetworkDriver.FreeNetwork', { NetworkID })
  t.true(gateway.cluster.networks.has(blue.id))
  t.is(gateway.cluster.aliases.size, 0)
})

test('a subnet that another network of the swarm has is refused', async (t) => {
  const { gateway } = t.context
  await allocateNetwork(gateway)
  await t.throwsAsync(allocateNetwork(gateway, { id: 'another2gw1j2x9kd0pcv5zrt' }), {
    message: /AllocateNetwork: 500 subnet 10\.90\.0\.0\/24 belongs to network docker-utdaqiq2gw1j; choose another --subnet/,
  })
})

test('without a swarm a network of a global driver is made by each engine, as one of a local driver', async (t) => {
  const { gateway } = t.context
  const call = calls(gateway)
  const { PoolID } = await call('IpamDriver.RequestPool', { AddressSpace: 'heddle', Pool, SubPool: '', Options: null, V6: false })
  await call('NetworkDriver.CreateNetwork', { NetworkID, Options: {}, IPv4Data: [{ AddressSpace: 'heddle', Pool }], IPv6Data: [] })
  const { Address } = await call('IpamDriver.RequestAddress', { PoolID, Address: '', Options: {} })
  await call('NetworkDriver.CreateEndpoint', { ...ids, Interface: { Address, AddressIPv6: '', MacAddress: '' }, Options: null })
  t.deepEqual(held(gateway), [])
  await stopOnNode(gateway, PoolID, Address.split('/')[0])
  await call('NetworkDriver.DeleteNetwork', { NetworkID })
  t.deepEqual([gateway.cluster.networks.size, gateway.cluster.ipam.claims.size], [0, 0])
})

test('an event of a node is checked and answered; other events, of keys for instance, are none of ours', async (t) => {
  const { docker } = t.context.gateway
  const node = { DiscoveryType: 1, DiscoveryData: { Address: '192.0.2.7', BindAddress: '', Self: true } }
  const older = { DiscoveryType: 1, DiscoveryData: { Address: 'fd00::7', self: false } }
  for (const method of ['NetworkDriver.DiscoverNew', 'NetworkDriver.DiscoverDelete']) {
    for (const good of [node, older, { DiscoveryType: 3, DiscoveryData: null }]) t.deepEqual((await docker.call(method, good)).json, {}, JSON.stringify(good))
    for (const bad of [
      { DiscoveryType: 1, DiscoveryData: null },
      { ...node, DiscoveryData: { Address: 'seven' } },
    ]) {
      const { status, json } = await docker.call(method, bad)
      t.is(status, 500, JSON.stringify(bad))
      t.regex(json.Err, /names no node|seven/)
    }
    t.is((await docker.call(method, { DiscoveryType: 'one' })).status, 400)
  }
})

test('a driver of local scope allocates nothing for a swarm and says how it would', async (t) => {
  const local = await startGateway()
  t.teardown(() => local.stop())
  const { status, json } = await local.docker.call('NetworkDriver.AllocateNetwork', { NetworkID, Options: { mtu: '1400' }, IPv4Data: null, IPv6Data: null })
  t.is(status, 500)
  t.regex(json.Err, /local scope.*set gateway\.docker\.scope to global/)
  t.deepEqual((await local.docker.call('NetworkDriver.FreeNetwork', { NetworkID })).json, {})
  t.is(local.cluster.networks.size, 0)
})
