/** The former plugin's own commands with a real dockerd; what it asked is written down where no dockerd can run to be said again. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  buildImage,
  createUnderlay,
  type PluginRequest,
  type RecordedCommand,
  recordedSriovCommands,
  recordPlugin,
  replayCommand,
  run,
  sriovCommandsFile,
  startDockerd,
  whyNoContainers,
  withLab,
} from '@heddle/testkit'
import test from 'ava'
import { startGateway } from '../testing/gateway.ts'
import { none, settled } from '../testing/networks.ts'

const commands = [
  'network create -d sriov --internal --opt pf_iface=eth0 --opt vlanid=100 vfnet',
  'run --net=vfnet -itd --name vf IMAGE sleep 600',
  'rm --force vf',
  'network rm vfnet',
]

test.serial('dockerd makes, uses and removes a network of the driver sriov, and asks for it what is written down', async (t) => {
  const reason = await whyNoContainers()
  if (reason !== undefined) {
    t.log(`skipped: ${reason}`)
    return t.pass()
  }
  const gateway = await startGateway()
  t.teardown(() => gateway.stop())
  const { cluster } = gateway
  cluster.vfs.addPf('eth0', 2)
  await withLab(async ({ scope, dir }) => {
    const underlay = createUnderlay({ hosts: 1 })
    scope.defer('underlay', () => underlay.remove())
    const netns = underlay.hosts[0]?.path ?? ''
    // The interface of the first VF, as far as dockerd can tell.
    await run(['nsenter', `--net=${netns}`, 'ip', 'link', 'add', 'eth0v0', 'type', 'veth', 'peer', 'name', 'wire'])
    const pluginDir = join(dir, 'plugins')
    for (const path of [pluginDir, join(dir, 'docker')]) mkdirSync(path)
    const recorder = await recordPlugin(join(pluginDir, 'sriov.sock'), gateway.sockets.sriov)
    scope.defer('recorder', () => recorder.close())
    const [image, dockerd] = await Promise.all([buildImage(dir), startDockerd(scope, { netns, dir: join(dir, 'docker'), pluginDir })])
    await dockerd.docker(['load', '--input', image.archive])

    const recorded: RecordedCommand[] = []
    for (const command of commands) {
      await dockerd.docker(command.split(' ').map((word) => (word === 'IMAGE' ? image.reference : word)))
      recorded.push({ command: `docker ${command}`, requests: recorder.take() })
      if (!command.startsWith('run')) continue
      const link = await dockerd.docker(['exec', 'vf', 'ip', 'address', 'show', 'eth0'])
      t.regex(link, /link\/ether 52:54:00:3b:00:00/, "the VF's own MAC")
      t.regex(link, /inet 172\.\d+\.0\.2\/16/, "Docker's address")
      t.like([...cluster.vfs.vfs.values()][0], { state: 'used', settings: { vlan: 100 } })
      t.notRegex(await dockerd.docker(['exec', 'vf', 'ip', 'route']), /default/, 'no way out of an internal network')
      t.notRegex(await dockerd.docker(['network', 'ls']), /docker_gwbridge/)
    }
    t.deepEqual(await settled(cluster), none)
    t.deepEqual([cluster.networks.size, cluster.vfs.claims.size, cluster.vfs.astray()], [0, 0, []])

    if (process.env['RECORD'] === '1') writeFileSync(sriovCommandsFile, `${JSON.stringify(recorded, null, 2)}\n`)
    if (dockerd.version.startsWith('20.10.')) t.deepEqual(recorded.map(shape), recordedSriovCommands().map(shape))
  })
})

test.serial('what is written down is answered as dockerd was: it can be said again where none can run', async (t) => {
  const gateway = await startGateway()
  t.teardown(() => gateway.stop())
  const { cluster } = gateway
  cluster.vfs.addPf('ens1', 2)
  const change = (request: PluginRequest) => JSON.parse(JSON.stringify(request).replaceAll('"eth0"', '"ens1"')) as PluginRequest
  const answers = new Map<string, any>()
  for (const command of recordedSriovCommands()) {
    for (const { method, answer } of await replayCommand(gateway.sriov, command, change)) {
      t.is(answer.status, 200, `${command.command}: ${method} ${JSON.stringify(answer.json)}`)
      answers.set(method, answer.json)
    }
  }
  t.deepEqual(answers.get('Plugin.Activate'), { Implements: ['NetworkDriver'] })
  t.deepEqual(answers.get('NetworkDriver.CreateEndpoint'), { Interface: { MacAddress: '52:54:00:3b:00:00' } })
  t.like(answers.get('NetworkDriver.Join'), { InterfaceName: { SrcName: 'ens1v0', DstPrefix: 'eth' }, Gateway: '' })
  t.deepEqual(await settled(cluster), none)
  t.deepEqual([cluster.networks.size, cluster.aliases.size, cluster.vfs.astray()], [0, 0, []])
})

/** But for what differs from run to run: ids, the subnet Docker chose, and how often it looked at the endpoint. */
function shape({ command, requests }: RecordedCommand) {
  const text = JSON.stringify(requests.filter(({ method }) => method !== 'NetworkDriver.EndpointOperInfo'))
    .replaceAll(/[0-9a-f]{64}/g, 'ID')
    .replaceAll(/netns\/[0-9a-f]{12}/g, 'netns/ID')
    .replaceAll(/172\.\d+\./g, '172.18.')
  return { command, requests: JSON.parse(text) as unknown }
}
