/**
 * Two hosts with a dockerd each, in one swarm for the rival's overlay, and Heddle on both: its services in one control
 * process, gateway and netns-wiring on each host. The same namespaces carry both.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { buildImage, createUnderlay, type Dockerd, type Lab, startDockerd, startHeddle, type UnderlayHost } from '@heddle/testkit'

export interface DockerHost {
  readonly host: UnderlayHost
  readonly netns: string
  readonly dockerd: Dockerd
}

export interface TwoHosts {
  readonly hosts: readonly [DockerHost, DockerHost]
  /** Names of the overlay networks of Docker's own driver and of Heddle. */
  readonly rival: string
  readonly ours: string
  /** The same of networks of kind bridge, on the first host. */
  readonly rivalBridge: string
  readonly oursBridge: string
  /** What the containers are made from. */
  readonly image: string
  /** Starts a container that sleeps, on a plain bridge network of its host or as `more` of the request says; answers its id and process id. */
  container(on: DockerHost, name: string, more?: object): Promise<{ readonly id: string; readonly pid: number }>
}

export async function startTwoHosts({ scope, dir }: Lab): Promise<TwoHosts> {
  const underlay = createUnderlay({ hosts: 2, reachable: true })
  scope.defer('underlay', () => underlay.remove())
  const image = await buildImage(dir)
  const control = await startHeddle(scope, {
    host: 'control',
    dir: join(dir, 'control'),
    services: ['brains'],
    config: { embedded: { listen: underlay.gateway } },
  })
  const start = async (index: 0 | 1): Promise<DockerHost> => {
    const host = underlay.hosts[index] as UnderlayHost
    const netns = `/run/netns/${host.name}`
    const heddle = await startHeddle(scope, {
      host: `h${index}`,
      netns,
      dir: join(dir, `h${index}`),
      services: ['host'],
      nats: control.nats,
      config: { wiring: { underlay: { interface: 'eth0' } } },
    })
    const dockerDir = join(dir, `docker${index}`)
    mkdirSync(dockerDir)
    const dockerd = await startDockerd(scope, { netns, dir: dockerDir, pluginDir: heddle.pluginDir })
    await dockerd.docker(['load', '--input', image.archive])
    await dockerd.api('POST', '/networks/create', { Name: 'base', Driver: 'bridge' })
    return { host, netns, dockerd }
  }
  const hosts = [await start(0), await start(1)] as const
  const [first, second] = hosts
  await first.dockerd.api('POST', '/swarm/init', { ListenAddr: `${first.host.address}:2377`, AdvertiseAddr: first.host.address })
  const { JoinTokens } = await first.dockerd.api('GET', '/swarm')
  await second.dockerd.api('POST', '/swarm/join', {
    ...{ ListenAddr: `${second.host.address}:2377`, AdvertiseAddr: second.host.address },
    ...{ RemoteAddrs: [`${first.host.address}:2377`], JoinToken: JoinTokens.Worker },
  })
  await first.dockerd.api('POST', '/networks/create', { Name: 'rival', Driver: 'overlay', Attachable: true, IPAM: { Config: [{ Subnet: '10.95.0.0/16' }] } })
  for (const { dockerd } of hosts) {
    await dockerd.api('POST', '/networks/create', {
      ...{ Name: 'ours', Driver: 'heddle', Options: { network: 'bench' } },
      IPAM: { Driver: 'heddle', Options: { network: 'bench' }, Config: [{ Subnet: '10.96.0.0/16' }] },
    })
  }
  await first.dockerd.api('POST', '/networks/create', {
    ...{ Name: 'ours-bridge', Driver: 'heddle', Options: { network: 'bench-bridge', kind: 'bridge' } },
    IPAM: { Driver: 'heddle', Options: { network: 'bench-bridge' }, Config: [{ Subnet: '10.98.0.0/16' }] },
  })
  return {
    hosts,
    rival: 'rival',
    ours: 'ours',
    rivalBridge: 'base',
    oursBridge: 'ours-bridge',
    image: image.reference,
    async container({ dockerd }, name, more = { HostConfig: { NetworkMode: 'base' } }) {
      const { Id: id } = await dockerd.api('POST', `/containers/create?name=${name}`, {
        Image: image.reference,
        Cmd: ['sleep', '100000'],
        ...more,
      })
      await dockerd.api('POST', `/containers/${id}/start`)
      const { State } = await dockerd.api('GET', `/containers/${id}/json`)
      return { id, pid: State.Pid as number }
    },
  }
}

/** The address a container has on a network, asked of its dockerd. */
export async function addressOn({ dockerd }: DockerHost, container: string, network: string): Promise<string> {
  const { NetworkSettings } = await dockerd.api('GET', `/containers/${container}/json`)
  return NetworkSettings.Networks[network].IPAddress as string
}
