import { HeddleError } from '@heddle/core'
import anyTest, { type TestFn } from 'ava'
import { createNetwork, NetworkID } from '../testing/docker-calls.ts'
import { startGateway, type TestGateway } from '../testing/gateway.ts'

const test = anyTest as TestFn<{ gateway: TestGateway }>

test.beforeEach(async (t) => {
  t.context.gateway = await startGateway()
})
test.afterEach.always((t) => t.context.gateway.stop())

const perEndpoint = ['CreateEndpoint', 'Join', 'Leave', 'DeleteEndpoint', 'EndpointOperInfo', 'ProgramExternalConnectivity', 'RevokeExternalConnectivity']
const perNetwork = [...perEndpoint, 'CreateNetwork', 'DeleteNetwork', 'AllocateNetwork', 'FreeNetwork']

test('ids that could become a path, a key or a subject of something else are refused and nobody is asked', async (t) => {
  const { gateway } = t.context
  const good = 'e'.repeat(64)
  const refused = async (method: string, ids: object, field: string) => {
    const { status, json } = await gateway.docker.call(`NetworkDriver.${method}`, ids)
    t.is(status, 400, `${method} ${JSON.stringify(ids)}`)
    t.regex(json.Err, new RegExp(field))
  }
  for (const bad of ['../x', 'a b', '>', '*', 'a/b', '.x', '', 'a\n', 'x'.repeat(129), 'é', '\u0000']) {
    for (const method of perEndpoint) await refused(method, { NetworkID: good, EndpointID: bad }, 'EndpointID')
    for (const method of perNetwork) await refused(method, { NetworkID: bad, EndpointID: good }, 'NetworkID')
  }
  t.deepEqual(gateway.cluster.calls, [])
})

test('a name for the interface that Linux would not take is refused', async (t) => {
  const { gateway } = t.context
  await createNetwork(gateway, {})
  gateway.cluster.calls.length = 0
  const Options = { 'com.docker.network.endpoint.ifname': 'a/b' }
  const { status, json } = await gateway.docker.call('NetworkDriver.CreateEndpoint', { NetworkID, EndpointID: 'e1', Interface: null, Options })
  t.is(status, 500)
  t.regex(json.Err, /interface name "a\/b" is not valid; use 1 to 15 bytes/)
  t.deepEqual(gateway.cluster.calls, [])
})

test('what names a network, endpoint or pool that is not there is told so, with a remedy', async (t) => {
  const { gateway } = t.context
  await createNetwork(gateway, { kind: 'bridge' })
  const portmap = { 'com.docker.network.portmap': [{ Proto: 6, IP: '', Port: 80, HostIP: '', HostPort: 8080, HostPortEnd: 8080 }] }
  const body = { EndpointID: 'never', SandboxKey: '', Interface: null, Options: portmap }
  const sentence = async (method: string, request: object) => {
    const { status, json } = await gateway.docker.call(method, request)
    t.is(status, 500, method)
    return json.Err as string
  }
  for (const method of ['CreateEndpoint', 'Join', 'ProgramExternalConnectivity'])
    t.regex(await sentence(`NetworkDriver.${method}`, { ...body, NetworkID: 'never' }), /network never has no Heddle network; .*docker network rm/, method)
  for (const method of ['Join', 'ProgramExternalConnectivity'])
    t.regex(await sentence(`NetworkDriver.${method}`, { ...body, NetworkID }), /endpoint never is not recorded; start the container again/, method)
  gateway.cluster.faults.set('ipam.allocate', new HeddleError('pool-unknown', 'there is no pool never', { remedy: 'create it' }))
  t.is(await sentence('IpamDriver.RequestAddress', { PoolID: 'never', Address: '', Options: null }), 'there is no pool never; create it')
  t.deepEqual([gateway.cluster.endpoints.size, gateway.cluster.ipam.claims.size, gateway.cluster.interfaces.size], [0, 0, 0])
})
