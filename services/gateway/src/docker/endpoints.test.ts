import { HeddleError } from '@heddle/core'
import anyTest, { type TestFn } from 'ava'
import { client, connect, createNetwork, disconnect, EndpointID, ids, NetworkID } from '../testing/docker-calls.ts'
import { startGateway, type TestGateway } from '../testing/gateway.ts'
import { leftovers, none, settled } from '../testing/networks.ts'

const test = anyTest as TestFn<{ gateway: TestGateway }>

test.beforeEach(async (t) => {
  t.context.gateway = await startGateway()
})
test.afterEach.always((t) => t.context.gateway.stop())

test('a bridge network gives its own gateway, bare, and publishes ports', async (t) => {
  const { gateway } = t.context
  const call = client(gateway)
  const network = await createNetwork(
    gateway,
    { kind: 'bridge', 'com.docker.network.driver.mtu': '1400', 'com.docker.network.advertise_addr_nmsgs': '1' },
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
  t.deepEqual(gateway.cluster.endpoints.get(EndpointID)?.ports, [], 'what the record names would be published again by the next repair')
  t.deepEqual(await call('NetworkDriver.EndpointOperInfo', ids), { Value: { 'heddle.network': `docker-${NetworkID.slice(0, 12)}`, 'heddle.state': 'wired' } })
})

test("ports of an overlay are Docker's to publish, unless the overlay is itself the way out: then they are refused", async (t) => {
  const { gateway } = t.context
  const Options = { 'com.docker.network.portmap': [{ Proto: 6, IP: '', Port: 80, HostIP: '', HostPort: 8080, HostPortEnd: 8080 }] }
  const network = await createNetwork(gateway, {})
  await connect(gateway, network)
  t.deepEqual(await client(gateway)('NetworkDriver.ProgramExternalConnectivity', { ...ids, Options }), {})
  const other = { NetworkID: 'b'.repeat(64), EndpointID: 'd'.repeat(64) }
  await createNetwork(gateway, { gateway: 'network' }, { id: other.NetworkID })
  const refused = await gateway.docker.call('NetworkDriver.ProgramExternalConnectivity', { ...other, Options })
  t.is(refused.status, 500)
  t.regex(refused.json.Err, /gateway of its own; leave -p out/)
  t.deepEqual(await client(gateway)('NetworkDriver.ProgramExternalConnectivity', { ...other, Options: {} }), {}, 'nothing to publish')
  t.is(gateway.cluster.published.size, 0)
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

test('with the null IPAM driver a network is joined and the driver gives the addresses', async (t) => {
  const { gateway } = t.context
  gateway.cluster.addNetwork({ name: 'blue', createdBy: 'cli', pools: [{ poolId: 'blue.10.1.0.0_16', prefix: '10.1.0.0/16', gateway: '' }] })
  const call = client(gateway)
  const data = [{ AddressSpace: 'null', Pool: '0.0.0.0/0' }]
  await call('NetworkDriver.CreateNetwork', { NetworkID, Options: { 'com.docker.network.generic': { network: 'blue' } }, IPv4Data: data, IPv6Data: [] })
  const Interface = { Address: '', AddressIPv6: '', MacAddress: '02:42:00:00:00:01' }
  t.deepEqual(await call('NetworkDriver.CreateEndpoint', { ...ids, Interface, Options: null }), { Interface: { Address: '10.1.0.1/16' } })
  // Docker never releases what it did not ask for, so no release is waited for: this one is somebody else's.
  await call('NetworkDriver.DeleteEndpoint', ids)
  const pool = { PoolID: 'blue.10.1.0.0_16' }
  await call('IpamDriver.RequestAddress', { ...pool, Address: '', Options: {} })
  await call('IpamDriver.ReleaseAddress', { ...pool, Address: '10.1.0.1' })
  t.is(gateway.cluster.ipam.claims.size, 0)
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

test('a CreateEndpoint that is repeated after Join leaves the endpoint as it is', async (t) => {
  const { gateway } = t.context
  const network = await createNetwork(gateway, { kind: 'bridge' })
  const { Address, created } = await connect(gateway, network)
  const Options = { 'com.docker.network.portmap': [{ Proto: 6, IP: '', Port: 80, HostIP: '', HostPort: 8080, HostPortEnd: 8080 }] }
  await client(gateway)('NetworkDriver.ProgramExternalConnectivity', { ...ids, Options })
  const before = structuredClone(gateway.cluster.endpoints.get(EndpointID))
  t.like(before, { state: 'wired', ports: [{ hostPort: 8080 }] })
  const Interface = { Address, AddressIPv6: '', MacAddress: '' }
  t.deepEqual(await client(gateway)('NetworkDriver.CreateEndpoint', { ...ids, Interface, Options: {} }), created)
  t.deepEqual(gateway.cluster.endpoints.get(EndpointID), before)
})

test('after Leave the interface is still there for Docker to move, until DeleteEndpoint', async (t) => {
  const { gateway } = t.context
  await connect(gateway, await createNetwork(gateway, {}))
  await client(gateway)('NetworkDriver.Leave', ids)
  t.is(gateway.cluster.interfaces.size, 1)
  await client(gateway)('NetworkDriver.DeleteEndpoint', ids)
  t.deepEqual(await settled(gateway.cluster), none)
})

test('the late release of an address does not take it from the container that was given it meanwhile', async (t) => {
  const { gateway } = t.context
  const call = client(gateway)
  const { pool } = await createNetwork(gateway, {}, { pool: '10.9.0.0/30' })
  const { Address } = await connect(gateway, { pool, gateway: '' })
  await call('NetworkDriver.Leave', ids)
  await call('NetworkDriver.DeleteEndpoint', ids)
  const request = { PoolID: pool.PoolID, Address: '', Options: {} }
  t.is((await call('IpamDriver.RequestAddress', request)).Address, Address)
  const release = { PoolID: pool.PoolID, Address: Address.split('/')[0] }
  await call('IpamDriver.ReleaseAddress', release)
  t.is(gateway.cluster.ipam.claims.size, 1, 'the second container still has it')
  await call('IpamDriver.ReleaseAddress', release)
  t.is(gateway.cluster.ipam.claims.size, 0, 'its own release frees it')
})

test('the same address in another pool is another address', async (t) => {
  const { gateway } = t.context
  const call = client(gateway)
  const first = await createNetwork(gateway, { network: 'blue' }, { ipam: { network: 'blue' }, pool: '10.9.0.0/30' })
  const second = await createNetwork(gateway, { network: 'red' }, { ipam: { network: 'red' }, pool: '10.9.0.0/30', id: 'b'.repeat(64) })
  const { Address } = await connect(gateway, first)
  const given = await call('IpamDriver.RequestAddress', { PoolID: second.pool.PoolID, Address: '', Options: {} })
  t.is(given.Address, Address)
  await call('NetworkDriver.DeleteEndpoint', ids)
  await call('IpamDriver.ReleaseAddress', { PoolID: second.pool.PoolID, Address: Address.split('/')[0] })
  t.is(gateway.cluster.ipam.claims.size, 0)
})

test('a gateway that was restarted joins and removes an endpoint it never heard of', async (t) => {
  const { gateway } = t.context
  const network = await createNetwork(gateway, { network: 'blue' }, { ipam: { network: 'blue' }, pool: '10.1.0.0/16' })
  const { Address } = await connect(gateway, network)
  const restarted = await startGateway({}, gateway.cluster)
  await client(restarted)('NetworkDriver.Join', { ...ids, SandboxKey: '', Options: null })
  await disconnect(restarted, network, Address)
  t.deepEqual(await settled(gateway.cluster), none)
  await restarted.stop()
})

test('a MAC that is another’s is refused before any link has it', async (t) => {
  const { gateway } = t.context
  const network = await createNetwork(gateway, {})
  gateway.cluster.faults.set('networks.putEndpoint', new HeddleError('mac-taken', 'the MAC is taken'))
  await t.throwsAsync(connect(gateway, network, { mac: '02:aa:bb:cc:dd:ee' }), { message: /the MAC is taken/ })
  t.false(gateway.cluster.calls.includes('wiring.prepare'))
  await t.throwsAsync(connect(gateway, network))
  t.true(gateway.cluster.calls.includes('wiring.prepare'), 'one made from the endpoint id is nobody else’s')
})

test('when a step of CreateEndpoint fails nothing is left, when one of Join fails DeleteEndpoint takes the rest', async (t) => {
  const { gateway } = t.context
  const network = await createNetwork(gateway, { network: 'blue' }, { ipam: { network: 'blue' }, pool: '10.1.0.0/16' })
  const failure = new HeddleError('mac-taken', 'the MAC is taken', { remedy: 'choose another' })
  gateway.cluster.faults.set('networks.putEndpoint', failure)
  await t.throwsAsync(connect(gateway, network), { message: /500.*the MAC is taken; choose another/ })
  t.deepEqual(await settled(gateway.cluster), none)
  gateway.cluster.faults.clear()
  gateway.cluster.faults.set('wiring.attach', failure)
  await t.throwsAsync(connect(gateway, network))
  await client(gateway)('NetworkDriver.Leave', ids)
  await client(gateway)('NetworkDriver.DeleteEndpoint', ids)
  t.deepEqual(await settled(gateway.cluster), none)
})
