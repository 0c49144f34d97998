/** Containers of a real dockerd and sandboxes of a real containerd as one: on the same networks, on one host and on two. */
import { LabScope, type Pod, whyNoContainers } from '@heddle/testkit'
import anyTest, { type ExecutionContext, type TestFn } from 'ava'
import { checkLeaks } from '../../scripts/demo/leaks.ts'
import { printTo } from '../../scripts/demo/progress.ts'
import { type Peer, reach, webServer } from '../../scripts/demo/reach.ts'
import { type Host, peerOf, setWorlds, type Worlds } from './both-worlds/stage.ts'

const test = anyTest as TestFn<Worlds>
const scope = new LabScope()
const reason = await whyNoContainers()

interface Kind {
  readonly name: string
  readonly subnets: readonly [string, string]
  readonly pattern: RegExp
  readonly flags: readonly string[]
}

const wide: Kind = { name: 'wide', subnets: ['10.61.0.0/16', 'fd61::/64'], pattern: /^10\.61\.\S+ fd61:\S+$/, flags: ['--kind', 'overlay'] }
const local: Kind = { name: 'local', subnets: ['10.62.0.0/16', 'fd62::/64'], pattern: /^10\.62\.\S+ fd62:\S+$/, flags: ['--kind', 'bridge'] }
const wire: Kind = { name: 'wire', subnets: ['10.63.0.0/16', 'fd63::/64'], pattern: /^10\.63\.\S+ fd63:\S+$/, flags: ['--kind', 'macvlan', '--parent', 'eth0'] }

test.before('two hosts with both engines', async (t) => {
  if (reason !== undefined) return
  printTo(() => {})
  t.context = await setWorlds(scope, [wide.name, local.name, wire.name, 'made'])
})
test.after.always('everything is removed', () => scope.close())

if (reason !== undefined) {
  test('both worlds', (t) => {
    t.log(`skipped: ${reason}`)
    t.pass()
  })
} else {
  test.serial('on an overlay both share pools, reach each other within a host and across hosts, and hold the network', async (t) => {
    const { docker, pods } = await populate(t, wide)
    await allReach([docker, ...pods.map(peerOf)])
    // Docker gives a container of an overlay a way to its host as well, and so to the host's name server; a sandbox has none.
    for (const name of ['near-wide', 'far-wide', 'far-wide.default']) t.is(await pageOf(docker, `http://${name}/`), name.split('.')[0] ?? '')
    await leave(t, wide, pods)
  })

  test.serial('on a bridge both share pools and gateway, reach each other within a host, and by published ports across hosts', async (t) => {
    const { host1, host2, dockerd } = t.context
    const { docker, pods } = await populate(t, local, { docker: ['--publish', '8081:80', '--network-alias', 'Shop'], ports: [8082, 8083] })
    const [near, far] = pods.map(peerOf) as [Peer, Peer]
    await allReach([docker, near])
    const at = ({ underlay }: Host, port: number) => [`http://${underlay.address}:${port}/`, `http://[${underlay.address6}]:${port}/`]
    for (const [from, urls, answer] of [
      [far, at(host1, 8081), 'd-local'],
      [far, at(host1, 8082), 'near-local'],
      [docker, at(host2, 8083), 'far-local'],
      [near, at(host2, 8083), 'far-local'],
      // Out by the host's address and in again: hairpin.
      [near, at(host1, 8081), 'd-local'],
      [docker, at(host1, 8082), 'near-local'],
    ] as const)
      for (const url of urls) t.is(await pageOf(from, url), answer, `${from.name} -> ${url}`)
    // By name: Docker's own name server knows its own containers, and asks Heddle's for the others.
    for (const [from, name] of [
      [docker, 'near-local'],
      [docker, 'near-local.default.local.heddle'],
      [near, 'd-local'],
      [near, 'd-local.local.heddle'],
    ] as const)
      t.is(await pageOf(from, `http://${name}/`), name.split('.')[0] ?? '', `${from.name} -> ${name}`)
    t.is(await pageOf(near, 'http://shop/'), 'd-local', 'an alias of Docker')
    const gateways = async (peer: Peer) =>
      [
        ...(await peer.exec(['ip', 'route'])).matchAll(/^default via (\S+)/gm),
        ...(await peer.exec(['ip', '-6', 'route'])).matchAll(/^default via (\S+)/gm),
      ].map(([, gateway]) => gateway)
    const [{ NetworkSettings: settings }] = JSON.parse(await dockerd.docker(['inspect', 'd-local']))
    const { Gateway, IPv6Gateway } = settings.Networks.local
    for (const peer of [docker, near, far]) t.deepEqual(await gateways(peer), [Gateway, IPv6Gateway], peer.name)
    await leave(t, local, pods)
  })

  test.serial('on a macvlan of the hosts’ own wire both share pools, and reach each other within a host and across hosts', async (t) => {
    const { docker, pods } = await populate(t, wire)
    await allReach([docker, ...pods.map(peerOf)])
    await leave(t, wire, pods)
  })

  test.serial('a network that Docker made stays for the sandbox on it when Docker gives it up, and goes after it', async (t) => {
    const { host2, dockerd } = t.context
    await dockerd.docker(['network', 'create', '--driver', 'heddle', '--opt', 'network=made', '--ipam-driver', 'heddle', '--ipam-opt', 'network=made', 'made'])
    await host2.useNetwork('made')
    const pod = await soon(() => host2.cri.run({ name: 'stays', handler: 'made' }))
    await dockerd.docker(['network', 'rm', 'made'])
    const names = async () => ((await host2.heddle.json(['network', 'ls'])) as { name: string }[]).map(({ name }) => name)
    t.deepEqual(await names(), ['made'])
    t.regex(await pod.exec(['ip', 'address', 'show', 'eth0']), new RegExp(`inet ${pod.addresses[0]}/`))
    await host2.cri.stop(pod.id)
    await host2.cri.remove(pod.id)
    await soon(async () => {
      if ((await names()).length > 0) throw new Error('the network is still there')
    })
    t.deepEqual(await host2.heddle.json(['pool', 'ls']), [])
  })
}

/** A container and a sandbox on host 1, a sandbox on host 2, all on one network made by the command line and joined by name. */
async function populate(t: ExecutionContext<Worlds>, kind: Kind, published: { readonly docker?: readonly string[]; readonly ports?: readonly number[] } = {}) {
  const { host1, host2, dockerd, image } = t.context
  const { name, subnets, flags } = kind
  const subnetFlags = subnets.flatMap((subnet) => ['--subnet', subnet])
  await host1.heddle.cli(['network', 'create', name, ...flags, ...subnetFlags])
  const ours = ['--driver', 'heddle', '--opt', `network=${name}`, '--ipam-driver', 'heddle', '--ipam-opt', `network=${name}`]
  await dockerd.docker(['network', 'create', ...ours, '--ipv6', ...subnetFlags, name])
  await Promise.all([host1.useNetwork(name), host2.useNetwork(name)])
  const sandbox = (host: Host, pod: string, port: number | undefined) =>
    soon(() =>
      host.cri.run({
        name: pod,
        handler: name,
        ports: port === undefined ? [] : [{ hostPort: port, containerPort: 80 }],
        dns: { servers: [host.underlay.address], searches: [`${name}.heddle`] },
      }),
    )
  const names = ['--dns', host1.underlay.address, '--dns-search', `${name}.heddle`]
  const [, ...pods] = await Promise.all([
    dockerd.docker(['run', '--detach', '--name', `d-${name}`, '--network', name, ...names, ...(published.docker ?? []), image, ...webServer(`d-${name}`)]),
    sandbox(host1, `near-${name}`, published.ports?.[0]),
    sandbox(host2, `far-${name}`, published.ports?.[1]),
  ])
  const [{ NetworkSettings: settings }] = JSON.parse(await dockerd.docker(['inspect', `d-${name}`]))
  const { IPAddress, GlobalIPv6Address } = settings.Networks[name]
  const docker: Peer = {
    name: `d-${name}`,
    addresses: [IPAddress, GlobalIPv6Address],
    exec: (command) => dockerd.docker(['exec', `d-${name}`, ...command], { timeoutMs: 15_000 }),
  }
  const all = [docker, ...pods.map(peerOf)]
  for (const { name: who, addresses } of all) t.regex(addresses.join(' '), kind.pattern, who)
  t.is(new Set(all.flatMap(({ addresses }) => addresses)).size, 6, 'no address is given twice')
  const listed = async () =>
    ((await host2.heddle.json(['endpoint', 'ls'])) as { runtime: string; host: string; networkName: string; containerName: string }[])
      .map((one) => `${one.networkName} ${one.host} ${one.runtime} ${one.containerName}`)
      .sort()
  const wanted = [`${name} host-1 cni default/near-${name}`, `${name} host-1 docker d-${name}`, `${name} host-2 cni default/far-${name}`]
  // What Docker calls its container is asked of it behind its back.
  await soon(async () => {
    const seen = (await listed()).join()
    if (seen !== wanted.join()) throw new Error(`endpoint ls shows ${seen}, not ${wanted.join()}`)
  })
  return { docker, pods }
}

/** Whoever is left holds the network; when nobody is, nothing is. */
async function leave(t: ExecutionContext<Worlds>, { name }: Kind, pods: readonly Pod[]): Promise<void> {
  const { host1, host2, dockerd } = t.context
  const [near, far] = pods as [Pod, Pod]
  const refused = async (...holders: readonly string[]) => {
    const { code, stderr } = await host2.heddle.tryCli(['network', 'rm', name])
    t.is(code, 1)
    for (const holder of holders) t.regex(stderr, new RegExp(`in use by .*\\b${holder}.*\\n.*detach its containers first`))
  }
  await refused(`d-${name} on host-1`, `default/near-${name} on host-1`, `default/far-${name} on host-2`)
  const { code, stderr } = await dockerd.tryDocker(['network', 'rm', name])
  t.is(code, 1)
  t.regex(stderr, /has active endpoints/)
  await host1.cri.stop(near.id)
  await host1.cri.remove(near.id)
  await dockerd.docker(['rm', '--force', `d-${name}`])
  await refused('on host-2')
  // Docker gives up its own name for it: it asks nobody whether it may (libnetwork logs what a driver answers, and goes on).
  await dockerd.docker(['network', 'rm', name])
  await refused('on host-2')
  t.regex(await far.exec(['ip', 'address', 'show', 'eth0']), new RegExp(far.addresses[0] ?? '-'))
  await host2.cri.stop(far.id)
  await host2.cri.remove(far.id)
  await host2.heddle.cli(['network', 'rm', name])
  const hosts = [
    { name: 'host-1', netns: host1.underlay.path, heddle: host1.heddle, enginePid: dockerd.program.pid },
    { name: 'host-2', netns: host2.underlay.path, heddle: host2.heddle },
  ]
  await t.notThrowsAsync(checkLeaks(hosts, 20_000))
  for (const what of ['network', 'endpoint', 'pool']) t.deepEqual(await host1.heddle.json([what, 'ls']), [], what)
}

async function pageOf(from: Peer, url: string): Promise<string> {
  return (await from.exec(['wget', '-q', '-O', '-', url])).trim()
}

/** Each the others, ping and TCP, in both families. */
async function allReach(peers: readonly Peer[]): Promise<void> {
  await Promise.all(peers.flatMap((from) => peers.filter((to) => to !== from).map((to) => reach(from, to))))
}

/** containerd reads a new configuration, and Docker is asked for names, a moment later. */
async function soon<T>(body: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await body()
    } catch (error) {
      if (attempt === 40) throw error
      await new Promise((resolve) => setTimeout(resolve, 250))
    }
  }
}
