// The managed plugin of deploy/docker-plugin in real engines, on two hosts: built, created, set, enabled, used, and removed; and with it Docker's swarm.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import {
  buildImage,
  createUnderlay,
  type Dockerd,
  type HeddleProcess,
  heddleCommand,
  LabScope,
  labDirectory,
  run,
  startDockerd,
  startHeddle,
  whyNoContainers,
} from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'
import { root } from '../sources.ts'

interface Host {
  readonly name: string
  readonly netns: string
  readonly address: string
  readonly dockerd: Dockerd
}

const scope = new LabScope()
const image = 'docker.io/heddle/lab:1'
const plugin = 'heddle:latest'
const ours = ['--driver', plugin, '--ipam-driver', plugin]
let reason: string | undefined
let dir: string
let control: HeddleProcess
let hosts: readonly Host[] = []

test.before(async () => {
  reason = await whyNoContainers()
  if (reason !== undefined) return
  dir = labDirectory(scope)
  const underlay = createUnderlay({ hosts: 2 })
  scope.defer('underlay', () => underlay.remove())
  const subdirectory = (name: string) => {
    mkdirSync(join(dir, name), { recursive: true })
    return join(dir, name)
  }
  const first = underlay.hosts[0]
  const config = { embedded: { listen: first?.address } }
  const [heddle, archive] = await Promise.all([
    startHeddle(scope, { host: 'control', netns: first?.path ?? '', dir: subdirectory('control'), services: ['brains'], config }),
    buildImage(dir),
    run([process.execPath, join(root, 'deploy/docker-plugin/build.ts'), join(dir, 'plugin')]),
  ])
  control = heddle
  hosts = await Promise.all(
    underlay.hosts.map(async ({ path, address }, index) => {
      const name = `plugged-${index + 1}`
      const dockerd = await startDockerd(scope, {
        netns: path,
        dir: subdirectory(name),
        pluginDir: subdirectory(`${name}/plugins`),
        args: ['--host', 'unix:///run/docker.sock'],
      })
      // A machine's /run is shared (systemd makes it so): what the plugin mounts below it outlives the plugin.
      await run(['nsenter', `--mount=/proc/${dockerd.program.pid}/ns/mnt`, 'mount', '--make-rshared', '/run'])
      await dockerd.docker(['load', '--input', archive.archive])
      return { name, netns: path, address, dockerd }
    }),
  )
})
test.after.always(() => scope.close())

/** Skipped, with the reason, where no engine can run. */
function onHosts(title: string, body: (t: ExecutionContext, first: Host, second: Host) => Promise<void>): void {
  test.serial(title, async (t) => {
    const [first, second] = hosts
    if (reason === undefined && first !== undefined && second !== undefined) return body(t, first, second)
    t.log(`skipped: ${reason}`)
    t.pass()
  })
}

async function eventually(t: ExecutionContext, what: string, look: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await look()); tries++) {
    if (tries > 150) return t.fail(`not ${what} in time`)
    await delay(200)
  }
}

async function settle({ dockerd, name }: Host, more: readonly string[] = []): Promise<void> {
  const settings = [`HEDDLE_NATS_SERVERS=${control.nats.join(',')}`, `HEDDLE_HOST=${name}`, 'HEDDLE_WIRING_UNDERLAY_INTERFACE=eth0', 'HEDDLE_LOG_LEVEL=info']
  mkdirSync(join(dir, 'etc'), { recursive: true })
  await dockerd.docker([
    'plugin',
    'set',
    plugin,
    ...settings,
    'HEDDLE_SET=wiring.vxlanPort=4790 gateway.keepTraces=100',
    `config.source=${join(dir, 'etc')}`,
    ...more,
  ])
  await dockerd.docker(['plugin', 'enable', plugin])
}

async function records(): Promise<string> {
  const keys = await run(
    ['nsenter', `--net=${hosts[0]?.netns}`, 'etcdctl', '--endpoints', control.etcd.join(','), 'get', '--prefix', '--keys-only', 'heddle/'],
    {
      env: { ETCDCTL_API: '3' },
    },
  )
  return keys
    .split('\n')
    .filter((key) => /^heddle\/(ipam|networks)\/(?!fence)/.test(key))
    .join('\n')
}

function mountsOf({ dockerd }: Host): Promise<string> {
  return run(['nsenter', `--mount=/proc/${dockerd.program.pid}/ns/mnt`, 'cat', '/proc/mounts'])
}

/** Three packets, since a host hears of an endpoint a moment after it is made; and no more, since a stale entry would heal by itself. */
const reaches = ({ dockerd }: Host, container: string, address: string) => dockerd.docker(['exec', container, 'ping', '-A', '-c', '3', '-W', '2', address])

onHosts('the plugin is created, set and enabled, and answers for networks and for addresses', async (t, { dockerd, ...first }) => {
  await dockerd.docker(['plugin', 'create', 'heddle', join(dir, 'plugin')], { timeoutMs: 120_000 })
  await settle({ dockerd, ...first })
  const [{ Config, Enabled, Settings }] = JSON.parse(await dockerd.docker(['plugin', 'inspect', plugin]))
  t.true(Enabled)
  t.deepEqual(Config.Interface.Types, ['docker.networkdriver/1.0', 'docker.ipamdriver/1.0'])
  t.true(Settings.Env.includes(`HEDDLE_HOST=${first.name}`))
})

onHosts('containers on its network reach each other, and go on when the plugin is taken out and put in again', async (t, first) => {
  const { docker, tryDocker } = first.dockerd
  await docker(['network', 'create', ...ours, '--subnet', '10.94.0.0/24', 'one'])
  for (const name of ['one-a', 'one-b']) await docker(['run', '--detach', '--name', name, '--network', 'one', image, 'sleep', '1000'])
  const address = (await docker(['inspect', '--format', '{{.NetworkSettings.Networks.one.IPAddress}}', 'one-b'])).trim()
  t.regex(address, /^10\.94\.0\.\d+$/)
  await reaches(first, 'one-a', address)
  // The socket in the host's /run, and Docker's own: the command works as on a host without the plugin.
  const inMounts = ['nsenter', `--mount=/proc/${first.dockerd.program.pid}/ns/mnt`]
  const names = async () => {
    const listed = await run([...inMounts, ...heddleCommand(), '--socket', '/run/heddle/heddle.sock', '--json', 'endpoint', 'ls'])
    return JSON.parse(listed).map(({ containerName, host }: { containerName: string; host: string }) => `${containerName} on ${host}`)
  }
  await eventually(t, 'both containers known by their names', async () => `${(await names()).sort()}` === 'one-a on plugged-1,one-b on plugged-1')
  t.regex((await tryDocker(['plugin', 'disable', plugin])).stderr, /is in use/)
  await docker(['plugin', 'disable', '--force', plugin])
  t.regex(await mountsOf(first), /\/run\/heddle\/netns\/fabric/)
  await reaches(first, 'one-a', address)
  await docker(['plugin', 'enable', plugin])
  await reaches(first, 'one-a', address)
  await docker(['rm', '--force', 'one-a', 'one-b'])
  await docker(['network', 'rm', 'one'])
  await eventually(t, 'all removed', async () => (await records()) === '')
})

onHosts('with global scope it is the driver of a swarm: one network, whose tasks on two nodes reach each other', async (t, first, second) => {
  const { docker } = first.dockerd
  await second.dockerd.docker(['plugin', 'create', 'heddle', join(dir, 'plugin')], { timeoutMs: 120_000 })
  await docker(['plugin', 'disable', plugin])
  for (const host of [first, second]) await settle(host, ['HEDDLE_GATEWAY_DOCKER_SCOPE=global'])
  const at = ({ address }: Host) => ['--advertise-addr', address, '--listen-addr', `${address}:2377`]
  await docker(['swarm', 'init', ...at(first)])
  const token = (await docker(['swarm', 'join-token', '--quiet', 'worker'])).trim()
  await second.dockerd.docker(['swarm', 'join', '--token', token, ...at(second), `${first.address}:2377`])

  await docker(['network', 'create', ...ours, '--subnet', '10.95.0.0/24', '--attachable', 'green'])
  const service = ['--network', 'green', '--endpoint-mode', 'dnsrr', '--replicas-max-per-node', '1', '--stop-grace-period', '1s', '--no-resolve-image', image]
  await docker(['service', 'create', '--detach', '--name', 'web', '--replicas', '2', ...service, 'sleep', '1000'])
  const taskOn = async ({ dockerd }: Host) => (await dockerd.docker(['ps', '--quiet', '--filter', 'label=com.docker.swarm.service.name=web'])).trim()
  for (const host of [first, second]) await eventually(t, `a task on ${host.name}`, async () => /^\w+$/.test(await taskOn(host)))
  const addressOf = async (host: Host) =>
    (await host.dockerd.docker(['inspect', '--format', '{{.NetworkSettings.Networks.green.IPAddress}}', await taskOn(host)])).trim()
  const addresses = await Promise.all([addressOf(first), addressOf(second)])
  t.is(new Set(addresses).size, 2, addresses.join(' '))
  await reaches(first, await taskOn(first), addresses[1] ?? '')
  await reaches(second, await taskOn(second), addresses[0] ?? '')
  t.regex(await reaches(first, await taskOn(first), 'web'), /[1-3] packets received/, 'by the name of the service')

  const attached = await docker(['run', '--rm', '--network', 'green', image, 'ip', 'address', 'show', 'eth0'], { timeoutMs: 30_000 })
  t.regex(attached, /inet 10\.95\.0\.\d+\/24/)
  const taken = /inet (10\.95\.0\.\d+)\/24/.exec(attached)?.[1] ?? ''
  t.false(addresses.includes(taken))

  // A manager that starts allocates every network, and the address of every task, again.
  const elsewhere = await taskOn(second)
  await first.dockerd.restart()
  await eventually(t, 'a task on the manager again', async () => /^\w+$/.test(await taskOn(first)))
  t.is(await taskOn(second), elsewhere)
  t.is(await addressOf(second), addresses[1])
  await reaches(first, await taskOn(first), addresses[1] ?? '')
  await reaches(second, elsewhere, await addressOf(first))

  await docker(['service', 'rm', 'web'])
  for (const host of [first, second]) await eventually(t, `${host.name} without tasks`, async () => (await taskOn(host)) === '')
  await eventually(t, 'every address released', async () => !/ipam\/claim/.test(await records()))
  await docker(['network', 'rm', 'green'])
  await eventually(t, 'all removed', async () => (await records()) === '')
  await second.dockerd.docker(['swarm', 'leave'])
  await docker(['swarm', 'leave', '--force'])
})

onHosts('it is disabled and removed, and leaves nothing on its host', async (t, ...both) => {
  for (const host of both) {
    await host.dockerd.docker(['plugin', 'disable', plugin])
    await host.dockerd.docker(['plugin', 'rm', plugin])
    t.is((await host.dockerd.docker(['plugin', 'ls', '--quiet'])).trim(), '')
    t.notRegex(await mountsOf(host), /heddle\/netns/)
    t.notRegex(await run(['nsenter', `--net=${host.netns}`, 'ip', '-oneline', 'link']), /\bh[bdpv][0-9a-f]{8,}/)
  }
})
