// CNI calls that cannot succeed, against the real stack: the error object with the right code, a message with the remedy, and nothing changed.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type CniCall, type CniOutcome, cniRuntime, createUnderlay, type HeddleProcess, LabScope, run, startHeddle } from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'

const launcher = resolve(import.meta.dirname, '../../../deploy/cni-launcher/heddle-cni')
const scope = new LabScope()
let heddle: HeddleProcess
let cni: ReturnType<typeof cniRuntime>
let hostNetns: string
let sandboxes = 0

const config = { cniVersion: '1.1.0', name: 'tiny', type: 'heddle' }

test.before(async () => {
  const dir = mkdtempSync(join(tmpdir(), 'hdbad-'))
  scope.defer('files', () => rmSync(dir, { recursive: true, force: true }))
  const underlay = createUnderlay({ hosts: 1 })
  scope.defer('underlay', () => underlay.remove())
  hostNetns = `/run/netns/${underlay.hosts[0]?.name}`
  heddle = await startHeddle(scope, { host: 'bad', netns: hostNetns, dir })
  // Two usable addresses beside the gateway's.
  await heddle.cli(['network', 'create', 'tiny', '--kind', 'bridge', '--subnet', '10.77.0.0/29', '--ip-range', '10.77.0.2-10.77.0.3'])
  cni = cniRuntime(launcher, { HEDDLE_CNI_SOCKET: heddle.cniSocket })
})
test.after.always(() => scope.close())

async function sandbox(): Promise<string> {
  const name = `hdbad-${process.pid}-${++sandboxes}`
  await run(['ip', 'netns', 'add', name])
  scope.defer(name, () => run(['ip', 'netns', 'delete', name]).catch(() => ''))
  return `/run/netns/${name}`
}

/** Everything a failed call could have changed, as text. */
async function world(netns?: string): Promise<string> {
  const inside = netns === undefined ? '' : await run(['nsenter', `--net=${netns}`, 'ip', '-brief', 'address']).catch(() => '')
  const host = await run(['nsenter', `--net=${hostNetns}`, 'ip', '-brief', 'link', 'show', 'type', 'veth'])
  const records = await Promise.all(['endpoint', 'network', 'pool'].map((what) => heddle.cli(['--json', what, 'ls'])))
  return [inside, host, ...records].join('\n')
}

async function refuses(t: ExecutionContext, call: CniCall, code: number, message: RegExp): Promise<CniOutcome> {
  const netns = call.netns?.startsWith('/run/netns/') ? call.netns : undefined
  const before = await world(netns)
  const outcome = await cni(call)
  t.is(outcome.exitCode, 1, outcome.stdout)
  t.is(outcome.json?.code, code, outcome.stdout)
  t.regex(outcome.json?.msg ?? '', message)
  // A remedy follows what is wrong.
  t.regex(outcome.json?.msg ?? '', /; |: /)
  t.notRegex(outcome.json?.msg ?? '', /not found|no such file/i, 'words that make containerd take a failure for success')
  t.truthy(outcome.json?.cniVersion)
  t.is(await world(netns), before, 'something was changed')
  return outcome
}

test.serial('a configuration that is missing, no JSON or of an unknown version', async (t) => {
  const call = { command: 'ADD', containerId: 'c1', netns: await sandbox(), ifname: 'eth0' } as const
  await refuses(t, { ...call, config: '' }, 6, /configuration/)
  await refuses(t, { ...call, config: '{"name": "tiny"' }, 6, /JSON/)
  await refuses(t, { ...call, config: '[]' }, 6, /object/)
  await refuses(t, { ...call, config: { ...config, cniVersion: '9.9.9' } }, 1, /9\.9\.9/)
})

test.serial('a network that is not there, or whose name could not be one', async (t) => {
  const call = { command: 'ADD', containerId: 'c1', netns: await sandbox(), ifname: 'eth0' } as const
  await refuses(t, { ...call, config: { ...config, name: 'unknown' } }, 100, /heddle network create unknown/)
  for (const name of ['', '../up', 'a b', 'x'.repeat(200)]) await refuses(t, { ...call, config: { ...config, name } }, 7, /name/)
})

test.serial('a network namespace that is missing, dead or none', async (t) => {
  const call = { command: 'ADD', containerId: 'c1', ifname: 'eth0', config } as const
  await refuses(t, call, 4, /CNI_NETNS/)
  await refuses(t, { ...call, netns: '/run/netns/never-was' }, 114, /never-was/)
  await refuses(t, { ...call, netns: '/etc/hostname' }, 114, /hostname/)
})

test.serial('an environment that cannot be', async (t) => {
  const call = { command: 'ADD', containerId: 'c1', netns: await sandbox(), ifname: 'eth0', config } as const
  await refuses(t, { ...call, ifname: 'a-name-of-16-byte' }, 4, /CNI_IFNAME/)
  await refuses(t, { ...call, ifname: '../x' }, 4, /CNI_IFNAME/)
  await refuses(t, { ...call, containerId: '../x' }, 4, /CNI_CONTAINERID/)
  await refuses(t, { ...call, env: { CNI_COMMAND: 'EXPLODE' } }, 4, /EXPLODE/)
})

test.serial('an interface name that is taken in the sandbox', async (t) => {
  const netns = await sandbox()
  await run(['ip', '-n', netns.slice('/run/netns/'.length), 'link', 'add', 'eth0', 'type', 'bridge'])
  await refuses(t, { command: 'ADD', containerId: 'c1', netns, ifname: 'eth0', config }, 115, /eth0/)
})

test.serial('a static address outside the pool, that is no address, or that is the gateway', async (t) => {
  const call = { command: 'ADD', containerId: 'c1', netns: await sandbox(), ifname: 'eth0', config } as const
  await refuses(t, { ...call, args: 'IgnoreUnknown=1;IP=10.78.0.1' }, 109, /10\.78\.0\.1/)
  await refuses(t, { ...call, args: 'IP=ten' }, 4, /IP/)
  await refuses(t, { ...call, args: 'IP=10.77.0.1' }, 108, /10\.77\.0\.1/)
})

test.serial('an address that is taken, a second ADD, and an exhausted pool', async (t) => {
  const first = { command: 'ADD', containerId: 'one', netns: await sandbox(), ifname: 'eth0', config } as const
  const added = await cni({ ...first, args: 'IP=10.77.0.2' })
  t.is(added.exitCode, 0, added.stdout)
  const other = { command: 'ADD', containerId: 'two', netns: await sandbox(), ifname: 'eth0', config } as const
  await refuses(t, { ...other, args: 'IP=10.77.0.2' }, 108, /10\.77\.0\.2/)

  const repeated = await cni({ ...first, args: 'IP=10.77.0.2' })
  t.deepEqual([repeated.exitCode, repeated.json?.ips], [0, added.json.ips], 'the very same call again gets the recorded result')
  await refuses(t, { ...first, args: 'IP=10.77.0.3' }, 115, /DEL/)
  const elsewhere = await sandbox()
  const mine = () => run(['nsenter', `--net=${first.netns}`, 'ip', '-brief', 'address'])
  const before = await mine()
  await refuses(t, { ...first, args: 'MAC=02:00:00:00:00:77' }, 115, /DEL/)
  await refuses(t, { ...first, netns: elsewhere }, 115, /DEL/)
  t.is(await mine(), before, 'the running attachment is as it was')

  t.is((await cni(other)).exitCode, 0)
  await refuses(t, { command: 'ADD', containerId: 'three', netns: await sandbox(), ifname: 'eth0', config }, 107, /tiny|10\.77\.0\.0\/29/)

  for (const { containerId, netns } of [first, other]) t.is((await cni({ command: 'DEL', containerId, netns, ifname: 'eth0', config })).exitCode, 0)
  t.is((await cni({ command: 'ADD', containerId: 'three', netns: other.netns, ifname: 'eth0', config })).exitCode, 0, 'what was freed is free')
  t.is((await cni({ command: 'DEL', containerId: 'three', netns: other.netns, ifname: 'eth0', config })).exitCode, 0)
})

test.serial('DEL succeeds twice, for what never was, without a namespace and with one that is gone', async (t) => {
  const netns = await sandbox()
  const call = { containerId: 'gone', netns, ifname: 'eth0', config } as const
  const quiet = async (outcome: Promise<CniOutcome>, what: string) => {
    const { exitCode, stdout } = await outcome
    t.deepEqual([exitCode, stdout], [0, ''], what)
  }
  const before = await world()
  t.is((await cni({ command: 'ADD', ...call })).exitCode, 0)
  await run(['ip', 'netns', 'delete', netns.slice('/run/netns/'.length)])
  await quiet(cni({ command: 'DEL', ...call }), 'the namespace is gone')
  await quiet(cni({ command: 'DEL', ...call }), 'twice')
  await quiet(cni({ command: 'DEL', containerId: 'never-was', ifname: 'eth0', config }), 'what never was')
  await quiet(cni({ command: 'DEL', containerId: 'gone', netns: '', ifname: 'eth0', config }), 'an empty namespace')
  await quiet(cni({ command: 'DEL', ...call, config: { ...config, name: 'unknown' } }), 'a network that is not there')
  t.is(await world(), before)
})

test.serial('every supported version gets its own result', async (t) => {
  for (const cniVersion of ['0.3.1', '0.4.0', '1.0.0', '1.1.0']) {
    const call = { containerId: `v${cniVersion}`, netns: await sandbox(), ifname: 'eth0', config: { ...config, cniVersion } } as const
    const { exitCode, json, stdout } = await cni({ command: 'ADD', ...call })
    t.is(exitCode, 0, stdout)
    t.is(json.cniVersion, cniVersion)
    t.is(json.ips[0].version, cniVersion < '1' ? '4' : undefined)
    const container = json.interfaces.find((one: { sandbox?: string }) => one.sandbox === call.netns)
    t.is(json.interfaces[json.ips[0].interface], container)
    t.is(container.mtu === undefined, cniVersion !== '1.1.0')
    if (cniVersion >= '0.4.0') t.is((await cni({ command: 'CHECK', ...call, config: { ...call.config, prevResult: json } })).exitCode, 0)
    t.is((await cni({ command: 'DEL', ...call })).exitCode, 0)
  }
})

test.serial('STATUS is quiet when an ADD would be served, and GC removes what is not in the list', async (t) => {
  t.deepEqual(await cni({ command: 'STATUS', config }).then(({ exitCode, stdout }) => [exitCode, stdout]), [0, ''])
  const before = await world()
  const call = { containerId: 'forgotten', netns: await sandbox(), ifname: 'eth0', config } as const
  t.is((await cni({ command: 'ADD', ...call })).exitCode, 0)
  const kept = await cni({ command: 'GC', config: { ...config, 'cni.dev/valid-attachments': [{ containerID: 'forgotten', ifname: 'eth0' }] } })
  t.deepEqual([kept.exitCode, kept.stdout], [0, ''])
  t.not(await world(), before)
  t.is((await cni({ command: 'GC', config: { ...config, 'cni.dev/valid-attachments': [] } })).exitCode, 0)
  t.is(await world(), before)
})
