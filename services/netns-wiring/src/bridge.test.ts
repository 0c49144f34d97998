/** Bridge networks on the real kernel: the way out, published ports, isolation; h2 is the world outside h1. */
import { spawn } from 'node:child_process'
import type { Endpoint, Network, PortMapping } from '@heddle/contract'
import { macOf } from '@heddle/core'
import test from 'ava'
import { bridgeName, handoverName, hostEndName } from './domain/names.ts'
import { inside, Lab, pings, sh, until, type WiredHost, within } from './testing/lab.ts'

let lab: Lab
let one: WiredHost
let outside: string
let web: Endpoint
const toGateway = (gateway: string) => [{ destination: gateway.includes(':') ? '::/0' : '0.0.0.0/0', gateway }]
const lan = () => lab.brains.network({ id: 'lan', kind: 'bridge', pools: pool('10.9.0', 'fd09::') })
const dmz = () => lab.brains.network({ id: 'dmz', kind: 'bridge', pools: pool('10.10.0', 'fd10::') })
const pool = (v4: string, v6: string) => [
  { poolId: v4, prefix: `${v4}.0/24`, gateway: `${v4}.1` },
  { poolId: v6, prefix: `${v6}/64`, gateway: `${v6}1` },
]
const http = (hostPort: number, hostAddress = ''): PortMapping => ({ protocol: 'tcp', hostAddress, hostPort, containerPort: 80 })
const publish = (endpoint: Endpoint, network: Network, ports: PortMapping[]) =>
  within((call) => one.wiring.publishPorts({ endpointId: endpoint.id, network, addresses: endpoint.addresses, ports }, call)).then((answer) => answer.ports)
/** Whether the web server's answer comes back, asked from inside a namespace. */
const fetches = (ns: string, url: string) =>
  inside(
    ns,
    process.execPath,
    '-e',
    `fetch('${url}', { signal: AbortSignal.timeout(2000) }).then((answer) => answer.text()).then((text) => process.exit(text === 'woven' ? 0 : 1))`,
  ).then(
    () => true,
    () => false,
  )

test.before(async () => {
  lab = await Lab.create(['h1', 'h2'])
  one = await lab.start('h1')
  outside = lab.host('h2').path
  web = await lab.attach(one, lan(), 'web', ['10.9.0.2/24', 'fd09::2/64'], [...toGateway('10.9.0.1'), ...toGateway('fd09::1')])
  const server = spawn('nsenter', [
    `--net=${web.sandbox}`,
    process.execPath,
    '-e',
    'require("http").createServer((_, answer) => answer.end("woven")).listen(80)',
  ])
  lab.defer(() => server.kill())
  await until('the web server listens', async () => (await inside(web.sandbox, 'ss', '-Hltn')).includes(':80'))
})
test.after.always(async () => {
  await lab.close()
})

test.serial('a container reaches its gateway, and the outside under the address of its host', async (t) => {
  t.true(await pings(web.sandbox, '10.9.0.1'))
  t.true(await pings(web.sandbox, 'fd09::1'))
  // h2 has no route to the network: an answer proves the masquerading.
  t.true(await pings(web.sandbox, lab.host('h2').address))
  t.true(await pings(web.sandbox, lab.host('h2').address6))
})

test.serial('a published port is reached from outside, from the host, through loopback, and by the container itself', async (t) => {
  t.deepEqual(await publish(web, lan(), [http(8080)]), [http(8080)])
  const address = lab.host('h1').address
  t.true(await fetches(outside, `http://${address}:8080/`), 'outside')
  t.true(await fetches(outside, `http://[${lab.host('h1').address6}]:8080/`), 'outside by IPv6')
  t.true(await fetches(one.lab.path, `http://${address}:8080/`), 'host')
  t.true(await fetches(one.lab.path, 'http://127.0.0.1:8080/'), 'loopback')
  t.true(await fetches(web.sandbox, `http://${address}:8080/`), 'hairpin')
  t.false(await fetches(outside, `http://${address}:8081/`))
})

test.serial('publishing replaces what was published; a given host address is the only one that answers', async (t) => {
  await publish(web, lan(), [http(8081, lab.host('h1').address)])
  t.true(await fetches(outside, `http://${lab.host('h1').address}:8081/`))
  t.false(await fetches(one.lab.path, 'http://127.0.0.1:8081/'))
  t.false(await fetches(outside, `http://${lab.host('h1').address}:8080/`))
})

test.serial('host port 0 is given a free port, the same one when asked again', async (t) => {
  const [first] = await publish(web, lan(), [http(0)])
  t.true((first?.hostPort ?? 0) >= 32768)
  t.true(await fetches(outside, `http://${lab.host('h1').address}:${first?.hostPort}/`))
  t.deepEqual(await publish(web, lan(), [http(0)]), first === undefined ? [] : [first])
})

test.serial('a port that is bound, or published by another endpoint, is refused by name and changes nothing', async (t) => {
  const [mine] = await publish(web, lan(), [http(0)])
  const other = await lab.attach(one, lan(), 'other', ['10.9.0.3/24'])
  await t.throwsAsync(publish(other, lan(), [http(mine?.hostPort ?? 0)]), { message: new RegExp(`tcp port ${mine?.hostPort} of the host is in use`) })
  const listener = spawn('nsenter', [`--net=${one.lab.path}`, 'busybox', 'nc', '-l', '-p', '9999'])
  await until('the listener is there', async () => (await inside(one.lab.path, 'ss', '-Hltn')).includes(':9999'))
  const error = await t.throwsAsync(publish(other, lan(), [http(9999)]))
  t.is((error as { code?: string }).code, 'port-taken')
  listener.kill()
  t.true(await fetches(outside, `http://${lab.host('h1').address}:${mine?.hostPort}/`))
})

test.serial('bridge networks do not reach each other, but for what is published', async (t) => {
  const [mine] = await publish(web, lan(), [http(0)])
  const stranger = await lab.attach(one, dmz(), 'stranger', ['10.10.0.2/24'], toGateway('10.10.0.1'))
  t.false(await pings(stranger.sandbox, '10.9.0.2', 1))
  t.false(await fetches(stranger.sandbox, 'http://10.9.0.2/'))
  t.true(await fetches(stranger.sandbox, `http://${lab.host('h1').address}:${mine?.hostPort}/`))
})

test.serial('an endpoint and its published port add elements to sets, and no rule', async (t) => {
  const list = (...options: string[]) => inside(one.lab.path, 'nft', ...options, 'list', 'table', 'inet', 'heddle')
  // Stateless and terse: without counters and without elements.
  const rules = () => list('--stateless', '--terse')
  const before = { rules: await rules(), all: await list('--stateless') }
  const endpoint = await lab.attach(one, lan(), 'element', ['10.9.0.5/24'])
  await publish(endpoint, lan(), [http(8090)])
  t.not(await list('--stateless'), before.all)
  t.is(await rules(), before.rules)
  await within((call) => one.wiring.detach({ endpointId: 'element' }, call))
  lab.brains.delete('element')
  t.is(await list('--stateless'), before.all)
})

test.serial('an internal network has no way out and publishes nothing', async (t) => {
  const vault = lab.brains.network({ id: 'vault', kind: 'bridge', internal: true, pools: pool('10.11.0', 'fd11::') })
  const inmate = await lab.attach(one, vault, 'inmate', ['10.11.0.2/24'], toGateway('10.11.0.1'))
  t.true(await pings(inmate.sandbox, '10.11.0.1', 1))
  t.false(await pings(inmate.sandbox, lab.host('h2').address, 1))
  await t.throwsAsync(publish(inmate, vault, [http(8088)]), { message: /no way to the outside/ })
})

test.serial("traffic passes a FORWARD policy of DROP through Docker's chain, and without that chain it is said what to do", async (t) => {
  const rules = (...args: string[]) => inside(one.lab.path, 'iptables', ...args)
  await rules('-P', 'FORWARD', 'DROP')
  const finding = async () =>
    (await within((call) => one.wiring.inspect({}, call))).findings.find(({ subject, level }) => subject === 'forwarding' && level === 'warning')
  t.regex((await finding())?.remedy ?? '', /iptables -I FORWARD -i hb\+ -j ACCEPT/)
  t.false(await pings(web.sandbox, lab.host('h2').address, 1))
  await rules('-N', 'DOCKER-USER')
  await rules('-I', 'FORWARD', '-j', 'DOCKER-USER')
  t.is(await finding(), undefined)
  t.true(await pings(web.sandbox, lab.host('h2').address, 1))
  await one.reconcile()
  t.is((await rules('-S', 'DOCKER-USER')).match(/hb\+/g)?.length, 2)
  await rules('-P', 'FORWARD', 'ACCEPT')
})

test.serial('a restart writes nothing and keeps the published port, whether or not its record names it', async (t) => {
  const [mine] = await publish(web, lan(), [http(0)])
  await one.stop()
  one = await lab.start('h1')
  await one.reconcile()
  t.deepEqual(one.writes, [])
  t.true(await fetches(outside, `http://${lab.host('h1').address}:${mine?.hostPort}/`))
  t.deepEqual(await publish(web, lan(), [http(0)]), mine === undefined ? [] : [mine])
})

test.serial('rules and elements that were flushed come back', async (t) => {
  const [mine] = await publish(web, lan(), [http(0)])
  await inside(one.lab.path, 'nft', 'flush', 'ruleset')
  t.false(await pings(web.sandbox, lab.host('h2').address, 1))
  await one.reconcile()
  t.true(await pings(web.sandbox, lab.host('h2').address, 1))
  t.true(await fetches(outside, `http://${lab.host('h1').address}:${mine?.hostPort}/`))
})

test.serial('a bridge deleted by hand comes back with the ports of all, also while the brains do not answer', async (t) => {
  const fresh = await lab.attach(one, lan(), 'fresh', ['10.9.0.4/24'])
  for (const down of [false, true]) {
    lab.brains.down = down
    if (down) await one.reconcile()
    await inside(one.lab.path, 'ip', 'link', 'del', bridgeName('lan'))
    for (const { sandbox } of [web, fresh]) await until('the port is back', () => pings(sandbox, '10.9.0.1', 1))
  }
  lab.brains.down = false
  await within((call) => one.wiring.detach({ endpointId: 'fresh' }, call))
  lab.brains.delete('fresh')
  t.pass()
})

test.serial("dockerd's end waits in the host's namespace; attaching again after it was moved succeeds", async (t) => {
  const endpoint = lab.brains.put({ id: 'dock', networkId: 'lan', host: 'h1', runtime: 'docker', mac: macOf('dock'), addresses: ['10.9.0.9/24'] })
  const attach = () => within((call) => one.wiring.attach({ network: lan(), endpoint, routes: [] }, call))
  await within((call) => one.wiring.prepare({ network: lan(), endpoint }, call))
  const known = (ns: string) => inside(ns, 'ip', 'neigh', 'show', '10.9.0.9')
  await inside(web.sandbox, 'ip', 'neigh', 'replace', '10.9.0.9', 'lladdr', macOf('before'), 'nud', 'stale', 'dev', 'eth0')
  await inside(one.lab.path, 'ip', 'neigh', 'replace', '10.9.0.9', 'lladdr', macOf('before'), 'nud', 'stale', 'dev', bridgeName('lan'))
  t.is((await attach()).interfaceName, handoverName('dock'))
  await until('others know its MAC', async () => (await known(web.sandbox)).includes(macOf('dock')))
  t.notRegex(await known(one.lab.path), new RegExp(macOf('before')))
  const inSandbox = async () =>
    (await within((call) => one.wiring.listAttachments({}, call))).attachments.find(({ endpointId }) => endpointId === 'dock')?.inSandbox
  t.false(await inSandbox())
  const sandbox = await lab.sandbox()
  const name = sandbox.split('/').at(-1) ?? ''
  await inside(one.lab.path, 'ip', 'link', 'set', handoverName('dock'), 'netns', name, 'name', 'eth0')
  await inside(sandbox, 'ip', 'address', 'add', '10.9.0.9/24', 'dev', 'eth0')
  await inside(sandbox, 'ip', 'link', 'set', 'eth0', 'up')
  t.true(await inSandbox())
  t.true(await pings(sandbox, '10.9.0.1'))
  await attach()
  await one.stop()
  one = await lab.start('h1')
  await attach()
  t.deepEqual((await within((call) => one.wiring.check({ network: lan(), endpoint, routes: [] }, call))).differences, [])
  await within((call) => one.wiring.detach({ endpointId: 'dock' }, call))
  t.false((await inside(sandbox, 'ip', 'link')).includes('eth0'))
  lab.brains.delete('dock')
})

test.serial('an interface name taken in the sandbox and a sandbox that is none are told as such, and nothing changes', async (t) => {
  const sandbox = await lab.sandbox()
  await inside(sandbox, 'ip', 'link', 'add', 'eth0', 'type', 'bridge')
  const endpoint = (path: string) => ({ id: 'late', networkId: 'lan', mac: macOf('late'), addresses: ['10.9.0.8/24'], sandbox: path, interfaceName: 'eth0' })
  for (const [path, code] of [
    [sandbox, 'interface-exists'],
    ['/run/netns/hd-no-such', 'netns-gone'],
    ['/etc/hostname', 'netns-gone'],
  ] as const) {
    for (const method of ['prepare', 'attach'] as const) {
      const error = await t.throwsAsync(within<unknown>((call) => one.wiring[method]({ network: lan(), endpoint: endpoint(path) }, call)))
      t.is((error as { code?: string }).code, code)
      t.true(error?.message.includes(code === 'netns-gone' ? path : 'eth0'))
    }
  }
  t.false((await inside(one.lab.path, 'ip', 'link')).includes(hostEndName('late')))
})

test.serial('a prepared endpoint needs addresses only; one whose link was pulled away in between is made again', async (t) => {
  const endpoint = lab.brains.put({
    id: 'prep',
    networkId: 'lan',
    host: 'h1',
    mac: macOf('prep'),
    addresses: ['10.9.0.7/24'],
    sandbox: await lab.sandbox(),
    interfaceName: 'eth0',
  })
  const prepare = () => within((call) => one.wiring.prepare({ network: lan(), endpoint }, call))
  const attach = () => within((call) => one.wiring.attach({ network: lan(), endpoint, routes: toGateway('10.9.0.1') }, call))
  t.false((await prepare()).existed)
  t.true((await prepare()).existed)
  one.writes.length = 0
  await attach()
  t.deepEqual(one.writes, ['address.replace eth0', 'route.add eth0', 'announce eth0'])
  await inside(one.lab.path, 'ip', 'link', 'del', hostEndName('prep'))
  await attach()
  t.true(await pings(endpoint.sandbox, '10.9.0.1'))
})

test.serial('in a sandbox with two networks the first keeps the default route, and either is as it should be', async (t) => {
  const ends = [
    { network: lan(), name: 'eth0', at: '10.9.0' },
    { network: dmz(), name: 'eth1', at: '10.10.0' },
  ]
  const sandbox = await lab.sandbox()
  const routes = (at: string) => toGateway(`${at}.1`)
  const requests = ends.map(({ network, name, at }) => ({
    network,
    endpoint: lab.brains.put({
      id: `two-${name}`,
      networkId: network.id,
      host: 'h1',
      mac: macOf(name),
      addresses: [`${at}.6/24`],
      sandbox,
      interfaceName: name,
    }),
    routes: routes(at),
  }))
  const defaults = () => inside(sandbox, 'ip', 'route', 'show', 'default')
  for (const request of [...requests, ...requests]) {
    await within((call) => one.wiring.attach(request, call))
    t.regex(await defaults(), /^default via 10\.9\.0\.1 dev eth0 [^\n]*\n$/)
  }
  const differences = async () =>
    (await Promise.all(requests.map((request) => within((call) => one.wiring.check(request, call))))).map((answer) => answer.differences)
  t.deepEqual(await differences(), [[], []])
  await inside(sandbox, 'ip', 'route', 'del', 'default')
  t.deepEqual(await differences(), [['route 0.0.0.0/0 by 10.9.0.1 is not on eth0'], ['route 0.0.0.0/0 by 10.10.0.1 is not on eth1']])
  for (const { endpoint } of requests) {
    await within((call) => one.wiring.detach({ endpointId: endpoint.id }, call))
    lab.brains.delete(endpoint.id)
  }
})

test.serial('a link whose endpoint has no record is removed after its grace, one with a record stays', async (t) => {
  await one.stop()
  one = await lab.start('h1', { orphanGraceMs: 0 })
  await one.reconcile()
  lab.brains.delete('other')
  await one.reconcile()
  await one.reconcile()
  const links = await inside(one.lab.path, 'ip', 'link')
  t.false(links.includes(hostEndName('other')))
  t.true(links.includes(hostEndName('web')))
})

test.serial('when the brains do not answer nothing is removed', async (t) => {
  lab.brains.down = true
  lab.brains.endpoints.delete('web')
  for (let round = 0; round < 2; round++) await one.reconcile()
  t.true((await inside(one.lab.path, 'ip', 'link')).includes(hostEndName('web')))
  lab.brains.down = false
})

test.serial('sixteen endpoints attached and detached at once leave nothing behind', async (t) => {
  lab.brains.put({ ...web })
  const network = lab.brains.network({ id: 'crowd', kind: 'bridge', pools: pool('10.12.0', 'fd12::') })
  const many = Array.from({ length: 16 }, (_, index) => `crowd-${index}`)
  const ends = await Promise.all(many.map((id, index) => lab.attach(one, network, id, [`10.12.0.${index + 2}/24`])))
  t.true(await pings(ends[0]?.sandbox ?? '', '10.12.0.17', 1))
  await Promise.all(ends.slice(0, 8).map(({ sandbox }) => sh('ip', 'netns', 'delete', sandbox.split('/').at(-1) ?? '')))
  await Promise.all(many.map((endpointId) => within((call) => one.wiring.detach({ endpointId }, call))))
  for (const id of many) lab.brains.delete(id)
  await within((call) => one.wiring.removeNetwork({ networkId: 'crowd' }, call))
  const links = await inside(one.lab.path, 'ip', '-o', 'link')
  for (const id of many) t.false(links.includes(hostEndName(id)))
})

test.serial('a network without endpoints is taken away after its linger', async (t) => {
  await one.stop()
  one = await lab.start('h1', { lingerMs: 50 })
  const ids = (await within((call) => one.wiring.listAttachments({}, call))).attachments.map(({ endpointId }) => endpointId)
  await Promise.all(ids.map((endpointId) => within((call) => one.wiring.detach({ endpointId }, call))))
  await until('every bridge is gone', async () => !(await inside(one.lab.path, 'ip', 'link')).includes(' hb'))
  await until('no bridge element is left', async () => !/"hb/.test(await inside(one.lab.path, 'nft', 'list', 'table', 'inet', 'heddle')))
  await one.reconcile()
  const { inventory } = await within((call) => one.wiring.inspect({}, call))
  t.deepEqual(inventory, { links: 0, fdbEntries: 0, neighbours: 0, namespaces: 0, publishedPorts: 0, networks: 0 })
})
