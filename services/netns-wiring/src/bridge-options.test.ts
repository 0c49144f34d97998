/** Bridges that do more than the usual, and every way to publish a port, on the real kernel; h2 is the world outside h1. */
import { spawn } from 'node:child_process'
import type { Endpoint, Network, PortMapping } from '@heddle/contract'
import test from 'ava'
import { hostEndName } from './domain/names.ts'
import { inside, Lab, pings, until, type WiredHost, within } from './testing/lab.ts'

let lab: Lab
let one: WiredHost
let outside: string

const pools = (v4: string, v6: string) => [
  { poolId: v4, prefix: `${v4}.0/24`, gateway: `${v4}.1` },
  { poolId: v6, prefix: `${v6}/64`, gateway: `${v6}1` },
]
const cells = () =>
  lab.brains.network({ id: 'cells', kind: 'bridge', bridge: { isolated: true, routed: false, hostBinding: '' }, pools: pools('10.20.0', 'fd20::') })
const routed = () =>
  lab.brains.network({ id: 'routed', kind: 'bridge', bridge: { isolated: false, routed: true, hostBinding: '' }, pools: pools('10.21.0', 'fd21::') })
const lan = () => lab.brains.network({ id: 'lan', kind: 'bridge', pools: pools('10.22.0', 'fd22::') })
/** With both families in use: a new bridge looks for doubles of its IPv6 address first. */
async function attach(network: Network, id: string, last: number): Promise<Endpoint> {
  const gateways = network.pools.map(({ gateway }) => gateway)
  const addresses = network.pools.map(({ gateway, prefix }) => `${gateway.slice(0, -1)}${last}/${prefix.split('/')[1]}`)
  const routes = gateways.map((gateway) => ({ destination: gateway.includes(':') ? '::/0' : '0.0.0.0/0', gateway }))
  const endpoint = await lab.attach(one, network, id, addresses, routes)
  await until('the gateway answers', () => pings(endpoint.sandbox, gateways.at(-1) ?? '', 1))
  return endpoint
}
const port = (protocol: string, hostPort: number, hostAddress = '', containerPort = 80): PortMapping => ({ protocol, hostAddress, hostPort, containerPort })
const publish = (endpoint: Endpoint, network: Network, ports: PortMapping[]) =>
  within((call) => one.wiring.publishPorts({ endpointId: endpoint.id, network, addresses: endpoint.addresses, ports }, call)).then((answer) => answer.ports)
const exits = (outcome: Promise<string>) =>
  outcome.then(
    () => true,
    () => false,
  )
/** Whether a container's server answers, asked from inside a namespace. */
const answersTcp = (ns: string, host: string, at: number) => exits(inside(ns, process.execPath, '-e', tcpClient, host, String(at)))
const answersUdp = (ns: string, host: string, at: number) => exits(inside(ns, process.execPath, '-e', udpClient, host, String(at)))
const tcpClient = `const s = require('net').connect(process.argv[2], process.argv[1]); setTimeout(() => process.exit(1), 1500)
s.on('error', () => process.exit(1)).on('data', (d) => process.exit(String(d) === 'woven' ? 0 : 1))`
const udpClient = `const s = require('dgram').createSocket(process.argv[1].includes(':') ? 'udp6' : 'udp4'); setTimeout(() => process.exit(1), 1500)
s.on('message', (d) => process.exit(String(d) === 'woven' ? 0 : 1)).send('?', process.argv[2], process.argv[1])`
const server = `require('net').createServer((s) => s.on('error', () => {}).end('woven')).listen(80, '::')
const u = require('dgram').createSocket('udp6').bind(53, '::'); u.on('message', (_, from) => u.send('woven', from.port, from.address))`

async function serve(endpoint: Endpoint): Promise<void> {
  const process_ = spawn('nsenter', [`--net=${endpoint.sandbox}`, process.execPath, '-e', server])
  lab.defer(() => process_.kill())
  await until('the server listens', async () => {
    const sockets = await inside(endpoint.sandbox, 'ss', '-Hlntu')
    return /:80\b/.test(sockets) && /:53\b/.test(sockets)
  })
}

/** Which of the questions are answered, asked side by side: one that is not takes its time. */
const all = (...questions: Promise<boolean>[]) => Promise.all(questions)

/** br_netfilter shows the host's rules what passes a bridge, or does not. */
async function filterBridged(on: boolean): Promise<void> {
  const file = (name: string) => `/proc/sys/net/bridge/bridge-nf-call-${name}`
  await inside(one.lab.path, 'sh', '-c', `echo ${on ? 1 : 0} | tee ${file('iptables')} ${file('ip6tables')}`)
  await one.reconcile()
}

test.before(async () => {
  lab = await Lab.create(['h1', 'h2'])
  one = await lab.start('h1')
  outside = lab.host('h2').path
})
test.after.always(async () => {
  await lab.close()
})

test.serial('endpoints of an isolated network reach their gateway, the host and the outside, and not each other', async (t) => {
  const [a, b] = [await attach(cells(), 'a', 2), await attach(cells(), 'b', 3)]
  await serve(b)
  for (const on of [true, false]) {
    await filterBridged(on)
    const open = ['10.20.0.1', 'fd20::1', lab.host('h1').address, lab.host('h2').address, lab.host('h2').address6]
    t.deepEqual(await all(...open.map((address) => pings(a.sandbox, address))), [true, true, true, true, true], `br_netfilter ${on}`)
    for (const ask of [(ns: string, at: string) => pings(ns, at, 1), (ns: string, at: string) => answersTcp(ns, at, 80)]) {
      t.deepEqual(await all(ask(a.sandbox, '10.20.0.3'), ask(a.sandbox, 'fd20::3')), [false, false], `from a neighbour, br_netfilter ${on}`)
      t.deepEqual(await all(ask(one.lab.path, '10.20.0.3'), ask(one.lab.path, 'fd20::3')), [true, true], `from the host, br_netfilter ${on}`)
    }
  }
})

test.serial('a published port of an isolated network is reached from everywhere, also by its neighbours, and nothing else of it is', async (t) => {
  const [a, b] = await Promise.all(['a', 'b'].map(async (id) => lab.brains.endpoints.get(id)))
  if (a === undefined || b === undefined) return t.fail('the endpoints of the test before')
  const { address, address6 } = lab.host('h1')
  await publish(b, cells(), [port('tcp', 8080)])
  for (const on of [true, false]) {
    await filterBridged(on)
    for (const at of [address, address6]) {
      const from = [outside, one.lab.path, a.sandbox, b.sandbox]
      t.deepEqual(
        await all(...from.map((ns) => answersTcp(ns, at, 8080))),
        [true, true, true, true],
        `outside, host, neighbour, itself: ${at}, br_netfilter ${on}`,
      )
    }
    t.deepEqual(await all(answersTcp(a.sandbox, '10.20.0.3', 80), answersTcp(a.sandbox, 'fd20::3', 80)), [false, false], `not published, br_netfilter ${on}`)
  }
  await publish(b, cells(), [])
  await filterBridged(true)
  t.regex(await inside(one.lab.path, 'bridge', '-d', 'link', 'show', 'dev', hostEndName('b')), /isolated on/)
  t.false(await answersTcp(a.sandbox, address, 8080))
})

test.serial('what leaves a routed network keeps its source address', async (t) => {
  const endpoint = await attach(routed(), 'r', 2)
  const { address, address6 } = lab.host('h2')
  t.deepEqual(await all(pings(endpoint.sandbox, address, 1), pings(endpoint.sandbox, address6, 1)), [false, false], 'it knows no way back')
  await inside(outside, 'ip', 'route', 'add', '10.21.0.0/24', 'via', lab.host('h1').address)
  await inside(outside, 'ip', '-6', 'route', 'add', 'fd21::/64', 'via', lab.host('h1').address6)
  t.deepEqual(await all(pings(endpoint.sandbox, address), pings(endpoint.sandbox, address6)), [true, true])
  await serve(endpoint)
  await publish(endpoint, routed(), [port('tcp', 8081)])
  t.deepEqual(await all(answersTcp(outside, lab.host('h1').address, 8081), answersTcp(outside, lab.host('h1').address6, 8081)), [true, true], 'published')
})

test.serial('TCP and UDP ports are published in both families, on every address or on one', async (t) => {
  const endpoint = await attach(lan(), 'web', 2)
  await serve(endpoint)
  const { address, address6 } = lab.host('h1')
  const every = [port('tcp', 8090), port('udp', 8090, '', 53), port('tcp', 8091), port('tcp', 8092)]
  t.deepEqual(await publish(endpoint, lan(), every), every)
  for (const at of [address, address6]) {
    const tcp = [8090, 8091, 8092].map((hostPort) => answersTcp(outside, at, hostPort))
    t.deepEqual(await all(...tcp, answersUdp(outside, at, 8090), answersUdp(one.lab.path, at, 8090)), [true, true, true, true, true], at)
  }
  t.true(await answersUdp(one.lab.path, '127.0.0.1', 8090), 'udp by loopback')
  const single = [
    port('tcp', 8093, address),
    port('udp', 8093, address6, 53),
    port('tcp', 8094, '0.0.0.0'),
    port('tcp', 8095, '::'),
    port('tcp', 8096, '127.0.0.1'),
  ]
  t.deepEqual(await publish(endpoint, lan(), single), single)
  const reached = (hostPort: number) => all(answersTcp(outside, address, hostPort), answersTcp(outside, address6, hostPort))
  const [given, udp, four, six, before, loopback] = await Promise.all([
    reached(8093),
    all(answersUdp(outside, address, 8093), answersUdp(outside, address6, 8093)),
    reached(8094),
    reached(8095),
    reached(8090),
    all(answersTcp(one.lab.path, '127.0.0.1', 8096), answersTcp(outside, address, 8096)),
  ])
  t.deepEqual(
    { given, udp, four, six, before, loopback },
    { given: [true, false], udp: [false, true], four: [true, false], six: [false, true], before: [false, false], loopback: [true, false] },
  )
})

test.serial('SCTP is published as the others are', async (t) => {
  const endpoint = lab.brains.endpoints.get('web')
  if (endpoint === undefined) return t.fail('the endpoint of the test before')
  await publish(endpoint, lan(), [port('sctp', 9090, '', 9000)])
  // Kernels without SCTP sockets still translate it, so packets are written and read as they are.
  const receiver = spawn('nsenter', [`--net=${endpoint.sandbox}`, 'perl', '-MSocket', '-e', receiveSctp])
  const seen = new Promise<string>((resolve) => receiver.stdout.on('data', (text) => resolve(String(text))))
  lab.defer(() => receiver.kill())
  await until('the receiver listens', async () => /:0084 /.test(await inside(endpoint.sandbox, 'cat', '/proc/net/raw')))
  await inside(outside, 'perl', '-MSocket', '-e', sendSctp, lab.host('h1').address, sctpInit(40_000, 9090).toString('hex'))
  t.is(await seen, '40000 9000')
})

test.serial('a port chosen for one family stays the same when it is asked for again', async (t) => {
  const endpoint = lab.brains.endpoints.get('web')
  if (endpoint === undefined) return t.fail('the endpoint of the test before')
  const wanted = [port('tcp', 0, '0.0.0.0'), port('tcp', 0), port('udp', 0, '', 53)]
  const first = await publish(endpoint, lan(), wanted)
  t.is(new Set(first.map(({ hostPort }) => hostPort)).size, 3)
  t.deepEqual(await publish(endpoint, lan(), wanted), first)
})

/** Of the first packet: from which port to which. */
const receiveSctp = `$| = 1; socket(S, AF_INET, SOCK_RAW, 132) or die; recv(S, $p, 2048, 0); $h = (ord($p) & 15) * 4; print join(' ', unpack('nn', substr($p, $h)))`
const sendSctp = `socket(S, AF_INET, SOCK_RAW, 132) or die; send(S, pack('H*', $ARGV[1]), 0, sockaddr_in(0, inet_aton($ARGV[0]))) or die`

/** An INIT chunk (RFC 9260 section 3.3.2) with its CRC32c, which conntrack looks at. */
function sctpInit(from: number, to: number): Buffer {
  const packet = Buffer.alloc(32)
  packet.writeUInt16BE(from, 0)
  packet.writeUInt16BE(to, 2)
  packet.writeUInt8(1, 12)
  packet.writeUInt16BE(20, 14)
  packet.writeUInt32BE(0x0bad_cafe, 16)
  packet.writeUInt32BE(65_536, 20)
  packet.writeUInt16BE(1, 24)
  packet.writeUInt16BE(1, 26)
  packet.writeUInt32LE(crc32c(packet), 8)
  return packet
}

function crc32c(bytes: Buffer): number {
  let crc = 0xffff_ffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0)
  }
  return ~crc >>> 0
}
