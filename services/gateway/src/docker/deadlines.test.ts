/** dockerd waits for ever and holds a lock meanwhile: whatever hangs behind the door, each method is answered. */
import { connect as connectTo } from 'node:net'
import anyTest, { type TestFn } from 'ava'
import { connect, createNetwork, EndpointID, ids, NetworkID } from '../testing/docker-calls.ts'
import { startGateway, type TestGateway } from '../testing/gateway.ts'
import { startParts } from '../testing/parts.ts'
import { dockerRoutes } from './routes.ts'

const test = anyTest as TestFn<{ gateway: TestGateway; poolId: string; address: string }>
const { parts, stop } = await startParts()
const methods = [...dockerRoutes(parts).heddle].map(([method]) => method)
test.after.always(() => stop())

test.before(async (t) => {
  const gateway = await startGateway({ docker: { timeoutMs: 600, scope: 'global' } })
  const network = await createNetwork(gateway, { kind: 'bridge' })
  const { Address } = await connect(gateway, network)
  t.context = { gateway, poolId: network.pool.PoolID, address: Address.split('/')[0] ?? '' }
  for (const part of ['networks', 'ipam', 'overlay', 'wiring']) gateway.cluster.faults.set(part, 'hang')
})
test.after.always(async (t) => {
  t.context.gateway.cluster.faults.clear()
  await t.context.gateway.stop()
})

/** What never fails: Docker forgets the thing, whatever is answered. */
const frees: ReadonlySet<string> = new Set([
  'NetworkDriver.FreeNetwork',
  'NetworkDriver.DeleteNetwork',
  'NetworkDriver.DeleteEndpoint',
  'NetworkDriver.Leave',
  'NetworkDriver.RevokeExternalConnectivity',
  'IpamDriver.ReleasePool',
  'IpamDriver.ReleaseAddress',
])
/** What asks nobody. */
const local: ReadonlySet<string> = new Set([
  'Plugin.Activate',
  'NetworkDriver.GetCapabilities',
  'NetworkDriver.EndpointOperInfo',
  'NetworkDriver.DiscoverNew',
  'NetworkDriver.DiscoverDelete',
  'IpamDriver.GetCapabilities',
  'IpamDriver.GetDefaultAddressSpaces',
])

for (const method of methods) {
  const outcome = frees.has(method) ? 'succeeds' : local.has(method) ? 'needs nobody' : 'fails'
  test(`${method} ${outcome} in time when nothing behind the door answers`, async (t) => {
    const { gateway, poolId, address } = t.context
    // A network and an endpoint that this process knows would need fewer answers; the frees meet both kinds.
    const known = frees.has(method) || method === 'NetworkDriver.Join' || method === 'NetworkDriver.ProgramExternalConnectivity'
    const body = {
      ...(known ? ids : { NetworkID: 'b'.repeat(64), EndpointID: 'f'.repeat(64) }),
      ...{ PoolID: poolId, Address: method === 'IpamDriver.ReleaseAddress' ? address : '' },
      ...{ AddressSpace: 'heddle', Pool: '', SubPool: '', V6: false, SandboxKey: '', IPv6Data: [] },
      IPv4Data: [{ AddressSpace: 'heddle', Pool: '10.44.0.0/24', Gateway: '10.44.0.1/24' }],
      DiscoveryType: 1,
      DiscoveryData: { Address: '192.0.2.7' },
      Interface: { Address: '', AddressIPv6: '', MacAddress: '' },
      Options: {
        ...(method.startsWith('NetworkDriver.') ? { 'com.docker.network.generic': { network: 'green' } } : { network: 'green' }),
        'com.docker.network.portmap': [{ Proto: 6, IP: '', Port: 80, HostIP: '', HostPort: 8080, HostPortEnd: 8080 }],
      },
    }
    const flat = { ...body, Options: method === 'IpamDriver.RequestPool' ? { network: 'green' } : {} }
    const { status, json } = await gateway.docker.call(method, method.startsWith('IpamDriver.') || method.endsWith('AllocateNetwork') ? flat : body)
    t.is(status, outcome === 'fails' ? 500 : 200, JSON.stringify(json))
    if (outcome === 'fails') t.regex(json.Err, /no result within/)
    if (outcome === 'succeeds') t.deepEqual(json, {})
  })
}

test('headers without the body they promise are refused in time', async (t) => {
  const socket = connectTo(t.context.gateway.sockets.docker)
  socket.write('POST /NetworkDriver.Leave HTTP/1.1\r\nHost: plugin\r\nContent-Length: 100\r\n\r\n{"NetworkID"')
  let answer = ''
  for await (const chunk of socket) answer += String(chunk)
  t.regex(answer, /^HTTP\/1\.1 400 /)
  t.regex(answer, /body of the request was not there/)
})

test('when the door stops, a call that hangs is answered with a failure', async (t) => {
  const gateway = await startGateway()
  await createNetwork(gateway, {})
  gateway.cluster.faults.set('ipam', 'hang')
  const { calls } = gateway.cluster
  calls.length = 0
  const asked = gateway.docker.call('NetworkDriver.CreateEndpoint', { NetworkID, EndpointID, Interface: null, Options: null })
  while (!calls.includes('ipam.allocate')) await new Promise(setImmediate)
  const stopped = gateway.runtime.stop(9000)
  const { status, json } = await asked
  t.is(status, 500)
  t.regex(json.Err, /stopping; try again/)
  gateway.cluster.faults.clear()
  await stopped
  await gateway.stop()
})
