/** Two hosts of one cluster: dockerd and containerd side by side on the first, containerd on the second. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  buildImage,
  type Cri,
  connectCri,
  createUnderlay,
  type Dockerd,
  type HeddleProcess,
  type LabScope,
  labDirectory,
  type Pod,
  startContainerd,
  startDockerd,
  startHeddle,
  type UnderlayHost,
} from '@heddle/testkit'
import type { Peer } from '../../../scripts/demo/reach.ts'

export interface Host {
  readonly underlay: UnderlayHost
  readonly heddle: HeddleProcess
  readonly cri: Cri
  /** Installs Heddle as the plugin of the sandboxes that are made with the network's name as their runtime handler. */
  useNetwork(name: string): Promise<void>
}

export interface Worlds {
  readonly host1: Host
  readonly host2: Host
  /** Of host 1. */
  readonly dockerd: Dockerd
  /** Of Docker's containers: a busybox. */
  readonly image: string
}

/** A sandbox has no file system to write to but this. */
const answerWithOwnName = ['/bin/sh', '-c', 'mkdir /dev/www; hostname > /dev/www/index.html; exec httpd -f -p 80 -h /dev/www']

export async function setWorlds(scope: LabScope, networks: readonly string[]): Promise<Worlds> {
  const dir = labDirectory(scope)
  const underlay = createUnderlay({ hosts: 2 })
  scope.defer('underlay', () => underlay.remove())
  const [ns1, ns2] = underlay.hosts as [UnderlayHost, UnderlayHost]
  for (const name of ['docker', 'heddle-1', 'heddle-2', 'containerd-1', 'containerd-2']) mkdirSync(join(dir, name))
  const configOf = ({ address, address6 }: UnderlayHost, more: object = {}) => ({
    wiring: { underlay: { interface: 'eth0' } },
    gateway: { dns: { listen: [`${address}:53`, `[${address6}]:53`] }, ...more },
  })
  const heddle1 = await startHeddle(scope, {
    host: 'host-1',
    netns: ns1.path,
    dir: join(dir, 'heddle-1'),
    config: { ...configOf(ns1, { docker: { socket: join(dir, 'docker/docker.sock') } }), embedded: { listen: ns1.address } },
  })
  const [lab, pause] = await Promise.all([buildImage(dir), buildImage(dir, { name: 'pause', command: answerWithOwnName })])

  const startHost = async (underlayHost: UnderlayHost, index: 1 | 2, heddle: HeddleProcess): Promise<Host> => {
    const place = (name: string) => join(dir, `containerd-${index}`, name)
    const handlers = Object.fromEntries(networks.map((name) => [name, place(`net.d-${name}`)]))
    const containerd = await startContainerd(scope, {
      netns: underlayHost.path,
      dir: join(dir, `containerd-${index}`),
      confDir: place('net.d'),
      binDir: place('bin'),
      cri: { sandboxImage: pause.reference, handlers },
    })
    await containerd.ctr(['--namespace', 'k8s.io', 'image', 'import', pause.archive])
    const cri = await connectCri(containerd)
    scope.defer('CRI client', () => cri.close())
    return {
      underlay: underlayHost,
      heddle,
      cri,
      async useNetwork(name) {
        await heddle.cli(['cni', 'install', '--network', name, '--bin-dir', place('bin'), '--conf-dir', handlers[name] ?? ''])
      },
    }
  }
  const startSecond = async () =>
    startHost(
      ns2,
      2,
      await startHeddle(scope, { host: 'host-2', netns: ns2.path, dir: join(dir, 'heddle-2'), services: ['host'], nats: heddle1.nats, config: configOf(ns2) }),
    )
  const [host1, host2, dockerd] = await Promise.all([
    startHost(ns1, 1, heddle1),
    startSecond(),
    startDockerd(scope, { netns: ns1.path, dir: join(dir, 'docker'), pluginDir: heddle1.pluginDir }),
  ])
  await dockerd.docker(['load', '--input', lab.archive])
  return { host1, host2, dockerd, image: lab.reference }
}

export function peerOf(pod: Pod): Peer {
  return { name: pod.name.slice('default/'.length), addresses: pod.addresses, exec: (command) => pod.exec(command, { timeoutMs: 15_000 }) }
}
