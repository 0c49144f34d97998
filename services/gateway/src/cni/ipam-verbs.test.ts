import { HeddleError } from '@heddle/core'
import anyTest, { type TestFn } from 'ava'
import { startGateway, type TestGateway } from '../testing/gateway.ts'
import { addBlue, addEnv, blueConfig, leftovers, none } from '../testing/networks.ts'

const test = anyTest as TestFn<{ gateway: TestGateway }>

test.beforeEach(async (t) => {
  t.context.gateway = await startGateway()
  addBlue(t.context.gateway.cluster)
})
test.afterEach.always((t) => t.context.gateway.stop())

/** As the bridge plugin hands it over; `vlan` is an option of its own. */
const pods = (ipam: object = {}, more: object = {}) => ({
  cniVersion: '1.0.0',
  name: 'pods',
  type: 'bridge',
  bridge: 'cni0',
  vlan: 5,
  ipam: { type: 'heddle', network: 'blue', ...ipam },
  ...more,
})
const of = (command: string, containerId = 'c1') => ({ ...addEnv, CNI_COMMAND: command, CNI_CONTAINERID: containerId })

test('ADD answers addresses, gateways and routes without an interface; DEL frees them, twice', async (t) => {
  const { cni, cluster } = t.context.gateway
  const { json } = await cni(of('ADD'), pods())
  t.deepEqual(json, {
    cniVersion: '1.0.0',
    ips: [
      { address: '10.1.0.2/24', gateway: '10.1.0.1' },
      { address: 'fd00::2/64', gateway: 'fd00::1' },
    ],
    routes: [
      { dst: '0.0.0.0/0', gw: '10.1.0.1' },
      { dst: '::/0', gw: 'fd00::1' },
    ],
  })
  t.deepEqual(
    [...cluster.endpoints.values()].map(({ state, sandbox, interfaceName, runtime }) => [state, sandbox, interfaceName, runtime]),
    [['addressed', '/proc/self/ns/net', 'eth0', 'cni']],
  )
  t.deepEqual(leftovers(cluster), { claims: 2, endpoints: 1, interfaces: 0 })
  t.deepEqual((await cni(of('ADD'), pods())).json, json, 'the same call again')
  for (let time = 0; time < 2; time++) t.deepEqual(await cni(of('DEL'), pods()), { exitCode: 0, stdout: '', json: undefined })
  t.deepEqual(leftovers(cluster), none)
})

test("each version's own shape", async (t) => {
  const { cni } = t.context.gateway
  t.deepEqual((await cni(of('ADD'), pods({}, { cniVersion: '0.2.0' }))).json, {
    cniVersion: '0.2.0',
    ip4: { ip: '10.1.0.2/24', gateway: '10.1.0.1', routes: [{ dst: '0.0.0.0/0', gw: '10.1.0.1' }] },
    ip6: { ip: 'fd00::2/64', gateway: 'fd00::1', routes: [{ dst: '::/0', gw: 'fd00::1' }] },
  })
  t.is((await cni(of('ADD'), pods({}, { cniVersion: '0.3.1' }))).json.ips[1].version, '6')
})

test('routes and servers of its ipam, and addresses by precedence', async (t) => {
  const { cni } = t.context.gateway
  const ipam = { routes: [{ dst: '10.50.0.0/16' }], dns: { nameservers: ['10.1.0.53'] } }
  const asked = { args: { cni: { ips: ['10.1.0.30'] } } }
  const { json } = await cni({ ...of('ADD'), CNI_ARGS: 'IP=10.1.0.20' }, pods(ipam, asked))
  t.deepEqual([json.ips[0].address, json.routes, json.dns], ['10.1.0.30/24', [{ dst: '10.50.0.0/16' }], ipam.dns])
  const second = await cni({ ...of('ADD', 'c2'), CNI_ARGS: 'IP=10.1.0.20' }, pods())
  t.is(second.json.ips[0].address, '10.1.0.20/24')
  const third = await cni(of('ADD', 'c3'), pods({}, { ...asked, runtimeConfig: { ips: ['10.1.0.40/24'] } }))
  t.is(third.json.ips[0].address, '10.1.0.40/24')
})

test('a network of addresses alone is made by the first ADD, and one of any kind that has the subnet is used', async (t) => {
  const { cni, cluster } = t.context.gateway
  const own = pods({ network: 'wide', subnet: '10.6.0.0/24', rangeStart: '10.6.0.9', routes: [] })
  const { json } = await cni(of('ADD'), own)
  t.deepEqual(json.ips, [{ address: '10.6.0.9/24', gateway: '10.6.0.1' }])
  t.is([...cluster.networks.values()].find(({ name }) => name === 'wide')?.kind, 'null')
  t.is((await cni(of('ADD', 'c2'), own)).json.ips[0].address, '10.6.0.10/24')
  t.is((await cni(of('ADD', 'c3'), pods({ subnet: '10.1.0.0/24' }))).exitCode, 0)
  const other = await cni(of('ADD', 'c4'), pods({ subnet: '10.6.0.0/24' }))
  t.is(other.json.code, 101)
  t.regex(other.json.msg, /no subnet 10\.6\.0\.0\/24, only 10\.1\.0\.0\/24/)
})

test('what cannot be is refused and changes nothing', async (t) => {
  const { cni, cluster } = t.context.gateway
  cluster.addNetwork({ name: 'bare', kind: 'macvlan', pools: [] })
  const refused = async (config: object, code: number, message: RegExp) => {
    const { json } = await cni(of('ADD'), config)
    t.is(json.code, code, json.msg)
    t.regex(json.msg, message)
  }
  await refused(pods({ network: 'red' }), 100, /red/)
  await refused(pods({ network: 'a/b' }), 7, /a\/b/)
  await refused(pods({ network: 7 }), 7, /ipam\.network/)
  await refused(pods({ network: 'bare' }), 104, /no addresses to give/)
  await refused(pods({}, { runtimeConfig: { ips: ['192.0.2.1'] } }), 109, /192\.0\.2\.1/)
  cluster.faults.set('networks.putEndpoint', new HeddleError('mac-taken', 'taken'))
  await refused(pods(), 110, /taken/)
  t.deepEqual(leftovers(cluster), none)
})

test('CHECK names what is missing', async (t) => {
  const { cni, cluster } = t.context.gateway
  const { json: prevResult } = await cni(of('ADD'), pods())
  t.is((await cni(of('CHECK'), pods({}, { prevResult }))).exitCode, 0)
  t.is((await cni(of('CHECK'), pods())).json.code, 7)
  cluster.ipam.claims.delete('blue.10.1.0.0_24 10.1.0.2')
  t.regex((await cni(of('CHECK'), pods({}, { prevResult }))).json.msg, /address 10\.1\.0\.2\/24 is not claimed/)
  t.regex((await cni(of('CHECK'), pods({}, { prevResult: { ...prevResult, ips: [] } }))).json.msg, /fd00::2\/64 is not in prevResult/)
  t.regex((await cni(of('CHECK', 'never'), pods({}, { prevResult }))).json.msg, /no addresses of network blue/)
})

test('STATUS is that of the network whose addresses it gives', async (t) => {
  const { cni } = t.context.gateway
  const status = (ipam: object) => cni({ CNI_COMMAND: 'STATUS' }, pods(ipam, { cniVersion: '1.1.0' }))
  t.is((await status({})).exitCode, 0)
  t.is((await status({ network: 'red' })).json.code, 50)
})

test('GC frees what one configuration no longer has, and nothing of another or of a network of our own', async (t) => {
  const { cni, cluster } = t.context.gateway
  for (const id of ['keep', 'drop']) await cni(of('ADD', id), pods())
  await cni(of('ADD', 'other'), pods({}, { name: 'others' }))
  await cni(of('ADD', 'ours'), blueConfig)
  const gc = (config: object, ids: string[]) =>
    cni({ CNI_COMMAND: 'GC' }, { ...config, cniVersion: '1.1.0', 'cni.dev/valid-attachments': ids.map((containerID) => ({ containerID, ifname: 'eth0' })) })
  const left = () => [...cluster.endpoints.values()].map(({ containerId }) => containerId).sort()
  t.is((await gc(pods(), ['keep'])).exitCode, 0)
  t.deepEqual(left(), ['keep', 'other', 'ours'])
  t.is((await gc(blueConfig, [])).exitCode, 0)
  t.deepEqual(left(), ['keep', 'other'])
  t.is((await gc(pods(), [])).exitCode, 0)
  t.deepEqual(left(), ['other'])
  t.is(cluster.ipam.claims.size, 2)
})
