/** Another plugin as our IPAM, through the real launcher: the plugins here are scripts that write down how they were called. */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HeddleError } from '@heddle/core'
import { cniRuntime } from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'
import { startGateway } from '../testing/gateway.ts'
import { addBlue, allowHost, blueConfig, leftovers, netns, none } from '../testing/networks.ts'

const dir = mkdtempSync(join(tmpdir(), 'heddle-delegate-'))
const launcher = join(dir, 'heddle')
let plugins = 0

test.before(() => {
  execFileSync('make', ['-C', new URL('../../../../deploy/cni-launcher', import.meta.url).pathname, `OUT=${launcher}`], { stdio: 'pipe' })
})
test.after.always(() => rmSync(dir, { recursive: true, force: true }))

const given = {
  cniVersion: '1.0.0',
  ips: [{ address: '10.9.0.7/24', gateway: '10.9.0.1' }],
  routes: [{ dst: '0.0.0.0/0' }],
  dns: { nameservers: ['10.9.0.53'] },
}

/** A plugin of a CNI_PATH of its own: `body` runs in sh for each command. Calls are lines of command, container, interface. */
async function setUp(t: ExecutionContext, body: string) {
  const path = join(dir, `${plugins++}`)
  mkdirSync(path)
  const log = join(path, 'log')
  writeFileSync(join(path, 'other-ipam'), `#!/bin/sh\ncat > ${path}/stdin\necho "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME" >> ${log}\n${body}\n`)
  chmodSync(join(path, 'other-ipam'), 0o755)
  const gateway = await startGateway()
  t.teardown(() => gateway.stop())
  addBlue(gateway.cluster)
  const run = cniRuntime(launcher, { HEDDLE_CNI_SOCKET: gateway.sockets.cni, CNI_PATH: `/nowhere:${path}` })
  const calls = () =>
    existsSync(log)
      ? readFileSync(log, 'utf8')
          .trim()
          .split('\n')
          .map((line) => line.trim())
      : []
  return { run, cluster: gateway.cluster, calls, stdin: () => JSON.parse(readFileSync(join(path, 'stdin'), 'utf8')) }
}

const answers = (result: object) => `[ "$CNI_COMMAND" != ADD ] || echo '${JSON.stringify(result)}'`
const config = { ...blueConfig, ipam: { type: 'other-ipam', mine: true } }
const add = { command: 'ADD', containerId: 'c1', netns, ifname: 'eth0', config, env: allowHost } as const

test('its addresses, gateways, routes and servers are the result, though no pool has them', async (t) => {
  const { run, cluster, calls, stdin } = await setUp(t, answers(given))
  const added = await run(add)
  t.is(added.exitCode, 0, added.stdout)
  t.deepEqual(added.json.ips, [{ address: '10.9.0.7/24', gateway: '10.9.0.1', interface: 2 }])
  t.deepEqual(added.json.routes, [{ dst: '0.0.0.0/0', gw: '10.9.0.1' }])
  t.deepEqual(added.json.dns, given.dns)
  t.deepEqual(
    [...cluster.endpoints.values()].map(({ addresses, ipam }) => [addresses, ipam]),
    [[['10.9.0.7/24'], 'other-ipam']],
  )
  t.deepEqual(leftovers(cluster), { claims: 0, endpoints: 1, interfaces: 1 })
  t.deepEqual(stdin(), config, 'it is given the whole configuration')
  t.is((await run({ ...add, command: 'CHECK', config: { ...config, prevResult: added.json } })).exitCode, 0)
  t.is((await run({ ...add, command: 'DEL' })).exitCode, 0)
  t.deepEqual(calls(), ['ADD c1 eth0', 'CHECK c1 eth0', 'DEL c1 eth0'])
  t.deepEqual(leftovers(cluster), none)
})

test('an address of one of our pools is claimed, so that nobody else is given it', async (t) => {
  const { run, cluster, calls } = await setUp(t, answers({ ...given, ips: [{ address: '10.1.0.77/24' }], routes: [] }))
  t.is((await run(add)).exitCode, 0)
  t.deepEqual([...cluster.ipam.claims.keys()], ['blue.10.1.0.0_24 10.1.0.77'])
  const second = await run({ ...add, containerId: 'c2' })
  t.is(second.json.code, 108)
  t.deepEqual(calls(), ['ADD c1 eth0', 'ADD c2 eth0', 'DEL c2 eth0'], 'what it gave is given back')
  t.deepEqual(leftovers(cluster), { claims: 1, endpoints: 1, interfaces: 1 })
})

test('the same ADD again is refused, and does not ask it again', async (t) => {
  const { run, calls } = await setUp(t, answers(given))
  t.is((await run(add)).exitCode, 0)
  t.is((await run(add)).json.code, 115)
  t.deepEqual(calls(), ['ADD c1 eth0'])
})

const broken: [what: string, body: string, code: number, message: RegExp][] = [
  ['refuses', `echo '{"code": 7, "msg": "no more", "details": "really"}'; exit 1`, 130, /other-ipam failed with code 7: no more: really/],
  ['says "try again"', `echo '{"code": 11, "msg": "soon"}'; exit 1`, 11, /soon; try again/],
  ['dies without a word', 'exit 3', 130, /exit status 3/],
  ['gives nothing', `echo '{}'`, 130, /gave no address/],
  ['gives nonsense', 'echo nonsense', 130, /other-ipam/],
  ['gives an address that is none', answers({ ips: [{ address: '10.9.0.7' }] }), 130, /10\.9\.0\.7/],
  ['is killed', 'kill -9 $$', 11, /did not end in time/],
]
for (const [what, body, code, message] of broken) {
  test(`an ADD whose IPAM plugin ${what} leaves nothing, and takes back what there may be`, async (t) => {
    const { run, cluster, calls } = await setUp(t, body)
    const { json, exitCode } = await run(add)
    t.deepEqual([exitCode, json.code], [1, code], json.msg)
    t.regex(json.msg, message)
    t.deepEqual(leftovers(cluster), none)
    t.deepEqual(calls(), ['ADD c1 eth0', 'DEL c1 eth0'])
  })
}

test('an ADD that fails after it gave an address takes it back', async (t) => {
  const { run, cluster, calls } = await setUp(t, answers(given))
  cluster.faults.set('wiring.attach', new HeddleError('kernel-refused', 'no'))
  t.is((await run(add)).json.code, 116)
  t.deepEqual(calls(), ['ADD c1 eth0', 'DEL c1 eth0'])
  t.deepEqual(leftovers(cluster), none)
})

test('a plugin that is not there is named, and so is the way out', async (t) => {
  const { run, cluster } = await setUp(t, '')
  const { json } = await run({ ...add, config: { ...config, ipam: { type: 'nobody' } } })
  t.is(json.code, 7)
  t.regex(json.msg, /no plugin nobody in CNI_PATH; install nobody/)
  t.deepEqual(leftovers(cluster), none)
  t.is((await run({ ...add, command: 'DEL', config: { ...config, ipam: { type: 'nobody' } } })).exitCode, 0, 'a container goes away all the same')
})

test('DEL is forwarded also for what never was, and fails when the plugin does', async (t) => {
  const { run, calls } = await setUp(t, '[ "$CNI_CONTAINERID" != c9 ] || exit 1')
  t.is((await run({ ...add, command: 'DEL', containerId: 'c8' })).exitCode, 0)
  t.is((await run({ ...add, command: 'DEL', containerId: 'c9' })).json.code, 130)
  t.deepEqual(calls(), ['DEL c8 eth0', 'DEL c9 eth0'])
})

test('STATUS is 50 when the plugin is not ready, and asks nothing of one that is older than STATUS', async (t) => {
  const status = { command: 'STATUS', config } as const
  const down = await setUp(t, `echo '{"code": 50, "msg": "my pool is empty"}'; exit 1`)
  const { json } = await down.run(status)
  t.is(json.code, 50)
  t.regex(json.msg, /my pool is empty/)
  const old = await setUp(t, `echo '{"code": 4, "msg": "unknown CNI_COMMAND"}'; exit 1`)
  t.is((await old.run(status)).exitCode, 0)
})

test('GC is forwarded, and to a plugin that is older than GC each stale attachment is told by DEL', async (t) => {
  const gc = { command: 'GC', config: { ...config, 'cni.dev/valid-attachments': [{ containerID: 'c1', ifname: 'eth0' }] } } as const
  for (const [body, expected] of [
    ['', ['GC']],
    [`[ "$CNI_COMMAND" != GC ] || { echo '{"code": 4, "msg": "unknown CNI_COMMAND"}'; exit 1; }`, ['GC', 'DEL c2 eth0']],
  ] as const) {
    const { run, cluster, calls } = await setUp(t, `${answers(given)}\n${body}`)
    for (const containerId of ['c1', 'c2']) t.is((await run({ ...add, containerId })).exitCode, 0)
    t.is((await run(gc)).exitCode, 0)
    t.deepEqual(calls().slice(2), [...expected])
    t.deepEqual(leftovers(cluster), { claims: 0, endpoints: 1, interfaces: 1 })
  }
})

test('a network that the first ADD makes has no pool of ours', async (t) => {
  const { run, cluster } = await setUp(t, answers(given))
  const green = { cniVersion: '1.0.0', name: 'green', type: 'heddle', heddle: { kind: 'bridge' }, ipam: { type: 'other-ipam', subnet: '10.9.0.0/24' } }
  t.is((await run({ ...add, config: green })).exitCode, 0)
  t.deepEqual([...cluster.networks.values()].find(({ name }) => name === 'green')?.pools, [])
})
