/** The stage of the demo: a control host and two hosts on one underlay, their Heddle processes, dockerd and containerd. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  buildImage,
  type Containerd,
  createUnderlay,
  type Dockerd,
  type HeddleProcess,
  type Lab,
  type LabImage,
  startContainerd,
  startDockerd,
  startHeddle,
} from '@heddle/testkit'
import { say, step } from './progress.ts'

export interface DemoHost {
  readonly name: string
  readonly netns: string
  readonly heddle: HeddleProcess
  /** Process of its container engine. */
  readonly enginePid?: number
}

export interface Stage {
  readonly image: LabImage
  readonly control: DemoHost
  readonly host1: DemoHost & { readonly dockerd: Dockerd }
  readonly host2: DemoHost & { readonly containerd: Containerd; readonly binDir: string; readonly confDir: string }
}

export async function setStage(lab: Lab): Promise<Stage> {
  const { scope, dir } = lab
  const subdirectory = (name: string) => {
    const path = join(dir, name)
    mkdirSync(path, { recursive: true })
    return path
  }
  const underlay = await step('underlay: three network namespaces on one bridge', async () => {
    const made = createUnderlay({ hosts: 3 })
    scope.defer('underlay', () => made.remove())
    return made
  })
  const [controlNs, ns1, ns2] = underlay.hosts
  if (controlNs === undefined || ns1 === undefined || ns2 === undefined) throw new Error('the underlay lacks hosts')
  for (const [name, host] of [
    ['control', controlNs],
    ['host-1', ns1],
    ['host-2', ns2],
  ] as const)
    say(`  ${name}: ${host.address}, ${host.address6}`)

  const control = await step('control: embedded nats-server and etcd, and the brains', () =>
    startHeddle(scope, {
      host: 'control',
      netns: controlNs.path,
      dir: subdirectory('control'),
      services: ['brains'],
      config: { embedded: { listen: controlNs.address } },
    }),
  )
  const startHost = (host: string, netns: string) =>
    step(`${host}: gateway and netns-wiring`, () =>
      startHeddle(scope, {
        host,
        netns,
        dir: subdirectory(host),
        services: ['host'],
        nats: control.nats,
        config: { wiring: { underlay: { interface: 'eth0' } } },
      }),
    )
  const [heddle1, heddle2, image] = await Promise.all([startHost('host-1', ns1.path), startHost('host-2', ns2.path), buildImage(dir)])
  const confDir = subdirectory('host-2/net.d')
  const binDir = subdirectory('host-2/cni')
  const [dockerd, containerd] = await Promise.all([
    step('host-1: dockerd', () => startDockerd(scope, { netns: ns1.path, dir: subdirectory('docker'), pluginDir: heddle1.pluginDir })),
    step('host-2: containerd', () => startContainerd(scope, { netns: ns2.path, dir: subdirectory('containerd'), confDir, binDir })),
  ])
  say(`  Docker ${dockerd.version} (${dockerd.storageDriver}), containerd ${(await containerd.ctr(['version'])).match(/Version:\s+(\S+)/)?.[1] ?? ''}`)
  await step('both: image with a static busybox', () =>
    Promise.all([dockerd.docker(['load', '--input', image.archive]), containerd.ctr(['image', 'import', image.archive])]),
  )
  return {
    image,
    control: { name: 'control', netns: controlNs.path, heddle: control },
    host1: { name: 'host-1', netns: ns1.path, heddle: heddle1, enginePid: dockerd.program.pid, dockerd },
    host2: { name: 'host-2', netns: ns2.path, heddle: heddle2, enginePid: containerd.program.pid, containerd, binDir, confDir },
  }
}
