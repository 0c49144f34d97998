/**
 * Two hosts, one network: a container of dockerd on host 1 and one of containerd on host 2 get addresses from the same
 * pools and reach each other over VXLAN. Every part is real; the hosts are network namespaces. Leaves nothing behind.
 */
import { type Lab, LabError, run, whyNoContainers, withLab } from '@heddle/testkit'
import { checkLeaks } from './leaks.ts'
import { elapsed, heading, prompt, say, show, step } from './progress.ts'
import { type Peer, reach, webServer } from './reach.ts'
import { type DemoHost, type Stage, setStage } from './stage.ts'

const subnets = ['10.77.0.0/16', 'fd77::/64']
const subnetFlags = subnets.flatMap((subnet) => ['--subnet', subnet])
const sweepWithinMs = 20_000

const reason = await whyNoContainers()
if (reason !== undefined) {
  process.stderr.write(`the demo cannot run here: ${reason}\n`)
  process.exit(1)
}
try {
  await withLab(story, (what) => say(`  removing ${what}`))
  say(`done in ${elapsed()}: two runtimes, one network, nothing left behind`)
} catch (error) {
  const ended = error instanceof LabError ? error : undefined
  process.stderr.write(`\n${error instanceof Error ? error.message : String(error)}\n`)
  const stays = ended === undefined || ended.remained.length === 0 ? 'what it made has been removed' : 'what is named above could not be removed'
  const interrupted = ended?.interrupted === true
  say(`${interrupted ? 'interrupted' : 'the demo failed'}; ${stays}`)
  // Ends at once, also when a part of the story that was cut off still waits for something.
  process.exit(interrupted ? 130 : 1)
}

async function story(lab: Lab): Promise<void> {
  heading('the stage')
  const stage = await setStage(lab)
  heading('an overlay network for both')
  await cli(stage.host1, ['network', 'create', 'blue', ...subnetFlags])
  heading('a container of Docker on host-1')
  const web1 = await dockerContainer(stage)
  heading('a container of containerd on host-2')
  const { peer: web2, remove } = await ctrContainer(stage)
  heading('what Heddle knows')
  await cli(stage.host2, ['host', 'ls'])
  await cli(stage.host2, ['endpoint', 'ls'])
  await cli(stage.host2, ['pool', 'ls'])
  heading('packets, both ways')
  await reach(web1, web2)
  await reach(web2, web1)
  heading('what it took')
  await attachmentTraces(stage)
  heading('removing both containers')
  const hosts = [stage.host1, stage.host2]
  await docker(stage, ['rm', '--force', 'web-1'])
  prompt('host-2', 'ctr task kill --signal SIGKILL web-2')
  await step('  detached by CNI DEL', remove)
  heading('what is left of them')
  await checkLeaks(hosts, sweepWithinMs, 'there')
  heading('removing the network')
  await docker(stage, ['network', 'rm', 'blue'])
  await cli(stage.host1, ['network', 'rm', 'blue'])
  heading('what is left of all')
  await checkLeaks(hosts, sweepWithinMs)
  heading('the end')
}

async function dockerContainer(stage: Stage): Promise<Peer> {
  const ours = ['--driver', 'heddle', '--opt', 'network=blue', '--ipam-driver', 'heddle', '--ipam-opt', 'network=blue']
  await docker(stage, ['network', 'create', ...ours, '--ipv6', ...subnetFlags, 'blue'])
  await docker(stage, ['run', '--detach', '--name', 'web-1', '--network', 'blue', stage.image.reference, ...webServer('web-1')])
  const [{ NetworkSettings: settings }] = JSON.parse(await stage.host1.dockerd.docker(['inspect', 'web-1']))
  const { IPAddress, GlobalIPv6Address } = settings.Networks.blue
  say(`  web-1 has ${IPAddress} and ${GlobalIPv6Address}`)
  return {
    name: 'web-1',
    addresses: [IPAddress, GlobalIPv6Address],
    exec: (command) => stage.host1.dockerd.docker(['exec', 'web-1', ...command], { timeoutMs: 15_000 }),
  }
}

async function ctrContainer(stage: Stage): Promise<{ readonly peer: Peer; readonly remove: () => Promise<void> }> {
  const { containerd, binDir, confDir } = stage.host2
  await cli(stage.host2, ['cni', 'install', '--network', 'blue', '--bin-dir', binDir, '--conf-dir', confDir])
  prompt('host-2', `ctr run --cni ${stage.image.reference} web-2 ...`)
  const container = await step('  web-2 runs', () => containerd.runWithCni('web-2', stage.image.reference, webServer('web-2')))
  const links = JSON.parse(await inContainerNamespace(stage))
  const addresses = links.flatMap((link: any) =>
    link.ifname === 'lo' ? [] : link.addr_info.filter((info: any) => info.scope === 'global').map((info: any) => info.local),
  )
  say(`  web-2 has ${addresses.join(' and ')}`)
  return { peer: { name: 'web-2', addresses, exec: (command) => container.exec(command, { timeoutMs: 15_000 }) }, remove: () => container.remove() }
}

/** busybox's `ip` has no JSON; the machine's own is run in the container's namespace instead. */
async function inContainerNamespace(stage: Stage): Promise<string> {
  const tasks = await stage.host2.containerd.ctr(['task', 'ls'])
  const pid = /^web-2\s+(\d+)/m.exec(tasks)?.[1] ?? ''
  return run(['nsenter', `--net=/proc/${pid}/ns/net`, 'ip', '-json', 'address'])
}

/** Docker attaches with several calls of one trace; a CNI runtime with one. */
async function attachmentTraces(stage: Stage): Promise<void> {
  for (const [host, isAttachment] of [
    [stage.host1, (name: string) => /CreateEndpoint|Join/.test(name)],
    [stage.host2, (name: string) => /ADD/.test(name)],
  ] as const) {
    const traces = (await host.heddle.json(['trace', 'ls', '--limit', '100'])) as { traceId: string; name: string }[]
    const trace = traces.find(({ name }) => isAttachment(name))
    if (trace === undefined) throw new Error(`${host.name} keeps no trace of its attachment, only ${traces.map(({ name }) => name).join(', ')}`)
    await cli(host, ['trace', 'show', trace.traceId])
  }
}

async function cli(host: DemoHost, args: readonly string[]): Promise<void> {
  prompt(host.name, `heddle ${args.join(' ')}`)
  show(await host.heddle.cli(args))
}

async function docker(stage: Stage, args: readonly string[]): Promise<void> {
  prompt('host-1', `docker ${args.join(' ')}`)
  await step('  done', () => stage.host1.dockerd.docker(args))
}
