// Another plugin as Heddle's IPAM, and Heddle as the IPAM of another plugin: the reference plugins on both sides.
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { run } from '@heddle/testkit'
import anyTest, { type TestFn } from 'ava'
import { type CniStage, eventually, setCniStage } from './stage.ts'

const test = anyTest as TestFn<CniStage>

/** Quick enough to be waited for: a sandbox that is gone is believed after a second. */
const sweeps = { networks: { sweepIntervalMs: 300, graceMs: 1000 }, ipam: { sweepIntervalMs: 300, graceMs: 1000 } }

test.before(async (t) => {
  t.context = await setCniStage(sweeps)
  await t.context.heddle.cli(['network', 'create', 'blue', '--kind', 'bridge', '--subnet', '10.77.0.0/24', '--subnet', 'fd77::/64'])
})
test.after.always((t) => t.context?.close?.())

const claimed = async ({ heddle }: CniStage) => {
  const pools = (await heddle.json(['pool', 'ls'])) as { claimed?: string }[]
  return pools.reduce((sum, pool) => sum + Number(pool.claimed ?? 0), 0)
}

test.serial('host-local gives the addresses of a network that the configuration defines, and is told when they are free', async (t) => {
  const { chain, attachment, sandbox, inside, hostNetns, heddle, dir } = t.context
  const dataDir = `${dir}/host-local`
  const held = () => (existsSync(`${dataDir}/local`) ? readdirSync(`${dataDir}/local`).filter((name) => name.startsWith('10.')) : [])
  const ipam = {
    type: 'host-local',
    dataDir,
    ranges: [[{ subnet: '10.88.0.0/24', rangeStart: '10.88.0.10' }], [{ subnet: 'fd88::/64' }]],
    routes: [{ dst: '0.0.0.0/0' }],
  }
  const runtime = chain({ cniVersion: '1.0.0', name: 'local', plugins: [{ type: 'heddle', heddle: { kind: 'bridge' }, ipam }] })
  const [one, two] = [attachment(await sandbox()), attachment(await sandbox())]
  const result = await runtime.add(one)
  t.deepEqual(
    result.ips.map(({ address, gateway }: { address: string; gateway: string }) => [address, gateway]),
    [
      ['10.88.0.10/24', '10.88.0.1'],
      ['fd88::2/64', 'fd88::1'],
    ],
  )
  t.deepEqual(result.routes, [{ dst: '0.0.0.0/0', gw: '10.88.0.1' }])
  await runtime.add(two)
  await inside(one.netns ?? '', ['busybox', 'ping', '-c1', '-W2', '10.88.0.11'])
  await inside(one.netns ?? '', ['busybox', 'ping', '-c1', '-W2', '10.88.0.1'])
  await inside(hostNetns, ['busybox', 'ping', '-c1', '-W2', '10.88.0.10'])
  t.deepEqual(held(), ['10.88.0.10', '10.88.0.11'])
  const endpoints = (await heddle.json(['endpoint', 'ls'])) as { ipam: string }[]
  t.deepEqual(
    endpoints.map((one) => one.ipam),
    ['host-local', 'host-local'],
  )
  await runtime.check(one)
  await t.throwsAsync(runtime.add(one), { message: /DEL/ }, 'a second ADD')
  t.deepEqual(held(), ['10.88.0.10', '10.88.0.11'], 'it costs no address')
  await runtime.del(one)
  await runtime.del(one)
  runtime.forget()
  await runtime.del({ ...two, netns: '' })
  t.deepEqual(held(), [])
  t.is(await claimed(t.context), 0)
  await heddle.cli(['network', 'rm', 'local'])
})

test.serial('static addresses that no pool has, on a network by name, with what the runtime gives', async (t) => {
  const { chain, attachment, sandbox, inside, heddle } = t.context
  const runtime = chain({
    cniVersion: '1.0.0',
    name: 'blue',
    plugins: [{ type: 'heddle', capabilities: { ips: true }, ipam: { type: 'static', routes: [{ dst: '10.50.0.0/16', gw: '192.0.2.1' }] } }],
  })
  const at = attachment(await sandbox(), { capabilities: { ips: ['192.0.2.7/24', '10.77.0.77/24'] } })
  const { ips } = await runtime.add(at)
  t.deepEqual(
    ips.map(({ address }: { address: string }) => address),
    ['192.0.2.7/24', '10.77.0.77/24'],
  )
  t.regex(await inside(at.netns ?? '', ['ip', 'route']), /10\.50\.0\.0\/16 via 192\.0\.2\.1/)
  t.is(await claimed(t.context), 1, 'the one that a pool has is claimed')
  await runtime.check(at)
  await runtime.del(at)
  t.deepEqual(await heddle.json(['endpoint', 'ls']), [])
  t.is(await claimed(t.context), 0)
})

test.serial('an ADD that fails after the other plugin gave an address gives it back', async (t) => {
  const { chain, attachment, sandbox, dir } = t.context
  const ipam = { type: 'host-local', dataDir: `${dir}/taken`, ranges: [[{ subnet: '10.77.0.0/24', rangeStart: '10.77.0.90', rangeEnd: '10.77.0.91' }]] }
  const own = chain({ cniVersion: '1.0.0', name: 'blue', type: 'heddle' })
  const holder = attachment(await sandbox(), { args: 'IP=10.77.0.90' })
  await own.add(holder)
  const runtime = chain({ cniVersion: '1.0.0', name: 'blue', type: 'heddle', ipam })
  const at = attachment(await sandbox())
  await t.throwsAsync(runtime.add(at), { message: /10\.77\.0\.90/ })
  t.deepEqual(
    readdirSync(`${dir}/taken/blue`).filter((name) => name.startsWith('10.')),
    [],
  )
  t.is((await runtime.add(at)).ips[0].address, '10.77.0.91/24', 'the next is free')
  await runtime.del(at)
  await own.del(holder)
  t.is(await claimed(t.context), 0)
})

test.serial('a DHCP client gets its address from a server on the network, since the interface is there when it asks', async (t) => {
  const { chain, attachment, sandbox, inside, start, hostNetns, dir } = t.context
  const socketPath = `${dir}/dhcp.sock`
  const server = await sandbox()
  await t.context.heddle.cli(['network', 'create', 'lan', '--kind', 'bridge', '--subnet', '10.66.0.0/24'])
  const lan = chain({ cniVersion: '1.0.0', name: 'lan', type: 'heddle' })
  await lan.add(attachment(server, { args: 'IP=10.66.0.2' }))
  const conf = `${dir}/udhcpd.conf`
  const leases = `${dir}/udhcpd.leases`
  writeFileSync(
    conf,
    `start 10.66.0.50\nend 10.66.0.60\ninterface eth0\npidfile ${dir}/udhcpd.pid\nlease_file ${leases}\noption subnet 255.255.255.0\noption router 10.66.0.1\noption lease 600\n`,
  )
  writeFileSync(leases, '')
  await start('udhcpd', server, ['busybox', 'udhcpd', '-f', conf])
  await start('dhcp', hostNetns, ['/usr/lib/cni/dhcp', 'daemon', '-socketpath', socketPath, '-pidfile', `${dir}/dhcp.pid`])
  await eventually('the daemon listens', async () => (existsSync(socketPath) ? undefined : 'no socket'))
  const runtime = chain({ cniVersion: '1.0.0', name: 'lan', type: 'heddle', ipam: { type: 'dhcp', daemonSocketPath: socketPath } })
  const at = attachment(await sandbox())
  const { ips } = await runtime.add(at)
  t.regex(ips[0].address, /^10\.66\.0\.5\d\/24$/)
  await inside(at.netns ?? '', ['busybox', 'ping', '-c1', '-W2', '10.66.0.2'])
  await runtime.del(at)
  await lan.del(attachment(server))
})

test.serial('under the bridge plugin: addresses of one pool with the containers of Heddle itself, CHECK and DEL', async (t) => {
  const { chain, attachment, sandbox, inside, heddle } = t.context
  const plugin = { type: 'bridge', bridge: 'cni7', ipam: { type: 'heddle', network: 'blue', routes: [] } }
  const runtime = chain({ cniVersion: '1.0.0', name: 'pods', plugins: [plugin] })
  const [one, two] = [attachment(await sandbox()), attachment(await sandbox(), { args: 'IgnoreUnknown=1;IP=10.77.0.40' })]
  const first = await runtime.add(one)
  await runtime.check(one)
  const second = await runtime.add(two)
  t.is(second.ips[0].address, '10.77.0.40/24')
  t.is(first.ips[0].gateway, '10.77.0.1')
  await inside(one.netns ?? '', ['busybox', 'ping', '-c1', '-W2', '10.77.0.40'])
  const endpoints = (await heddle.json(['endpoint', 'ls'])) as { state: string; networkName: string }[]
  t.deepEqual(
    endpoints.map((e) => [e.state, e.networkName]),
    [
      ['addressed', 'blue'],
      ['addressed', 'blue'],
    ],
  )
  const other = chain({ cniVersion: '1.0.0', name: 'blue', type: 'heddle' })
  const at = attachment(await sandbox(), { args: 'IP=10.77.0.40' })
  await t.throwsAsync(other.add(at), { message: /10\.77\.0\.40/ }, 'the pool is one')
  await t.throwsAsync(heddle.cli(['network', 'rm', 'blue']), { message: /in use by/ })
  await runtime.del(one)
  await runtime.del(one)
  t.is(await claimed(t.context), 2)
  await runtime.del(two)
  t.is(await claimed(t.context), 0)
})

test.serial('under the macvlan plugin: a network of addresses alone, made by the first ADD', async (t) => {
  const { chain, attachment, sandbox, inside, heddle } = t.context
  const ipam = { type: 'heddle', network: 'wide', subnet: '10.55.0.0/24', gateway: '10.55.0.254' }
  const runtime = chain({ cniVersion: '0.4.0', name: 'wire', plugins: [{ type: 'macvlan', master: 'eth0', mode: 'bridge', ipam }] })
  const [one, two] = [attachment(await sandbox()), attachment(await sandbox())]
  for (const at of [one, two]) await runtime.add(at)
  await inside(one.netns ?? '', ['busybox', 'ping', '-c1', '-W2', '10.55.0.2'])
  t.regex(await inside(one.netns ?? '', ['ip', 'route']), /default via 10\.55\.0\.254/)
  for (const at of [one, two]) {
    await runtime.check(at)
    await runtime.del(at)
  }
  t.is(await claimed(t.context), 0)
  await heddle.cli(['network', 'rm', 'wide'])
})

test.serial('what another plugin has of Heddle stays as long as its sandbox, and goes with it when no DEL comes', async (t) => {
  const { chain, attachment, sandbox, heddle } = t.context
  const runtime = chain({
    cniVersion: '1.0.0',
    name: 'pods',
    plugins: [{ type: 'bridge', bridge: 'cni8', ipam: { type: 'heddle', network: 'blue', routes: [] } }],
  })
  const [kept, lost] = [attachment(await sandbox()), attachment(await sandbox())]
  for (const at of [kept, lost]) await runtime.add(at)
  await run(['ip', 'netns', 'delete', lost.containerId])
  await eventually('the claims of the lost sandbox are freed', async () =>
    (await claimed(t.context)) === 2 ? undefined : `${await claimed(t.context)} claims`,
  )
  const endpoints = (await heddle.json(['endpoint', 'ls'])) as { containerId: string }[]
  t.deepEqual(
    endpoints.map(({ containerId }) => containerId),
    [kept.containerId],
  )
  await runtime.del(kept)
  t.is(await claimed(t.context), 0)
})
