/** Hosts with Heddle and a dockerd each, as a user has them: one cluster, whose brains and servers are on the first. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createUnderlay, type Underlay, type UnderlayHost } from '../hosts.ts'
import { type Dockerd, startDockerd } from './dockerd.ts'
import { type HeddleProcess, startHeddle, unmountBelow } from './heddle.ts'
import { buildImage } from './image.ts'
import type { Lab } from './lab.ts'
import { run } from './shell.ts'

export interface DockerHostsOptions {
  readonly hosts: number
  /** Further arguments of every dockerd. */
  readonly args?: readonly string[]
  /** Of Heddle, beside what makes it a host of this cluster. */
  readonly config?: Readonly<Record<string, unknown>>
}

export interface DockerHost {
  readonly host: UnderlayHost
  readonly heddle: HeddleProcess
  readonly dockerd: Dockerd
  /** Docker's client on this host, words separated by spaces or one by one; IMAGE stands for the laboratory's. Answers standard output, trimmed. */
  docker(command: Words): Promise<string>
  /** The same for a command that must be refused: what it says. Rejects when it is not. */
  refused(command: Words): Promise<string>
  /** Runs on the host, outside every container. */
  exec(command: Words): Promise<string>
  /** SIGKILL, or an orderly end, and a new Heddle on the same data. */
  restartHeddle(how: 'kill' | 'stop'): Promise<void>
  /** As a power failure: every process, namespace, link and all of /run gone, the disk there; both engines start again, Heddle first. */
  reboot(): Promise<void>
}

type Words = string | readonly string[]

export interface DockerHosts {
  readonly underlay: Underlay
  readonly hosts: readonly DockerHost[]
  readonly image: string
}

/** A name that Docker does not know it asks the machine's name servers for, who are out of reach: containers wait for them a second, not ten. */
const impatient = ['--dns-opt', 'timeout:1', '--dns-opt', 'attempts:1']

export async function startDockerHosts(lab: Lab, options: DockerHostsOptions): Promise<DockerHosts> {
  const { scope, dir } = lab
  const underlay = createUnderlay({ hosts: options.hosts })
  scope.defer('underlay', () => underlay.remove())
  const image = await buildImage(dir)
  const { wiring, ...further } = (options.config ?? {}) as { wiring?: object }
  const config = (host: UnderlayHost, index: number) => ({
    ...(index === 0 ? { embedded: { listen: host.address } } : {}),
    wiring: { underlay: { interface: 'eth0' }, ...wiring },
    gateway: { docker: { socket: join(dir, `d${index}`, 'docker.sock') } },
    ...further,
  })
  const start = async (index: number, first: HeddleProcess | undefined): Promise<DockerHost & { readonly heddle: HeddleProcess }> => {
    const host = underlay.hosts[index] as UnderlayHost
    const startHeddleHere = () =>
      startHeddle(scope, {
        host: `host-${index + 1}`,
        netns: host.path,
        dir: join(dir, `h${index}`),
        ...(first === undefined ? {} : { services: ['host'], nats: first.nats }),
        config: config(host, index),
      })
    const startDockerdHere = () =>
      startDockerd(scope, { netns: host.path, dir: join(dir, `d${index}`), pluginDir, args: [...impatient, ...(options.args ?? [])] })
    const pluginDir = join(dir, `h${index}/plugins`)
    mkdirSync(join(dir, `d${index}`))
    let [heddle, dockerd] = await Promise.all([startHeddleHere(), startDockerdHere()])
    await dockerd.docker(['load', '--input', image.archive])
    const words = (command: Words) => wordsOf(command).map((word) => (word === 'IMAGE' ? image.reference : word))
    return {
      host,
      get heddle() {
        return heddle
      },
      get dockerd() {
        return dockerd
      },
      docker: async (command) => (await dockerd.docker(words(command))).trim(),
      async refused(command) {
        const { code, stdout, stderr } = await dockerd.tryDocker(words(command))
        if (code === 0) throw new Error(`docker ${command} was not refused: ${stdout}`)
        return stderr.trim()
      },
      exec: (command) => run(['nsenter', `--net=${host.path}`, ...wordsOf(command)]),
      async restartHeddle(how) {
        await heddle[how]()
        heddle = await startHeddleHere()
      },
      async reboot() {
        await dockerd.halt()
        await heddle.kill()
        await unmountBelow(heddle.runDir)
        rmSync(heddle.runDir, { recursive: true })
        underlay.reboot(index)
        heddle = await startHeddleHere()
        dockerd = await startDockerdHere()
      },
    }
  }
  const first = await start(0, undefined)
  const others = await Promise.all(Array.from({ length: options.hosts - 1 }, (_, index) => start(index + 1, first.heddle)))
  return { underlay, hosts: [first, ...others], image: image.reference }
}

function wordsOf(command: Words): readonly string[] {
  return typeof command === 'string' ? command.split(' ') : command
}
