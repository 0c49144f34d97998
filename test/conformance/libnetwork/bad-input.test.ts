// Calls of Docker's plugin protocol that cannot succeed, or come twice, against the real parts: typed errors in Docker's words, and nothing changed.

import { join } from 'node:path'
import {
  attempt,
  createUnderlay,
  type HeddleProcess,
  LabScope,
  labDirectory,
  type PluginAnswer,
  type PluginClient,
  pluginClient,
  run,
  startHeddle,
} from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'

const scope = new LabScope()
let heddle: HeddleProcess
let docker: PluginClient
let netns: string

const NetworkID = 'a'.repeat(64)
const EndpointID = 'e'.repeat(64)
const ids = { NetworkID, EndpointID }
const unknownIds = { NetworkID: 'b'.repeat(64), EndpointID: 'f'.repeat(64) }
const pool = { AddressSpace: 'heddle', Pool: '10.78.0.0/24', SubPool: '', Options: { network: 'red' }, V6: false }
const generic = (options: object) => ({ 'com.docker.network.generic': options })
const gatewayType = { RequestAddressType: 'com.docker.network.gateway' }
const portMap = (HostPort: number) => ({ 'com.docker.network.portmap': [{ Proto: 6, IP: '', Port: 80, HostIP: '0.0.0.0', HostPort, HostPortEnd: HostPort }] })
let PoolID = ''
/** Of the endpoint. */
let Address = ''

test.before(async () => {
  const dir = labDirectory(scope)
  const underlay = createUnderlay({ hosts: 1 })
  scope.defer('underlay', () => underlay.remove())
  netns = underlay.hosts[0]?.path ?? ''
  heddle = await startHeddle(scope, { host: 'bad', netns, dir, config: { gateway: { docker: { timeoutMs: 4_000 } } } })
  docker = pluginClient(join(heddle.pluginDir, 'heddle.sock'))
  scope.defer('plugin client', () => docker.close())
})
test.after.always(() => scope.close())

/** Every fact of the cluster and every kernel object of the host, as text; but for the leases by which hosts are seen alive. */
async function world(): Promise<string> {
  const inside = async (path: string, ...command: string[]) => (await attempt(['nsenter', `--net=${path}`, ...command])).stdout
  // Whether a link has a carrier yet is nobody's doing.
  const links = async (path: string) => (await inside(path, 'ip', '-oneline', 'link')).replace(/<.*?>|state \w+/g, '')
  const fabric = join(heddle.runDir, 'netns/fabric')
  const [records, ...kernel] = await Promise.all([
    run(['nsenter', `--net=${netns}`, 'etcdctl', '--endpoints', heddle.etcd.join(','), 'get', '--prefix', ''], { env: { ETCDCTL_API: '3' } }),
    links(netns),
    inside(netns, 'nft', '--stateless', 'list', 'ruleset'),
    links(fabric),
    inside(fabric, 'bridge', 'fdb'),
  ])
  return [records.replace(/^heddle\/overlay\/live\/.*\n.*\n/gm, ''), ...kernel].join('\n')
}

async function succeeds(method: string, body?: unknown): Promise<any> {
  const answer = await docker.call(method, body)
  if (answer.status !== 200) throw new Error(`${method}: ${answer.status} ${JSON.stringify(answer.json)}`)
  return answer.json
}

/** In the content type, and in the keys that Docker reads: `Err` of a network driver, `Error` of an IPAM driver. */
function isRefusal(t: ExecutionContext, answer: PluginAnswer, status: number, message: RegExp, what: string): void {
  t.is(answer.status, status, `${what}: ${JSON.stringify(answer.json)}`)
  t.is(answer.contentType, 'application/vnd.docker.plugins.v1.2+json', what)
  t.regex(answer.json?.Err ?? '', message, what)
  t.is(answer.json?.Err, answer.json?.Error, what)
  t.notRegex(answer.json?.Err ?? '', /defect in Heddle/, what)
}

async function changesNothing<T>(t: ExecutionContext, body: () => Promise<T>): Promise<T> {
  const before = await world()
  const result = await body()
  t.is(await world(), before, 'something was changed')
  return result
}

type Refused = readonly [method: string, body: object, message: RegExp]

async function refused(t: ExecutionContext, calls: readonly Refused[], status = 500): Promise<void> {
  await changesNothing(t, async () => {
    for (const [method, body, message] of calls) isRefusal(t, await docker.call(method, body), status, message, `${method} ${JSON.stringify(body)}`)
  })
}

/** A body for each method that needs one, as the engine would send it for the network and endpoint of this file. */
const requests = (): Readonly<Record<string, object>> => ({
  'NetworkDriver.GwAllocCheck': { Options: generic({ network: 'red', kind: 'bridge' }) },
  'NetworkDriver.AllocateNetwork': { NetworkID, Options: {} },
  'NetworkDriver.FreeNetwork': { NetworkID },
  'NetworkDriver.CreateNetwork': {
    NetworkID,
    Options: generic({ network: 'red', kind: 'bridge' }),
    IPv4Data: [{ AddressSpace: 'heddle', Pool: pool.Pool, Gateway: '10.78.0.1/24' }],
    IPv6Data: null,
  },
  'NetworkDriver.CreateEndpoint': { ...ids, Interface: { Address, AddressIPv6: '', MacAddress: '' }, Options: null },
  'NetworkDriver.EndpointOperInfo': ids,
  'NetworkDriver.Join': { ...ids, SandboxKey: '/var/run/docker/netns/0123456789ab', Options: null },
  'NetworkDriver.ProgramExternalConnectivity': { ...ids, Options: portMap(18_080) },
  'NetworkDriver.RevokeExternalConnectivity': ids,
  'NetworkDriver.Leave': ids,
  'NetworkDriver.DeleteEndpoint': ids,
  'NetworkDriver.DeleteNetwork': { NetworkID },
  'NetworkDriver.DiscoverNew': { DiscoveryType: 1, DiscoveryData: { Address: '192.0.2.7' } },
  'NetworkDriver.DiscoverDelete': { DiscoveryType: 1, DiscoveryData: { Address: '192.0.2.7' } },
  'IpamDriver.RequestPool': pool,
  'IpamDriver.RequestAddress': { PoolID, Address: '', Options: null },
  'IpamDriver.ReleaseAddress': { PoolID, Address: Address.split('/')[0] },
  'IpamDriver.ReleasePool': { PoolID },
})

test.serial('the network and an endpoint are there, wired and with a published port', async (t) => {
  ;({ PoolID } = await succeeds('IpamDriver.RequestPool', pool))
  t.is((await succeeds('IpamDriver.RequestAddress', { PoolID, Address: '', Options: gatewayType })).Address, '10.78.0.1/24')
  await succeeds('NetworkDriver.CreateNetwork', requests()['NetworkDriver.CreateNetwork'])
  ;({ Address } = await succeeds('IpamDriver.RequestAddress', requests()['IpamDriver.RequestAddress']))
  for (const step of ['CreateEndpoint', 'Join', 'ProgramExternalConnectivity']) await succeeds(`NetworkDriver.${step}`, requests()[`NetworkDriver.${step}`])
  t.regex(await world(), /18080/)
})

test.serial('no body, an empty one as Docker repeats a request with, and one that is malformed are refused by every method that needs one', async (t) => {
  await changesNothing(t, async () => {
    for (const [method, body] of Object.entries(requests())) {
      for (const text of [undefined, '', '\n']) {
        isRefusal(t, await docker.raw(method, text === undefined ? {} : { text }), 400, /no body; repeat the operation/, `${method} ${text}`)
      }
      const whole = JSON.stringify(body)
      for (const text of [whole.slice(0, -1), '{', 'nonsense', '\u0000']) isRefusal(t, await docker.raw(method, { text }), 400, /not JSON/, `${method} ${text}`)
      for (const text of ['[]', 'null', '7', '"x"']) isRefusal(t, await docker.raw(method, { text }), 400, /: /, `${method} ${text}`)
      for (const key of Object.keys(body).filter((one) => /^(NetworkID|EndpointID|PoolID)$/.test(one))) {
        for (const wrong of [7, null, {}, '']) {
          isRefusal(t, await docker.call(method, { ...body, [key]: wrong }), 400, new RegExp(key), `${method} ${key}=${JSON.stringify(wrong)}`)
        }
        const { [key]: _left, ...rest } = body as Record<string, unknown>
        isRefusal(t, await docker.call(method, rest), 400, new RegExp(key), `${method} without ${key}`)
      }
    }
  })
})

test.serial('what cannot be a name is never made into a key, a subject or an interface', async (t) => {
  const bad = ['../up', 'a/b', 'a b', 'a>b', '*', 'a.*', '>', '\n', 'x'.repeat(300)]
  const takingIds = Object.entries(requests()).filter(([, body]) => 'NetworkID' in body)
  await refused(
    t,
    bad.flatMap((name) =>
      takingIds.flatMap(([method, body]) =>
        Object.keys(ids).flatMap((key) => (key in body ? [[method, { ...body, [key]: name }, new RegExp(key)] as const] : [])),
      ),
    ),
    400,
  )
  const network = requests()['NetworkDriver.CreateNetwork']
  await refused(
    t,
    bad.flatMap((name): Refused[] => [
      ['NetworkDriver.CreateNetwork', { ...network, NetworkID: unknownIds.NetworkID, Options: generic({ network: name }) }, /name/],
      ['NetworkDriver.GwAllocCheck', { Options: generic({ network: name }) }, /name/],
      ['IpamDriver.RequestPool', { ...pool, Options: { network: name } }, /name/],
    ]),
  )
  for (const name of bad) {
    const { status } = await changesNothing(t, () => docker.call('IpamDriver.RequestAddress', { PoolID: name, Address: '', Options: null }))
    t.true(status === 400 || status === 500, `pool ${name}`)
  }
})

test.serial('unknown ids are named with what to do, and what removes them succeeds', async (t) => {
  const unknown = (method: string) => ({ ...requests()[method], ...unknownIds })
  await refused(t, [
    ['NetworkDriver.CreateEndpoint', unknown('NetworkDriver.CreateEndpoint'), /has no Heddle network; .*docker network rm/],
    ['NetworkDriver.Join', unknown('NetworkDriver.Join'), /has no Heddle network; .*docker network rm/],
    ['NetworkDriver.ProgramExternalConnectivity', unknown('NetworkDriver.ProgramExternalConnectivity'), /has no Heddle network; /],
    ['NetworkDriver.Join', { ...unknown('NetworkDriver.Join'), NetworkID }, /is not recorded; start the container again/],
    ['NetworkDriver.ProgramExternalConnectivity', { ...unknownIds, NetworkID, Options: portMap(18_081) }, /is not recorded; /],
    ['IpamDriver.RequestAddress', { PoolID: 'never.10.9.0.0_16', Address: '', Options: null }, /never\.10\.9\.0\.0_16/],
    [
      'NetworkDriver.CreateNetwork',
      { ...requests()['NetworkDriver.CreateNetwork'], ...unknownIds, IPv4Data: [{ ...pool, Pool: '10.99.0.0/24' }] },
      /has no pool 10\.99/,
    ],
  ])
  await changesNothing(t, async () => {
    t.deepEqual(await succeeds('NetworkDriver.EndpointOperInfo', unknownIds), { Value: {} })
    for (const method of ['RevokeExternalConnectivity', 'Leave', 'DeleteEndpoint', 'DeleteNetwork'])
      t.deepEqual(await succeeds(`NetworkDriver.${method}`, unknownIds), {}, method)
    t.deepEqual(await succeeds('IpamDriver.ReleaseAddress', { PoolID: 'never.10.9.0.0_16', Address: '10.9.0.9' }), {})
    t.deepEqual(await succeeds('IpamDriver.ReleaseAddress', { PoolID, Address: '10.78.0.99' }), {})
    t.deepEqual(await succeeds('IpamDriver.ReleasePool', { PoolID: 'never.10.9.0.0_16' }), {})
  })
})

test.serial('addresses, pools, options and ports that cannot be are refused with the reason', async (t) => {
  const network = { ...requests()['NetworkDriver.CreateNetwork'], ...unknownIds }
  const endpoint = { ...requests()['NetworkDriver.CreateEndpoint'], ...unknownIds, NetworkID }
  await refused(t, [
    ['IpamDriver.RequestAddress', { PoolID, Address: 'ten', Options: null }, /ten/],
    ['IpamDriver.RequestAddress', { PoolID, Address: '10.79.0.1', Options: null }, /10\.79\.0\.1/],
    ['IpamDriver.RequestAddress', { PoolID, Address: Address.split('/')[0], Options: null }, /10\.78\.0\.\d+/],
    ['IpamDriver.RequestPool', { ...pool, Pool: '10.0.0.0/33' }, /10\.0\.0\.0\/33/],
    ['IpamDriver.RequestPool', { ...pool, Pool: '10.99.0.0/24' }, /red has 10\.78\.0\.0\/24, not 10\.99\.0\.0\/24; /],
    ['IpamDriver.RequestPool', { ...pool, SubPool: '10.1.0.0/24' }, /another address range; /],
    ['IpamDriver.RequestPool', { ...pool, Options: { colour: 'red' } }, /colour.*; the options are/],
    ['NetworkDriver.CreateNetwork', { ...network, Options: generic({ network: 'red', kind: 'overlay' }) }, /kind is bridge; leave -o kind out/],
    ['NetworkDriver.CreateNetwork', { ...network, Options: generic({ network: 'red', mtu: 'big' }) }, /not a number; /],
    ['NetworkDriver.CreateNetwork', { ...network, Options: generic({ network: 'red', colour: 'x' }) }, /colour.*; the options are/],
    ['NetworkDriver.CreateEndpoint', { ...endpoint, Interface: { Address: 'ten/24' } }, /ten/],
    ['NetworkDriver.CreateEndpoint', { ...endpoint, Interface: { Address: '10.79.0.1/24' } }, /10\.79\.0\.1/],
    ['NetworkDriver.CreateEndpoint', { ...endpoint, Interface: { Address } }, /10\.78\.0\.\d+/],
    ['NetworkDriver.CreateEndpoint', { ...endpoint, Interface: { Address: '10.78.0.50/24', MacAddress: 'not:a:mac' } }, /not:a:mac/],
    ['NetworkDriver.ProgramExternalConnectivity', { ...ids, Options: { 'com.docker.network.portmap': [{ Proto: 1, Port: 80 }] } }, /protocol 1 .*; use tcp/],
    ['NetworkDriver.ProgramExternalConnectivity', { ...ids, Options: { 'com.docker.network.portmap': 'all' } }, /port map is malformed/],
  ])
})

test.serial('a method that is not there, another verb and too much are refused before anything is read', async (t) => {
  await changesNothing(t, async () => {
    isRefusal(t, await docker.call('NetworkDriver.Teleport', {}), 404, /not a method/, 'unknown method')
    for (const method of Object.keys(requests())) isRefusal(t, await docker.raw(method, { verb: 'PUT', text: '{}' }), 405, /POST/, method)
    isRefusal(t, await docker.call('NetworkDriver.DeleteNetwork', { NetworkID, filler: 'x'.repeat(2 << 20) }), 413, /larger than/, 'too much')
  })
  t.deepEqual((await succeeds('Plugin.Activate')).Implements, ['NetworkDriver', 'IpamDriver'], 'and the door is open after that')
})

test.serial('each step that is repeated answers the same and does nothing more', async (t) => {
  await changesNothing(t, async () => {
    t.is((await succeeds('IpamDriver.RequestPool', pool)).PoolID, PoolID)
    t.is((await succeeds('IpamDriver.RequestAddress', { PoolID, Address: '10.78.0.1', Options: gatewayType })).Address, '10.78.0.1/24')
    for (const step of ['GwAllocCheck', 'CreateNetwork', 'EndpointOperInfo', 'DiscoverNew', 'DiscoverDelete', 'FreeNetwork']) {
      const body = requests()[`NetworkDriver.${step}`]
      t.deepEqual(await succeeds(`NetworkDriver.${step}`, body), await succeeds(`NetworkDriver.${step}`, body), step)
    }
  })
  // These write the same record anew, so only its time may differ.
  const timeless = async () => (await world()).replace(/"updatedAt":"[^"]*"/g, '')
  const before = await timeless()
  for (const step of ['CreateEndpoint', 'Join', 'ProgramExternalConnectivity']) {
    const body = requests()[`NetworkDriver.${step}`]
    t.deepEqual(await succeeds(`NetworkDriver.${step}`, body), await succeeds(`NetworkDriver.${step}`, body), step)
    t.is(await timeless(), before, step)
  }
})

test.serial('each removal that is repeated succeeds, and all that was made is gone', async (t) => {
  for (const step of ['RevokeExternalConnectivity', 'Leave', 'DeleteEndpoint']) {
    for (const time of ['once', 'twice']) t.deepEqual(await succeeds(`NetworkDriver.${step}`, requests()[`NetworkDriver.${step}`]), {}, `${step} ${time}`)
  }
  const left = await world()
  t.notRegex(left, /18080/)
  t.notRegex(left, new RegExp(`${EndpointID}|\\bh[dp][0-9a-f]{11}`))
  for (const address of [Address.split('/')[0], Address.split('/')[0], '10.78.0.1', '10.78.0.1'])
    t.deepEqual(await succeeds('IpamDriver.ReleaseAddress', { PoolID, Address: address }), {})
  for (const time of ['once', 'twice']) t.deepEqual(await succeeds('IpamDriver.ReleasePool', { PoolID }), {}, time)
  for (const time of ['once', 'twice']) t.deepEqual(await succeeds('NetworkDriver.DeleteNetwork', { NetworkID }), {}, time)
  t.deepEqual(await Promise.all(['network', 'endpoint', 'pool'].map((what) => heddle.json([what, 'ls']))), [[], [], []])
  t.notRegex(await world(), /heddle\/ipam\/|heddle\/networks\/(?!fence)/)
})

test.serial('with etcd frozen every method is answered by its deadline, and works when etcd does', async (t) => {
  const children = await run(['ps', '--ppid', String(heddle.program.pid), '-o', 'pid=,comm='])
  const etcd = Number(/^\s*(\d+) etcd$/m.exec(children)?.[1])
  process.kill(etcd, 'SIGSTOP')
  try {
    const answers = await Promise.all(
      Object.entries(requests()).map(async ([method, body]) => {
        const beganMs = performance.now()
        const answer = await docker.call(method, body)
        return { method, answer, tookMs: performance.now() - beganMs }
      }),
    )
    for (const { method, answer, tookMs } of answers) {
      if (answer.status !== 200) isRefusal(t, answer, 500, /./, method)
      // Its deadline is 4 s; the rest is for a machine that is busy.
      t.true(tookMs < 12_000, `${method} took ${tookMs.toFixed(0)} ms`)
    }
    t.true(
      answers.some(({ answer }) => answer.status === 500),
      'nothing needed etcd',
    )
  } finally {
    process.kill(etcd, 'SIGCONT')
  }
  for (let tries = 0; (await docker.call('IpamDriver.RequestPool', { ...pool, Pool: '10.80.0.0/24', Options: null })).status !== 200; tries++)
    t.true(tries < 20)
})
