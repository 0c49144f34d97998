// Heddle in a chain with the reference plugins, as libcni runs it: first, last and between, from every version of the specification.
import anyTest, { type TestFn } from 'ava'
import { type CniStage, setCniStage } from './stage.ts'

const test = anyTest as TestFn<CniStage>

test.before(async (t) => {
  t.context = await setCniStage()
  await t.context.heddle.cli(['network', 'create', 'blue', '--kind', 'bridge', '--subnet', '10.77.0.0/24', '--subnet', 'fd77::/64'])
})
test.after.always((t) => t.context?.close?.())

const heddle = { type: 'heddle' }
const chained = { ...heddle, capabilities: { portMappings: false } }
const blue = (plugins: readonly object[], cniVersion = '1.0.0') => ({ cniVersion, name: 'blue', plugins })

for (const cniVersion of ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']) {
  test.serial(`a configuration of ${cniVersion} alone and in a list: ADD, CHECK, DEL, and nothing left`, async (t) => {
    const { chain, attachment, sandbox, inside, world } = t.context
    const before = await world()
    for (const list of [{ cniVersion, name: 'blue', type: 'heddle' }, blue([heddle], cniVersion)]) {
      const runtime = chain(list)
      const at = attachment(await sandbox())
      const result = await runtime.add(at)
      t.is(result.cniVersion, cniVersion)
      const address = cniVersion < '0.3' ? result.ip4.ip : result.ips[0].address
      t.regex(await inside(at.netns ?? '', ['ip', '-brief', 'address', 'show', 'eth0']), new RegExp(address.replaceAll('.', '\\.')))
      if (cniVersion >= '0.4.0') await runtime.check(at)
      if (cniVersion >= '1.1.0') {
        await runtime.status()
        await runtime.gc([at])
        await runtime.check(at)
      }
      await runtime.del(at)
      await runtime.del(at)
    }
    t.is(await world(), before)
  })
}

test.serial('before portmap, tuning and firewall: their settings hold, a host port leads to the container, and all of it goes', async (t) => {
  const { chain, attachment, sandbox, inside, hostNetns, serve, ask, world } = t.context
  const before = await world()
  await inside(hostNetns, ['sysctl', '-qw', 'net.ipv4.ip_forward=1'])
  const runtime = chain(
    blue(
      [
        chained,
        { type: 'tuning', sysctl: { 'net.ipv4.conf.eth0.arp_filter': '1' }, mtu: 1400 },
        { type: 'firewall', backend: 'iptables' },
        { type: 'portmap', backend: 'iptables', capabilities: { portMappings: true }, snat: true },
      ],
      '1.0.0',
    ),
  )
  const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]
  const web = attachment(await sandbox(), { capabilities: { portMappings } })
  const netns = web.netns ?? ''
  const result = await runtime.add(web)
  t.deepEqual(
    result.interfaces.map(({ name }: { name: string }) => name.slice(0, 2)),
    ['hb', 'hd', 'et'],
    'each passes on what was there',
  )
  t.is((await inside(netns, ['sysctl', '-n', 'net.ipv4.conf.eth0.arp_filter'])).trim(), '1')
  t.regex(await inside(hostNetns, ['iptables-save']), /CNI-FORWARD/)
  await serve(netns, 80, 'web')
  const [link] = await t.context.json(hostNetns, ['ip', '-json', '-4', 'address', 'show', 'eth0'])
  t.is(await ask(hostNetns, link.addr_info[0].local, 8080), 'web')
  t.is(await ask(hostNetns, '127.0.0.1', 8080), 'web')
  await t.throwsAsync(runtime.check(web), { message: /eth0 has MTU 1400, it should be 1500/ }, 'tuning changed what Heddle made')
  await runtime.del(web)
  t.notRegex(await inside(hostNetns, ['iptables-save']), /8080/)
  t.is(await world(), before)
})

test.serial('before bandwidth: the rate is set on the end of the container on the host', async (t) => {
  const { chain, attachment, sandbox, inside, hostNetns, world } = t.context
  const before = await world()
  const runtime = chain(blue([heddle, { type: 'bandwidth', capabilities: { bandwidth: true } }]))
  const bandwidth = { ingressRate: 8_000_000, ingressBurst: 1_000_000, egressRate: 4_000_000, egressBurst: 1_000_000 }
  const at = attachment(await sandbox(), { capabilities: { bandwidth } })
  const result = await runtime.add(at)
  const hostEnd = result.interfaces.find(({ name }: { name: string }) => name.startsWith('hd')).name
  t.regex(await inside(hostNetns, ['tc', 'qdisc', 'show', 'dev', hostEnd]), /tbf .*rate 8Mbit/)
  await runtime.check(at)
  await runtime.del(at)
  t.is(await world(), before)
})

test.serial('after loopback and after a bridge: its interface is one more, under a name of its own, and their result stays', async (t) => {
  const { chain, attachment, sandbox, json, inside, dir, world } = t.context
  const before = await world()
  const runtime = chain({
    cniVersion: '1.0.0',
    name: 'blue',
    plugins: [
      {
        type: 'bridge',
        bridge: 'first0',
        isDefaultGateway: true,
        ipam: { type: 'host-local', dataDir: `${dir}/local`, subnet: '10.88.0.0/24' },
      },
      { type: 'heddle', interface: 'net1', routes: [{ dst: '10.99.0.0/16' }] },
      { type: 'tuning', sysctl: { 'net.ipv4.conf.net1.arp_filter': '1' } },
    ],
  })
  const at = attachment(await sandbox())
  const result = await runtime.add(at)
  const inSandbox = result.interfaces.flatMap(({ name, sandbox: where }: { name: string; sandbox?: string }) => (where === at.netns ? [name] : []))
  t.deepEqual(inSandbox, ['eth0', 'net1'])
  const of = (address: string) => result.interfaces[result.ips.find((ip: { address: string }) => ip.address.startsWith(address)).interface].name
  t.deepEqual([of('10.88.0.'), of('10.77.0.'), of('fd77:')], ['eth0', 'net1', 'net1'])
  const routes = (await json(at.netns ?? '', ['ip', '-json', '-4', 'route'])) as { dst: string; dev: string }[]
  t.deepEqual(
    routes.filter(({ dst }) => ['default', '10.99.0.0/16'].includes(dst)).map(({ dst, dev }) => [dst, dev]),
    [
      ['default', 'eth0'],
      ['10.99.0.0/16', 'net1'],
    ],
    'the first has the default route',
  )
  // Not the whole chain's CHECK: the bridge plugin (1.1.1) looks for every address of the result on its own interface.
  await chain({ cniVersion: '1.0.0', name: 'blue', type: 'heddle', interface: 'net1', routes: [{ dst: '10.99.0.0/16' }], prevResult: result }).check(at)
  await runtime.del(at)
  t.notRegex(await inside(at.netns ?? '', ['ip', '-brief', 'link']), /net1|eth0/)
  t.is(await world(), before)

  const after = chain(blue([{ type: 'loopback' }, heddle]))
  const second = attachment(await sandbox())
  const { interfaces } = await after.add(second)
  t.deepEqual([interfaces[0].name, interfaces.at(-1).name], ['lo', 'eth0'])
  await after.check(second)
  await after.del(second)
  t.is(await world(), before)
})

test.serial('several interfaces in one sandbox, each of its own call, go one by one', async (t) => {
  const { chain, attachment, sandbox, inside, world } = t.context
  const before = await world()
  const runtime = chain(blue([heddle]))
  const netns = await sandbox()
  const both = ['eth0', 'eth1'].map((ifname) => attachment(netns, { ifname }))
  for (const at of both) await runtime.add(at)
  for (const at of both) await runtime.check(at)
  const [first, second] = both as [(typeof both)[0], (typeof both)[0]]
  await runtime.del(second)
  await runtime.check(first)
  t.notRegex(await inside(netns, ['ip', '-brief', 'link']), /eth1/)
  await runtime.del(first)
  t.is(await world(), before)
})

test.serial('a later plugin that refuses leaves the chain to DEL, which finds everything and no result of ADD', async (t) => {
  const { chain, attachment, sandbox, world } = t.context
  const before = await world()
  const runtime = chain(blue([heddle, { type: 'tuning', sysctl: { 'net.ipv4.no.such.key': '1' } }]))
  const at = attachment(await sandbox())
  await t.throwsAsync(runtime.add(at), { message: /^ADD of tuning/ })
  await runtime.del(at)
  t.is(await world(), before)
})

test.serial('GC removes what a runtime no longer knows, with the plugins after it that know GC', async (t) => {
  const { chain, attachment, sandbox, world } = t.context
  const before = await world()
  const runtime = chain(blue([heddle], '1.1.0'))
  const [kept, lost] = [attachment(await sandbox()), attachment(await sandbox())]
  await runtime.add(kept)
  await runtime.add(lost)
  runtime.forget()
  await runtime.gc([kept])
  t.is((await t.context.heddle.json(['endpoint', 'ls'])).length, 1)
  await runtime.gc([])
  t.is(await world(), before)
})
