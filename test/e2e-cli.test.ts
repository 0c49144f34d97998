/** The command line against a real `heddle up`: everything on one machine, embedded servers, in a namespace of its own. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createUnderlay, type HeddleProcess, heddleCommand, LabScope, run, startHeddle } from '@heddle/testkit'
import anyTest, { type TestFn } from 'ava'
import { execa } from 'execa'

const test = anyTest as TestFn<{ heddle: HeddleProcess }>
const scope = new LabScope()

async function heddle(args: readonly string[], env: Record<string, string> = {}) {
  const [command = '', ...rest] = [...heddleCommand(), ...args]
  return execa(command, rest, { reject: false, env: { HEDDLE_CONFIG: '', ...env } })
}

test.before('heddle up', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-cli-'))
  scope.defer('files', () => rmSync(dir, { recursive: true, force: true }))
  const underlay = createUnderlay({ hosts: 1 })
  scope.defer('underlay', () => underlay.remove())
  t.context.heddle = await startHeddle(scope, {
    host: 'solo',
    netns: underlay.hosts[0]?.path ?? '',
    dir,
    config: { wiring: { underlay: { interface: 'eth0' } } },
  })
})
test.after.always('everything is removed', () => scope.close())

test.serial('a network is created, listed, inspected and removed', async (t) => {
  const { heddle: up } = t.context
  const created = await up.json(['network', 'create', 'blue', '--subnet', '10.7.0.0/16', '--subnet', 'fd07::/64', '--gateway', '10.7.0.254'])
  t.like(created, { name: 'blue', kind: 'overlay', createdBy: 'cli' })
  t.true(created.vni >= 4096)
  t.regex(await up.cli(['network', 'create', 'blue', '--subnet', '10.7.0.0/16', '--subnet', 'fd07::/64', '--gateway', '10.7.0.254']), /was there already/)
  t.regex(await up.cli(['network', 'ls']), /^NETWORK .*\nblue +overlay +- +\d+ +10\.7\.0\.0\/16 fd07::\/64 /)
  t.deepEqual(
    (await up.json(['network', 'ls'])).map((network: { name: string }) => network.name),
    ['blue'],
  )
  t.regex(await up.cli(['network', 'inspect', 'blue']), /blue\.10\.7\.0\.0_16 +10\.7\.0\.0\/16 +10\.7\.0\.254 +0 /)
  t.like((await up.json(['pool', 'inspect', 'blue.10.7.0.0_16'])).pool.pool, { gateway: '10.7.0.254', space: 'blue' })
  t.regex(await up.cli(['trace', 'ls']), /createNetwork/)
  const trace = (await up.json(['trace', 'ls'])).at(-1)
  t.regex(await up.cli(['trace', 'show', trace.traceId.slice(0, 10)]), /Networks\.CreateNetwork +networks@solo/)
  await up.cli(['network', 'rm', 'blue'])
  t.deepEqual(await up.json(['network', 'ls']), [])
  t.deepEqual(await up.json(['pool', 'ls']), [])
})

test.serial('what does not exist is exit code 3, what is not valid 2, what is refused 1', async (t) => {
  const { heddle: up } = t.context
  for (const args of [
    ['network', 'inspect', 'nope'],
    ['endpoint', 'inspect', 'nope'],
    ['pool', 'inspect', 'nope.10.0.0.0_8'],
    ['trace', 'show', 'ffff'],
  ]) {
    const { code, stdout, stderr } = await up.tryCli(args)
    t.is(code, 3, `${args.join(' ')}: ${stderr}`)
    t.is(stdout, '')
    t.regex(stderr, /^heddle: .+\n {2}.+\n$/, 'a message and what to do')
  }
  for (const args of [
    ['network', 'create', 'bad name', '--subnet', '10.0.0.0/8'],
    ['network', 'create', 'x', '--subnet', '10.0.0.1/8'],
    ['network', 'create', 'x'],
    ['nonsense'],
    ['--timeout', 'soon', 'network', 'ls'],
  ]) {
    t.is((await up.tryCli(args)).code, 2, args.join(' '))
  }
  await up.cli(['network', 'create', 'red', '--subnet', '10.8.0.0/16'])
  t.is((await up.tryCli(['network', 'create', 'red', '--subnet', '10.9.0.0/16'])).code, 1)
  const { code, stdout, stderr } = await up.tryCli(['network', 'rm', 'red', 'nope'])
  t.is(code, 3, stderr)
  t.is(stdout, 'red\n', 'what was removed before the failure')
})

test.serial('hosts are listed, and doctor finds nothing wrong with one that works', async (t) => {
  const { heddle: up } = t.context
  t.like((await up.json(['host', 'ls']))[0], { name: 'solo', alive: true, underlayMtu: 1500 })
  const alive = await up.tryCli(['host', 'rm', '--force', 'solo'])
  t.is(alive.code, 1)
  t.regex(alive.stderr, /^heddle: host solo is alive \(name\)\n {2}stop Heddle there first/)
  t.is((await up.tryCli(['host', 'rm', 'nobody'])).code, 3)
  const { code, stdout } = await up.tryCli(['doctor'])
  t.notRegex(stdout, /^ERROR/m)
  t.is(code, 0)
  t.regex(stdout, /^ok +nats: /m)
})

test.serial('the embedded servers are children with their data in the state directory, and come back when they die', async (t) => {
  const { heddle: up } = t.context
  const children = async () =>
    (await run(['ps', '--ppid', String(up.program.pid), '-o', 'pid=,comm=']))
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
  const before = new Map((await children()).map(([pid = '', name = '']) => [name, pid]))
  t.true(before.has('nats-server') && before.has('etcd'))
  process.kill(Number(before.get('nats-server')), 'SIGKILL')
  process.kill(Number(before.get('etcd')), 'SIGKILL')
  // The calls wait for the servers within their own deadline.
  for (let attempt = 0; attempt < 20; attempt++) {
    if ((await up.tryCli(['network', 'create', 'after', '--subnet', '10.11.0.0/16'])).code === 0) break
  }
  t.deepEqual(
    (await up.json(['network', 'ls'])).map((network: { name: string }) => network.name),
    ['after'],
  )
  const now = new Map((await children()).map(([pid = '', name = '']) => [name, pid]))
  t.not(now.get('etcd'), before.get('etcd'))
  await up.cli(['network', 'rm', 'after'])
})

test('help is there for every command, with examples, and loads nothing of the services', async (t) => {
  const { stdout, exitCode } = await heddle(['--help'])
  t.is(exitCode, 0)
  for (const word of ['Examples:', 'Exit codes:', 'heddle up', 'network', 'endpoint', 'pool', 'host', 'trace', 'doctor', 'version'])
    t.true(stdout.includes(word), word)
  const hook = 'import{registerHooks}from"node:module";registerHooks({load(url,context,next){process.stderr.write(url+"\\n");return next(url,context)}})'
  const { stderr } = await heddle(['--help'], { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}` })
  t.regex(stderr, /commander/)
  t.notRegex(stderr, /(services\/(ipam|networks|overlay|vf-allocator|netns-wiring|gateway)|packages\/\w+)\/src/)
})

test('a gateway that is not there is exit code 4, with what to do', async (t) => {
  const { exitCode, stderr } = await heddle(['network', 'ls'], { HEDDLE_SOCKET: '/nonexistent/heddle.sock' })
  t.is(exitCode, 4)
  t.regex(stderr, /does not answer\n.*heddle up/)
  t.is((await heddle(['doctor'], { HEDDLE_SOCKET: '/nonexistent/heddle.sock' })).exitCode, 1)
})

test('doctor says what it found also when the socket is one of a gateway that crashed', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-dead-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const socket = join(dir, 'heddle.sock')
  await execa(process.execPath, ['-e', `require('net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 'SIGKILL'))`], {
    reject: false,
  })
  t.true(existsSync(socket))
  const { exitCode, stdout } = await heddle(['doctor'], { HEDDLE_SOCKET: socket })
  t.is(exitCode, 1)
  t.regex(stdout, /^ok +kernel: /m)
  t.regex(stdout, /^ERROR +gateway: .*does not answer\n +-> .*heddle up/m)
})

test('half of a cluster is refused: NATS without etcd, and a host without NATS', async (t) => {
  for (const args of [
    ['--services', 'brains', '--nats', 'nats://127.0.0.1:1'],
    ['--services', 'host'],
  ]) {
    const { exitCode, stderr } = await heddle(['up', ...args])
    t.is(exitCode, 2)
    t.regex(stderr, /^heddle: .*\n {2}give .*--nats/)
  }
})

test('the graph of a host names what it needs elsewhere', async (t) => {
  const { stdout } = await heddle(['up', '--services', 'host', '--nats', 'nats://10.0.0.1:4222', '--host', 'h7', '--print-graph'])
  t.regex(stdout, /heddle\.v1\.Wiring\.\*\.h7/)
  t.regex(stdout, /expected elsewhere: ipam, networks, overlay, vf-allocator/)
})

test('cni install writes the plugin and a configuration that names the network', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-cni-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const { exitCode, stderr } = await heddle([
    'cni',
    'install',
    '--network',
    'blue',
    '--bin-dir',
    `${dir}/bin`,
    '--conf-dir',
    `${dir}/net.d`,
    '--launcher',
    process.execPath,
  ])
  t.is(exitCode, 0, stderr)
  const conflist = JSON.parse(readFileSync(`${dir}/net.d/10-heddle-blue.conflist`, 'utf8'))
  t.like(conflist, { name: 'blue', plugins: [{ type: 'heddle' }] })

  const install = (socket: string) => heddle(['--socket', socket, 'cni', 'install', '--bin-dir', `${dir}/bin`, '--launcher', process.execPath])
  await install('/run/other/heddle.sock')
  t.is(readFileSync(`${dir}/bin/heddle.conf`, 'utf8'), '/run/other/cni.sock\n')
  await install('/run/heddle/heddle.sock')
  t.false(existsSync(`${dir}/bin/heddle.conf`), 'the default socket again')
})
