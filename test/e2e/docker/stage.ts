/** What the files of this folder and of ../traps share: hosts with Heddle and dockerd behind all tests of a file, and looks into them. */
import { setTimeout as delay } from 'node:timers/promises'
import { type DockerHost, type DockerHosts, type DockerHostsOptions, LabScope, labDirectory, startDockerHosts, whyNoContainers } from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'

/** Of `network create`, for a network whose addresses are Heddle's too. */
export const ours = '--driver heddle --ipam-driver heddle'

export interface Stage extends DockerHosts {
  readonly scope: LabScope
  readonly dir: string
  /** The first of the hosts, most often the only one. */
  readonly host: DockerHost
}

/** Started before the tests of the file that calls it. They come one after the other, each on what the one before it left. */
export function stageBefore(
  options: DockerHostsOptions,
): (body: (t: ExecutionContext, stage: Stage) => Promise<void>) => (t: ExecutionContext) => Promise<void> {
  const scope = new LabScope()
  let stage: Stage | undefined
  let reason: string | undefined
  test.before(async () => {
    reason = await whyNoContainers()
    if (reason !== undefined) return
    const dir = labDirectory(scope)
    const started = await startDockerHosts({ scope, dir, signal: new AbortController().signal }, options)
    stage = { ...started, scope, dir, host: started.hosts[0] as DockerHost }
  })
  test.after.always(async () => {
    // A dockerd that outlives its plugin would wait for it at the end of each container.
    await Promise.all((stage?.hosts ?? []).map(({ dockerd }) => dockerd.halt()))
    await scope.close()
  })
  return (body) => async (t) => {
    if (stage !== undefined) return body(t, stage)
    t.log(`skipped: ${reason}`)
    t.pass()
  }
}

/** The command of a container that answers HTTP on port 80 with its own name. */
export function serving(host: DockerHost, name: string, options: string): Promise<string> {
  const command = `echo ${name} > /www/index.html; exec httpd -f -p 80 -h /www`
  return host.docker([...`run --detach --name ${name} ${options} IMAGE /bin/sh -c`.split(' '), command])
}

export function sleeping(host: DockerHost, name: string, options: string): Promise<string> {
  return host.docker(`run --detach --name ${name} ${options} IMAGE sleep 1000`)
}

export interface Link {
  readonly mac: string
  readonly mtu: number
  /** With their lengths; without those the kernel makes itself. */
  readonly addresses: readonly string[]
}

/** The interfaces of a running container but its loopback, by name. */
export async function linksOf(host: DockerHost, container: string): Promise<Record<string, Link>> {
  const links: any[] = JSON.parse(await inside(host, container, 'ip -json address'))
  const own = links.filter((link) => link.ifname !== 'lo')
  return Object.fromEntries(
    own.map(({ ifname, address, mtu, addr_info }) => {
      const addresses = addr_info.filter((info: any) => !info.local.startsWith('fe80')).map((info: any) => `${info.local}/${info.prefixlen}`)
      return [ifname, { mac: address, mtu, addresses }]
    }),
  )
}

/** All its addresses, in the order of its interfaces. */
export async function addressesOf(host: DockerHost, container: string): Promise<string[]> {
  return Object.values(await linksOf(host, container)).flatMap((link) => link.addresses)
}

/** The next hops of its default routes. */
export async function gatewaysOf(host: DockerHost, container: string): Promise<string[]> {
  const routes: any[] = []
  for (const family of ['-4', '-6']) routes.push(...JSON.parse((await inside(host, container, `ip -json ${family} route show default`)) || '[]'))
  return routes.map((route) => route.gateway)
}

/** Runs a command of the machine in the network of a container. */
export async function inside(host: DockerHost, container: string, command: string): Promise<string> {
  const pid = await host.docker(`inspect --format {{.State.Pid}} ${container}`)
  return host.exec(`nsenter --net=/proc/${pid}/ns/net ${command}`)
}

/** What a web server answers, without white space around; one that has only just begun is waited for. */
export async function pageOf(get: (url: string) => Promise<string>, url: string): Promise<string> {
  for (let tries = 1; ; tries++) {
    try {
      return (await get(url)).trim()
    } catch (error) {
      if (tries === 25) throw error
      await delay(100)
    }
  }
}

/** By a name or address, from another container. */
export function pageFrom(host: DockerHost, container: string, server: string): Promise<string> {
  return pageOf((url) => host.docker(`exec ${container} wget -q -O - ${url}`), `http://${server}/`)
}

/** Whether a container hears the answers of an address. */
export async function pings(host: DockerHost, container: string, address: string): Promise<boolean> {
  const { code } = await host.dockerd.tryDocker(['exec', container, address.includes(':') ? 'ping6' : 'ping', '-c', '1', '-W', '2', address])
  return code === 0
}

/** Waits for what is done behind an answer or by a sweep; the last look is answered when it never comes. */
export async function eventually<T>(look: () => Promise<T>, isWanted: (seen: T) => boolean, withinMs = 20_000): Promise<T> {
  const deadline = performance.now() + withinMs
  for (;;) {
    const seen = await look()
    if (isWanted(seen) || performance.now() > deadline) return seen
    await delay(100)
  }
}

/** What there is of Heddle's on a host and in the cluster, as words; nothing when all of it is gone. */
export async function remains(host: DockerHost): Promise<string[]> {
  const [networks, endpoints, pools] = await Promise.all(['network', 'endpoint', 'pool'].map((what) => host.heddle.json([what, 'ls']) as Promise<any[]>))
  const links: any[] = JSON.parse(await host.exec('ip -json link'))
  return [
    ...(networks ?? []).map(({ name }) => `network ${name}`),
    ...(endpoints ?? []).map(({ id }) => `endpoint ${id}`),
    ...(pools ?? []).map(({ pool, claimed }) => `pool ${pool.prefix} with ${claimed ?? 0} claims`),
    ...links.filter(({ ifname }) => /^h[bdpx][0-9a-f]{11}$/.test(ifname)).map(({ ifname }) => `link ${ifname}`),
  ]
}

export async function allIsGone(t: ExecutionContext, host: DockerHost): Promise<void> {
  t.deepEqual(
    await eventually(
      () => remains(host),
      (left) => left.length === 0,
    ),
    [],
  )
}
