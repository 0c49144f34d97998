import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { HeddleError, macOf } from '@heddle/core'
import anyTest, { type TestFn } from 'ava'
import { client, connect, createNetwork, disconnect, EndpointID, ids, NetworkID, removeNetwork } from '../testing/docker-calls.ts'
import { startGateway, type TestGateway } from '../testing/gateway.ts'
import { none, settled } from '../testing/networks.ts'

const test = anyTest as TestFn<{ gateway: TestGateway }>

test.beforeEach(async (t) => {
  t.context.gateway = await startGateway()
})
test.afterEach.always((t) => t.context.gateway.stop())

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
  t.deepEqual(await settled(cluster), none)
  await removeNetwork(gateway, network)
  t.deepEqual([cluster.networks.size, cluster.ipam.pools.size, cluster.vnis.size, cluster.aliases.size], [0, 0, 0, 0])
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

test('when a subnet of a network is full, its other one of the family is gone on with, and gets back what Docker releases from the first', async (t) => {
  const { gateway } = t.context
  const call = client(gateway)
  const data: object[] = []
  const pools: string[] = []
  for (const Pool of ['10.1.0.0/30', '10.2.0.0/24']) {
    const pool = await call('IpamDriver.RequestPool', { AddressSpace: 'heddle', Pool, SubPool: '', Options: null, V6: false })
    pools.push(pool.PoolID)
    data.push({ AddressSpace: 'heddle', Pool })
  }
  const request = (PoolID: string | undefined) => ({ PoolID, Address: '', Options: null })
  await call('NetworkDriver.CreateNetwork', { NetworkID, Options: {}, IPv4Data: data, IPv6Data: [] })
  for (const address of ['10.1.0.1/30', '10.1.0.2/30', '10.2.0.1/24']) t.is((await call('IpamDriver.RequestAddress', request(pools[0]))).Address, address)
  await call('NetworkDriver.CreateEndpoint', { ...ids, Interface: { Address: '10.2.0.1/24' }, Options: null })
  t.deepEqual(gateway.cluster.endpoints.get(EndpointID)?.addresses, ['10.2.0.1/24'])
  await call('NetworkDriver.DeleteEndpoint', ids)
  await call('IpamDriver.ReleaseAddress', { PoolID: pools[0], Address: '10.2.0.1' })
  t.is((await call('IpamDriver.RequestAddress', request(pools[0]))).Address, '10.2.0.1/24')
  await call('IpamDriver.ReleaseAddress', { PoolID: pools[0], Address: '10.2.0.1' })
  t.is(gateway.cluster.ipam.claims.size, 2)
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
  await refuse({ kind: 'ring' }, /overlay, bridge, macvlan, .*null/)
  await refuse({ network: 'blue' }, /both -o network=NAME and --ipam-opt network=NAME/)
  await refuse('x', /key=value/)
  const ipam = await gateway.docker.call('IpamDriver.RequestPool', { AddressSpace: 'heddle', Pool: '', SubPool: '', Options: { colour: 'red' }, V6: false })
  t.regex(ipam.json.Error, /--ipam-opt "colour".*network \(/)
  t.is(gateway.cluster.networks.size, 0)
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

test('T11: while Docker’s own API answers nothing, as when it starts, every plugin call is answered', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'hd-docker-'))
  const connections: Socket[] = []
  const silent = createServer((connection) => connections.push(connection)).listen(join(dir, 'docker.sock'))
  const gateway = await startGateway({ docker: { socket: join(dir, 'docker.sock') } })
  const network = await createNetwork(gateway, { kind: 'bridge' })
  while (connections.length === 0) await setImmediate()
  const { Address } = await connect(gateway, network)
  await disconnect(gateway, network, Address)
  await removeNetwork(gateway, network)
  t.deepEqual(await settled(gateway.cluster), none)
  await gateway.stop()
  for (const connection of connections) connection.destroy()
  silent.close()
  rmSync(dir, { recursive: true })
})

test('T26: a network may be of IPv4, of IPv6, of both, or of frames alone', async (t) => {
  const pools: Record<string, string> = { '10.1.0.0/24': '10.1.0.9/24', 'fd01::/64': 'fd01::9/64' }
  for (const families of [['10.1.0.0/24'], ['fd01::/64'], ['10.1.0.0/24', 'fd01::/64'], []]) {
    const gateway = await startGateway()
    const call = client(gateway)
    const data = async (v6: boolean) => {
      const Pool = families.find((one) => one.includes(':') === v6)
      // The null IPAM driver's pool stands for none.
      if (Pool === undefined) return families.length === 0 && !v6 ? [{ AddressSpace: 'null', Pool: '0.0.0.0/0' }] : []
      const { PoolID } = await call('IpamDriver.RequestPool', { AddressSpace: 'heddle', Pool, SubPool: '', Options: null, V6: v6 })
      await call('IpamDriver.RequestAddress', { PoolID, Address: pools[Pool]?.split('/')[0], Options: null })
      return [{ AddressSpace: 'heddle', Pool }]
    }
    const [IPv4Data, IPv6Data] = [await data(false), await data(true)]
    await call('NetworkDriver.CreateNetwork', { NetworkID, Options: { 'com.docker.network.generic': { kind: 'bridge' } }, IPv4Data, IPv6Data })
    const addresses = families.map((one) => pools[one] ?? '')
    const addressOf = (v6: boolean) => addresses.find((one) => one.includes(':') === v6) ?? ''
    const Interface = { Address: addressOf(false), AddressIPv6: addressOf(true), MacAddress: '' }
    t.deepEqual(Object.keys((await call('NetworkDriver.CreateEndpoint', { ...ids, Interface, Options: null })).Interface), ['MacAddress'])
    const joined = await call('NetworkDriver.Join', { ...ids, SandboxKey: '', Options: null })
    t.deepEqual([joined.Gateway, joined.GatewayIPv6], [addressOf(false) && '10.1.0.1', addressOf(true) && 'fd01::1'], families.join(' '))
    t.deepEqual(gateway.cluster.endpoints.get(EndpointID)?.addresses, addresses)
    await call('NetworkDriver.DeleteEndpoint', ids)
    t.deepEqual(await settled(gateway.cluster), none)
    await gateway.stop()
  }
})

test('a call that nobody answers is answered by its deadline', async (t) => {
  const slow = await startGateway({ docker: { timeoutMs: 300 } })
  for (const brain of ['networks', 'ipam', 'overlay', 'wiring']) slow.cluster.faults.set(brain, 'hang')
  const answer = await slow.docker.call('IpamDriver.RequestAddress', { PoolID: 'blue.10.1.0.0_16', Address: '', Options: null })
  t.is(answer.status, 500)
  t.regex(answer.json.Error, /no result within/)
  await slow.stop()
})
