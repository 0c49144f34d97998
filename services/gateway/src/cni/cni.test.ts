import { connect } from 'node:net'
import { HeddleError } from '@heddle/core'
import anyTest, { type TestFn } from 'ava'
import fc from 'fast-check'
import { startGateway, type TestGateway } from '../testing/gateway.ts'
import { addBlue, addEnv, blueConfig, leftovers, none } from '../testing/networks.ts'
import { encodeRequest } from './frame.ts'

const test = anyTest as TestFn<{ gateway: TestGateway }>

test.beforeEach(async (t) => {
  t.context.gateway = await startGateway()
  addBlue(t.context.gateway.cluster)
})
test.afterEach.always((t) => t.context.gateway.stop())

test('ADD answers interfaces, addresses and routes; DEL takes all of it back', async (t) => {
  const { cni, cluster } = t.context.gateway
  const added = await cni(addEnv, blueConfig)
  t.is(added.exitCode, 0)
  t.deepEqual(
    added.json.interfaces.map((one: { name: string }) => one.name),
    ['hb0123456789a', 'hd0123456789a', 'eth0'],
  )
  t.deepEqual(added.json.ips, [
    { address: '10.1.0.2/24', gateway: '10.1.0.1', interface: 2 },
    { address: 'fd00::2/64', gateway: 'fd00::1', interface: 2 },
  ])
  t.deepEqual(added.json.routes, [
    { dst: '0.0.0.0/0', gw: '10.1.0.1' },
    { dst: '::/0', gw: 'fd00::1' },
  ])
  t.deepEqual(leftovers(cluster), { claims: 2, endpoints: 1, interfaces: 1 })
  const deleted = await cni({ ...addEnv, CNI_COMMAND: 'DEL' }, blueConfig)
  t.deepEqual([deleted.exitCode, deleted.stdout], [0, ''])
  t.deepEqual(leftovers(cluster), none)
})

test('the path of an ADD to a known network is four commands, two at a time', async (t) => {
  const { cni, cluster } = t.context.gateway
  await cni(addEnv, blueConfig)
  cluster.calls.length = 0
  await cni({ ...addEnv, CNI_CONTAINERID: 'c2' }, blueConfig)
  t.deepEqual(cluster.calls.slice(0, 2).sort(), ['ipam.allocate', 'wiring.prepare'])
  t.deepEqual(cluster.calls.slice(2).sort(), ['networks.putEndpoint', 'wiring.attach'])
})

test('what was asked for wins by precedence: runtimeConfig, args, CNI_ARGS, configuration', async (t) => {
  const { cni } = t.context.gateway
  const config = { ...blueConfig, ips: ['10.1.0.10'], mac: '02:00:00:00:00:10' }
  const env = { ...addEnv, CNI_ARGS: 'IgnoreUnknown=1;IP=10.1.0.20/24;MAC=02:00:00:00:00:20' }
  const ipOf = async (id: string, given: object, from: Readonly<Record<string, string>>) => {
    const { json } = await cni({ ...from, CNI_CONTAINERID: id }, given)
    return [json.ips[0].address, json.interfaces[2].mac]
  }
  t.deepEqual(await ipOf('a', config, addEnv), ['10.1.0.10/24', '02:00:00:00:00:10'])
  t.deepEqual(await ipOf('b', config, env), ['10.1.0.20/24', '02:00:00:00:00:20'])
  const args = { ...config, args: { cni: { ips: ['10.1.0.30'], mac: '02:00:00:00:00:30' } } }
  t.deepEqual(await ipOf('c', args, env), ['10.1.0.30/24', '02:00:00:00:00:30'])
  const runtimeConfig = { ...args, runtimeConfig: { ips: ['10.1.0.40/24'], mac: '02-00-00-00-00-40' } }
  t.deepEqual(await ipOf('d', runtimeConfig, env), ['10.1.0.40/24', '02:00:00:00:00:40'])
})

test('ipRanges say which of the subnets the addresses are of', async (t) => {
  const { cni, cluster } = t.context.gateway
  const within = async (containerId: string, ipRanges: object, config: object = blueConfig) => {
    const { json } = await cni({ ...addEnv, CNI_CONTAINERID: containerId }, { ...config, runtimeConfig: { ipRanges } })
    return json.ips?.map(({ address }: { address: string }) => address) ?? [json.code, json.msg]
  }
  t.deepEqual(await within('a', [[{ subnet: 'fd00::/64' }]]), ['fd00::2/64'])
  t.deepEqual(await within('b', [[{ subnet: '10.1.0.0/24' }], [{ Subnet: 'fd00::/64' }]]), ['10.1.0.2/24', 'fd00::3/64'])
  t.regex(String(await within('c', [[{ subnet: '10.9.0.0/24' }]])), /^109,.*no subnet 10\.9\.0\.0\/24; choose from 10\.1\.0\.0\/24/)
  t.regex(String(await within('c', [[{ subnet: '10.1.0.0/24', rangeStart: '10.1.0.9' }]])), /^2,.*other ranges; leave rangeStart/)
  t.regex(String(await within('c', [[{ subnet: 'ten' }]])), /^7,/)
  const green = { ...blueConfig, name: 'green', heddle: { kind: 'bridge' } }
  const ranges = [[{ subnet: '10.7.0.0/24', rangeStart: '10.7.0.9', rangeEnd: '10.7.0.20' }]]
  t.deepEqual(await within('d', ranges, green), ['10.7.0.9/24'])
  t.deepEqual(await within('e', ranges, green), ['10.7.0.10/24'], 'the first ADD made the network of them')
  t.is([...cluster.networks.values()].length, 2)
})

test('a network defined in the configuration is created by the first ADD and only used by the second', async (t) => {
  const { cni, cluster } = t.context.gateway
  const config = { cniVersion: '1.0.0', name: 'green', type: 'heddle', heddle: { kind: 'bridge', subnets: ['10.7.0.0/24'] } }
  t.is((await cni(addEnv, config)).exitCode, 0)
  t.is((await cni({ ...addEnv, CNI_CONTAINERID: 'c2' }, config)).exitCode, 0)
  t.is([...cluster.networks.values()].filter((network) => network.name === 'green').length, 1)
  const other = await cni({ ...addEnv, CNI_CONTAINERID: 'c3' }, { ...config, heddle: { kind: 'bridge', subnets: ['10.8.0.0/24'] } })
  t.is(other.json.code, 101)
  t.regex(other.json.msg, /subnets is 10.7.0.0\/24, not 10.8.0.0\/24/)
})

test('the same ADD again answers the same, and another one for the same interface is refused and harms nothing', async (t) => {
  const { cni, cluster } = t.context.gateway
  const first = await cni(addEnv, blueConfig)
  const second = await cni(addEnv, blueConfig)
  t.deepEqual(second, first)
  const other = await cni(addEnv, { ...blueConfig, mac: '02:00:00:00:00:99' })
  t.is(other.json.code, 115)
  t.regex(other.json.msg, /DEL/)
  t.deepEqual(leftovers(cluster), { claims: 2, endpoints: 1, interfaces: 1 })
  cluster.faults.set('wiring.prepare', new HeddleError('interface-exists', 'it is in another sandbox'))
  const moved = await cni({ ...addEnv, CNI_NETNS: `/proc/${process.pid}/ns/net` }, blueConfig)
  t.is(moved.json.code, 115)
  t.deepEqual(leftovers(cluster), { claims: 2, endpoints: 1, interfaces: 1 })
})

test('in a chain the previous result is kept and ours follows it', async (t) => {
  const { cni } = t.context.gateway
  const prevResult = { cniVersion: '1.1.0', interfaces: [{ name: 'lo' }], ips: [{ address: '127.0.0.1/8', interface: 0 }] }
  const { json } = await cni(addEnv, { ...blueConfig, prevResult })
  t.is(json.interfaces[0].name, 'lo')
  t.is(json.interfaces[json.ips[1].interface].name, 'eth0')
})

test('DEL succeeds twice, for what never was, without a namespace, and with a configuration that no longer suits', async (t) => {
  const { cni } = t.context.gateway
  await cni(addEnv, blueConfig)
  const del = { CNI_COMMAND: 'DEL', CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0' }
  for (const env of [del, del, { ...del, CNI_CONTAINERID: 'never' }, { ...del, CNI_NETNS: '/run/netns/gone' }, { ...del, CNI_ARGS: '=bad=' }]) {
    t.is((await cni(env, { ...blueConfig, heddle: { nonsense: true }, prevResult: 7 })).exitCode, 0)
  }
})

test('DEL succeeds for what is local when no brain answers', async (t) => {
  const { cni, cluster } = t.context.gateway
  await cni(addEnv, blueConfig)
  cluster.faults.set('networks', 'hang').set('ipam', new HeddleError('unavailable', 'away'))
  t.is((await cni({ ...addEnv, CNI_COMMAND: 'DEL' }, blueConfig)).exitCode, 0)
  t.is(cluster.interfaces.size, 0)
})

test('DEL fails when the interface cannot be removed, and says nothing a runtime takes for success', async (t) => {
  const { cni, cluster } = t.context.gateway
  await cni(addEnv, blueConfig)
  cluster.faults.set('wiring.detach', new HeddleError('kernel-refused', 'link not found: no such file or directory'))
  const failed = await cni({ ...addEnv, CNI_COMMAND: 'DEL' }, blueConfig)
  t.is(failed.exitCode, 1)
  t.notRegex(failed.stdout, /not found|no such file/i)
})

test('CHECK is content with what ADD made and names every difference', async (t) => {
  const { cni, cluster } = t.context.gateway
  const { json: prevResult } = await cni(addEnv, blueConfig)
  const check = { ...addEnv, CNI_COMMAND: 'CHECK' }
  t.is((await cni(check, { ...blueConfig, prevResult })).exitCode, 0)
  cluster.ipam.claims.clear()
  cluster.interfaces.clear()
  const drifted = await cni(check, { ...blueConfig, prevResult })
  t.is(drifted.json.code, 117)
  t.regex(drifted.json.msg, /interface is missing.*10\.1\.0\.2\/24 is not claimed/)
  t.is((await cni(check, blueConfig)).json.code, 7)
  t.is((await cni({ ...check, CNI_CONTAINERID: 'never' }, { ...blueConfig, prevResult })).json.code, 117)
})

test('VERSION answers anybody in the version asked', async (t) => {
  const { cni } = t.context.gateway
  const versions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']
  t.deepEqual((await cni({ CNI_COMMAND: 'VERSION' }, { cniVersion: '0.4.0' })).json, { cniVersion: '0.4.0', supportedVersions: versions })
  t.deepEqual((await cni({ CNI_COMMAND: 'VERSION' }, '{')).json, { cniVersion: '1.1.0', supportedVersions: versions })
})

test('STATUS is 50 when an ADD could not succeed and 51 when the overlay is degraded', async (t) => {
  const { cni, cluster } = t.context.gateway
  const status = () => cni({ CNI_COMMAND: 'STATUS' }, { cniVersion: '1.1.0', name: 'blue', type: 'heddle' })
  t.is((await status()).exitCode, 0)
  cluster.faults.set('ipam', new HeddleError('internal', 'etcd is away'))
  t.is((await status()).json.code, 50)
  cluster.faults.clear()
  cluster.networks.clear()
  cluster.addNetwork({ name: 'blue', kind: 'overlay' })
  t.is((await status()).exitCode, 0)
  cluster.hostAlive = false
  t.is((await status()).json.code, 51)
})

test('STATUS is 50 for a network nobody made or defines, and when one of its families is exhausted', async (t) => {
  const { cni, cluster } = t.context.gateway
  const status = (config: object) => cni({ CNI_COMMAND: 'STATUS' }, { cniVersion: '1.1.0', type: 'heddle', ...config })
  const unknown = await status({ name: 'red' })
  t.is(unknown.json.code, 50)
  t.regex(unknown.json.msg, /heddle network create red/)
  t.is((await status({ name: 'red', heddle: { kind: 'bridge' } })).exitCode, 0, 'the first ADD makes it')
  cluster.hostAlive = false
  t.is((await status({ name: 'red', heddle: { kind: 'bridge' } })).exitCode, 0, 'and needs no overlay for it')
  t.is((await status({ name: 'red', heddle: {} })).json.code, 51)
  cluster.hostAlive = true
  const pools = [
    { poolId: 'dual.10.2.0.0_30', prefix: '10.2.0.0/30', gateway: '10.2.0.1' },
    { poolId: 'dual.fd00::_64', prefix: 'fd00::/64', gateway: 'fd00::1' },
  ]
  cluster.addNetwork({ name: 'dual', kind: 'bridge', pools })
  t.is((await status({ name: 'dual' })).exitCode, 0)
  t.is((await cni(addEnv, { ...blueConfig, name: 'dual' })).exitCode, 0)
  const exhausted = await status({ name: 'dual' })
  t.is(exhausted.json.code, 50)
  t.regex(exhausted.json.msg, /IPv4 pool of network dual is exhausted/)
})

test('an ADD that asks for what its definition does not have makes no network', async (t) => {
  const { cni, cluster } = t.context.gateway
  const green = { cniVersion: '1.0.0', name: 'green', type: 'heddle', heddle: { kind: 'bridge', subnets: ['10.7.0.0/24'] } }
  t.is((await cni(addEnv, { ...green, ips: ['10.8.0.5'] })).json.code, 109)
  const ports = { runtimeConfig: { portMappings: [{ hostPort: 80, containerPort: 80 }] } }
  t.is((await cni(addEnv, { ...green, heddle: { subnets: ['10.7.0.0/24'] }, ...ports })).json.code, 2)
  t.deepEqual([cluster.networks.size, cluster.ipam.pools.size], [1, 2], 'only blue is there')
})

test('GC removes what is not in the list, keeps what is, and leaves Docker and an ADD under way alone', async (t) => {
  const { cni, cluster } = t.context.gateway
  for (const id of ['keep', 'drop']) await cni({ ...addEnv, CNI_CONTAINERID: id }, blueConfig)
  const [kept] = [...cluster.endpoints.values()].filter((endpoint) => endpoint.containerId === 'keep')
  const docker = { ...kept, id: 'docker1', runtime: 'docker', containerId: '' } as typeof kept & object
  cluster.endpoints.set('docker1', docker)
  cluster.faults.set('wiring.attach', 'hang')
  void cni({ ...addEnv, CNI_CONTAINERID: 'slow' }, blueConfig).catch(() => {})
  while (!cluster.endpoints.values().some((endpoint) => endpoint.containerId === 'slow')) await new Promise(setImmediate)
  const gc = { cniVersion: '1.1.0', name: 'blue', type: 'heddle', 'cni.dev/attachments': [{ containerID: 'keep', ifname: 'eth0' }] }
  t.is((await cni({ CNI_COMMAND: 'GC' }, gc)).exitCode, 0)
  t.deepEqual([...cluster.endpoints.values()].map((endpoint) => endpoint.containerId || endpoint.id).sort(), ['docker1', 'keep', 'slow'])
  t.is((await cni({ CNI_COMMAND: 'GC' }, { cniVersion: '1.1.0', name: 'blue' })).json.code, 7, 'no list is not an empty list')
})

test('GC leaves alone what was attached while it asked, be it over by then', async (t) => {
  const { cni, cluster } = t.context.gateway
  await cni({ ...addEnv, CNI_CONTAINERID: 'stale' }, blueConfig)
  const gate = Promise.withResolvers<void>()
  cluster.faults.set('networks.listEndpoints', gate.promise)
  const gc = cni({ CNI_COMMAND: 'GC' }, { ...blueConfig, cniVersion: '1.1.0', 'cni.dev/valid-attachments': [] })
  while (!cluster.calls.includes('networks.listEndpoints')) await new Promise(setImmediate)
  t.is((await cni({ ...addEnv, CNI_CONTAINERID: 'quick' }, blueConfig)).exitCode, 0)
  gate.resolve()
  t.is((await gc).exitCode, 0)
  t.deepEqual(
    [...cluster.endpoints.values()].map(({ containerId }) => containerId),
    ['quick'],
  )
})

const blue = (more: object) => ({ ...blueConfig, ...more })
const badInput: [name: string, env: object, config: unknown, code: number, remedy: RegExp][] = [
  ['no configuration', {}, '', 6, /stdin/],
  ['bad JSON', {}, '{"cniVersion": ', 6, /correct/],
  ['JSON that is no object', {}, '[]', 6, /correct/],
  ['an unknown version', {}, blue({ cniVersion: '9.0.0' }), 1, /use one of .*1\.1\.0/],
  ['a version that is no text', {}, blue({ cniVersion: 1 }), 6, /"1\.1\.0"/],
  ['a name that is none', {}, blue({ name: 'b/lue' }), 7, /letters/],
  ['no name', {}, { cniVersion: '1.1.0' }, 7, /name the network/],
  ['an unknown network', {}, blue({ name: 'red' }), 100, /heddle network create red/],
  ['an unknown command', { CNI_COMMAND: 'MOVE' }, blueConfig, 4, /ADD, DEL/],
  ['no container id', { CNI_CONTAINERID: '' }, blueConfig, 4, /CNI_CONTAINERID/],
  ['a bad container id', { CNI_CONTAINERID: '../x' }, blueConfig, 4, /CNI_CONTAINERID/],
  ['no interface name', { CNI_IFNAME: '' }, blueConfig, 4, /CNI_IFNAME/],
  ['an interface name too long', { CNI_IFNAME: 'a234567890123456' }, blueConfig, 4, /CNI_IFNAME.*1 to 15/],
  ['an interface name taken', { CNI_IFNAME: 'foreign0' }, blueConfig, 115, /another name/],
  ['no namespace', { CNI_NETNS: '' }, blueConfig, 4, /CNI_NETNS/],
  ['a missing namespace', { CNI_NETNS: '/run/netns/gone' }, blueConfig, 114, /create the namespace/],
  ['a file that is no namespace', { CNI_NETNS: '/etc/hostname' }, blueConfig, 114, /create the namespace/],
  ["the host's own namespace", { CNI_NETNS_OVERRIDE: '' }, blueConfig, 8, /of the host itself; create the namespace/],
  ["the host's own namespace by another name", { CNI_NETNS_OVERRIDE: '0', CNI_NETNS: `/proc/${process.pid}/ns/net` }, blueConfig, 8, /host itself/],
  ['malformed CNI_ARGS', { CNI_ARGS: 'IP=1=2' }, blueConfig, 4, /";"/],
  ['a static address taken', { CNI_ARGS: 'IP=10.1.0.77' }, blueConfig, 108, /another address/],
  ['a static address outside the pool', { CNI_ARGS: 'IP=192.0.2.1' }, blueConfig, 109, /10\.1\.0\.0\/24/],
  ['an address that is none', { CNI_ARGS: 'IP=10.1.0' }, blueConfig, 4, /CNI_ARGS/],
  ['a MAC in CNI_ARGS that is none', { CNI_ARGS: 'MAC=zz' }, blueConfig, 4, /CNI_ARGS MAC/],
  ['a multicast MAC', {}, blue({ mac: '01:00:00:00:00:01' }), 7, /lowest bit/],
  ['an exhausted pool', {}, blue({ name: 'tiny' }), 107, /remove containers/],
  ['an unknown key in our part', {}, blue({ heddle: { subnet: '10.0.0.0/8' } }), 2, /"subnet".*remove it; the keys are: kind, subnets, /],
  ['ports of an overlay', {}, blue({ name: 'over', runtimeConfig: { portMappings: [{ hostPort: 80, containerPort: 80 }] } }), 2, /bridge/],
  ['a bad port', {}, blue({ runtimeConfig: { portMappings: [{ hostPort: 99_999, containerPort: 80 }] } }), 7, /hostPort/],
  ['a rate', {}, blue({ runtimeConfig: { bandwidth: { ingressRate: 1000, ingressBurst: 1000 } } }), 2, /add the bandwidth plugin to the chain/],
  ['a route that is none', {}, blue({ routes: [{ dst: 'anywhere' }] }), 7, /routes\.dst/],
  ['an interface name of the configuration that is none', {}, blue({ interface: 'a/b' }), 7, /interface/],
  ['a bad previous result', {}, blue({ prevResult: { ips: 'none' } }), 7, /prevResult/],
  ['CHECK before 0.4.0', { CNI_COMMAND: 'CHECK' }, blue({ cniVersion: '0.3.1' }), 1, /1\.1\.0/],
  ['GC before 1.1.0', { CNI_COMMAND: 'GC' }, blue({ cniVersion: '1.0.0' }), 1, /1\.1\.0/],
]
for (const [name, env, config, code, remedy] of badInput) {
  test(`${name}: error ${code}, a remedy, and nothing changed`, async (t) => {
    const { cni, cluster } = t.context.gateway
    cluster.foreign.add('foreign0')
    cluster.addNetwork({ name: 'over', kind: 'overlay', pools: [{ poolId: 'over.10.3.0.0_24', prefix: '10.3.0.0/24', gateway: '' }] })
    cluster.addNetwork({ name: 'tiny', kind: 'bridge', pools: [{ poolId: 'tiny.10.2.0.0_30', prefix: '10.2.0.0/30', gateway: '10.2.0.1' }] })
    await cni({ ...addEnv, CNI_CONTAINERID: 'first' }, { ...blueConfig, name: 'tiny' })
    await cni({ ...addEnv, CNI_CONTAINERID: 'taken', CNI_ARGS: 'IP=10.1.0.77' }, blueConfig)
    const before = leftovers(cluster)
    const refused = await cni({ ...addEnv, ...env }, config)
    t.is(refused.exitCode, 1)
    t.is(refused.json.code, code)
    t.regex(`${refused.json.msg}`, remedy)
    t.notRegex(refused.stdout, /not found|no such file/i)
    t.is(typeof refused.json.cniVersion, 'string')
    t.deepEqual(leftovers(cluster), before)
  })
}

/** A runtime that gives up as soon as `begun` holds. */
async function giveUp(gateway: TestGateway, env: Readonly<Record<string, string>>, begun: () => boolean): Promise<void> {
  const socket = connect(gateway.sockets.cni)
  socket.write(encodeRequest(new Map(Object.entries(env)), JSON.stringify(blueConfig)))
  while (!begun()) await new Promise(setImmediate)
  socket.destroy()
}

test('an ADD whose caller goes away undoes itself, long before its time is over', async (t) => {
  const patient = await startGateway({ cni: { timeoutMs: 600_000 } })
  const { cluster, runtime } = patient
  addBlue(cluster)
  cluster.faults.set('wiring.attach', 'hang')
  await giveUp(patient, addEnv, () => cluster.endpoints.size > 0)
  while (leftovers(cluster).claims > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  t.deepEqual(leftovers(cluster), none)
  t.is(runtime.phase, 'running')
  await patient.stop()
})

test('a DEL whose caller goes away goes on: a runtime that gave up may not ask again', async (t) => {
  const { cni, cluster } = t.context.gateway
  await cni(addEnv, blueConfig)
  const gate = Promise.withResolvers<void>()
  cluster.calls.length = 0
  cluster.faults.set('wiring.detach', gate.promise)
  await giveUp(t.context.gateway, { ...addEnv, CNI_COMMAND: 'DEL' }, () => cluster.calls.includes('wiring.detach'))
  await new Promise((resolve) => setTimeout(resolve, 50))
  gate.resolve()
  while (leftovers(cluster).claims > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  t.deepEqual(leftovers(cluster), none)
})

test('no stdin crashes the door: every answer is a result or a typed error', async (t) => {
  const { cni } = t.context.gateway
  const key = fc.constantFrom('cniVersion', 'name', 'heddle', 'ips', 'mac', 'routes', 'dns', 'args', 'runtimeConfig', 'prevResult', 'cni.dev/valid-attachments')
  const config = fc.oneof(
    fc.string(),
    fc.json(),
    fc.dictionary(key, fc.jsonValue()).map((given) => JSON.stringify({ ...blueConfig, ...given })),
  )
  const command = fc.constantFrom('ADD', 'DEL', 'CHECK', 'STATUS', 'GC', 'VERSION', '')
  await fc.assert(
    fc.asyncProperty(command, fc.string({ maxLength: 20 }), config, async (verb, args, stdin) => {
      const { exitCode, json } = await cni({ ...addEnv, CNI_COMMAND: verb, CNI_ARGS: args.replaceAll('\0', '') }, stdin)
      if (exitCode === 0) return
      t.is(typeof json.code, 'number')
      t.not(json.code, 119, `an internal error for ${JSON.stringify(stdin)}: ${json.msg}`)
      t.true(json.msg.length > 0)
    }),
    { numRuns: 300 },
  )
})
