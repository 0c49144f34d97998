// One network on two hosts, from a real dockerd's plugin call and a real containerd's CNI call to the packets between their containers, and back.
import { run, whyNoContainers, withLab } from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'
import { checkLeaks } from '../../scripts/demo/leaks.ts'
import { printTo } from '../../scripts/demo/progress.ts'
import { type Peer, reach, webServer } from '../../scripts/demo/reach.ts'
import { type DemoHost, type Stage, setStage } from '../../scripts/demo/stage.ts'

const subnets = ['10.77.0.0/16', 'fd77::/64']
const subnetFlags = subnets.flatMap((subnet) => ['--subnet', subnet])

test('containers of Docker and of containerd on two hosts share a network by its name and reach each other, and nothing of it stays', async (t) => {
  const reason = await whyNoContainers()
  if (reason !== undefined) {
    t.log(`skipped: ${reason}`)
    return t.pass()
  }
  printTo((line) => t.log(line))
  await withLab(async (lab) => {
    const stage = await setStage(lab)
    const { host1, host2 } = stage
    const docker = host1.dockerd.docker
    await host1.heddle.cli(['network', 'create', 'blue', ...subnetFlags])
    const web1 = await dockerContainer(stage)
    const { peer: web2, remove } = await ctrContainer(stage)

    for (const { name, addresses } of [web1, web2]) t.regex(addresses.join(' '), /^10\.77\.\S+ fd77:\S+$/, name)
    t.is(new Set([...web1.addresses, ...web2.addresses]).size, 4, 'no address is given twice')
    const pools = (await host2.heddle.json(['pool', 'ls'])) as { pool: { prefix: string }; claimed: string }[]
    t.deepEqual(pools.map(({ pool, claimed }) => [pool.prefix, Number(claimed)]).sort(), [
      ['10.77.0.0/16', 2],
      ['fd77::/64', 2],
    ])
    const endpoints = (await host2.heddle.json(['endpoint', 'ls'])) as { runtime: string; host: string; networkName: string }[]
    t.deepEqual(endpoints.map((one) => `${one.runtime} ${one.host} ${one.networkName}`).sort(), ['cni host-2 blue', 'docker host-1 blue'])
    await reach(web1, web2)
    await reach(web2, web1)

    await coversEveryPart(t, host1, ['docker NetworkDriver.CreateEndpoint', 'docker NetworkDriver.Join'])
    await coversEveryPart(t, host2, ['cni ADD'])

    await networkStays(t, host1)
    await docker(['rm', '--force', 'web-1'])
    await docker(['network', 'rm', 'blue'])
    await networkStays(t, host1)
    await remove()
    await host1.heddle.cli(['network', 'rm', 'blue'])
    await t.notThrowsAsync(checkLeaks([host1, host2], 20_000))
    for (const what of ['network', 'endpoint', 'pool']) t.deepEqual(await host1.heddle.json([what, 'ls']), [], what)
  })
})

/** The network that is there already is meant: by its name, with the subnets it has. */
async function dockerContainer({ host1, image }: Stage): Promise<Peer> {
  const { docker } = host1.dockerd
  const ours = ['--driver', 'heddle', '--opt', 'network=blue', '--ipam-driver', 'heddle', '--ipam-opt', 'network=blue']
  await docker(['network', 'create', ...ours, '--ipv6', ...subnetFlags, 'blue'])
  await docker(['run', '--detach', '--name', 'web-1', '--network', 'blue', image.reference, ...webServer('web-1')])
  const [{ NetworkSettings: settings }] = JSON.parse(await docker(['inspect', 'web-1']))
  const { IPAddress, GlobalIPv6Address } = settings.Networks.blue
  return { name: 'web-1', addresses: [IPAddress, GlobalIPv6Address], exec: (command) => docker(['exec', 'web-1', ...command], { timeoutMs: 15_000 }) }
}

async function ctrContainer({ host2, image }: Stage): Promise<{ readonly peer: Peer; readonly remove: () => Promise<void> }> {
  const { containerd, heddle, binDir, confDir } = host2
  await heddle.cli(['cni', 'install', '--network', 'blue', '--bin-dir', binDir, '--conf-dir', confDir])
  const container = await containerd.runWithCni('web-2', image.reference, webServer('web-2'))
  const pid = /^web-2\s+(\d+)/m.exec(await containerd.ctr(['task', 'ls']))?.[1] ?? ''
  const links = JSON.parse(await run(['nsenter', `--net=/proc/${pid}/ns/net`, 'ip', '-json', 'address', 'show', 'dev', 'eth0']))
  const addresses = links[0].addr_info.filter((info: { scope: string }) => info.scope === 'global').map((info: { local: string }) => info.local)
  return { peer: { name: 'web-2', addresses, exec: (command) => container.exec(command, { timeoutMs: 15_000 }) }, remove: () => container.remove() }
}

async function networkStays(t: ExecutionContext, host: DemoHost): Promise<void> {
  const refused = await host.heddle.tryCli(['network', 'rm', 'blue'])
  t.is(refused.code, 1)
  t.regex(refused.stderr, /in use by .*\bon host-2.*\n.*detach its containers first/)
}

interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string
  readonly name: string
  readonly service: string
}

/** One trace of the attachment, a tree below the plugin's calls, with every part of Heddle and every server and kernel it asked. */
async function coversEveryPart(t: ExecutionContext, host: DemoHost, calls: readonly string[]): Promise<void> {
  const traces = (await host.heddle.json(['trace', 'ls', '--limit', '100'])) as { traceId: string; name: string }[]
  const attachments = traces.filter(({ name }) => name === calls.join(', '))
  t.is(attachments.length, 1, `one trace of ${calls.join(', ')} among ${traces.map(({ name }) => name).join('; ')}`)
  const { spans } = (await host.heddle.json(['trace', 'show', attachments[0]?.traceId ?? ''])) as { spans: Span[] }
  const wanted: readonly (readonly [service: string, name: RegExp])[] = [
    ['gateway', /^bus Ipam\./],
    ['ipam', /^Ipam\./],
    ['ipam', /^etcd /],
    ['networks', /^Networks\.PutEndpoint$/],
    ['networks', /^etcd /],
    ['gateway', /^bus Wiring\.Attach$/],
    ['netns-wiring', /^Wiring\.Attach$/],
    ['netns-wiring', /^netlink /],
  ]
  for (const [service, name] of wanted)
    t.true(
      spans.some((span) => span.service === service && name.test(span.name)),
      `${service} ${name}`,
    )
  const known = new Set(spans.map(({ spanId }) => spanId))
  const roots = spans.filter(({ parentSpanId }) => !known.has(parentSpanId))
  t.deepEqual(roots.map(({ service, name }) => `${service} ${name}`).sort(), calls.map((name) => `gateway ${name}`).sort())
}
