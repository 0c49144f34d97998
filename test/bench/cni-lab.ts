/** A host with `heddle up` and plugins to call there as a container runtime does: ours, and the reference plugins of Debian's package. */
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createUnderlay, type HeddleProcess, type Lab, run, startHeddle } from '@heddle/testkit'
import { buildExecTimer, type ExecTimer, type Job } from './exec-timer.ts'

export type Verb = 'ADD' | 'DEL'

export interface Plugin {
  readonly name: string
  readonly executable: string
  /** Network configuration, a file. */
  readonly stdin: string
  /** One a plugin: several may be in the same sandbox at once. */
  readonly ifname: string
  readonly env: Readonly<Record<string, string>>
}

export interface CniLab {
  readonly heddle: HeddleProcess
  readonly timer: ExecTimer
  /** Path of the host's network namespace. */
  readonly netns: string
  /** Heddle's on a network that exists, with further members of the configuration. */
  ours(network: string, more?: object): Plugin
  /** A reference plugin with host-local (a file on this host) as its IPAM. */
  reference(type: 'bridge' | 'ptp', subnet: string): Plugin
  /** Network namespaces, by path. */
  sandboxes(count: number): Promise<string[]>
}

const launcher = resolve(import.meta.dirname, '../../deploy/cni-launcher/heddle-cni')

export async function startCniLab({ scope, dir }: Lab): Promise<CniLab> {
  const underlay = createUnderlay({ hosts: 1 })
  scope.defer('underlay', () => underlay.remove())
  const netns = `/run/netns/${underlay.hosts[0]?.name}`
  const heddle = await startHeddle(scope, { host: 'bench', netns, dir: join(dir, 'h') })
  let plugins = 0
  const plugin = (name: string, executable: string, config: object, env: Readonly<Record<string, string>>): Plugin => {
    const number = plugins++
    const stdin = join(dir, `plugin${number}.json`)
    writeFileSync(stdin, JSON.stringify({ cniVersion: '1.0.0', ...config }))
    return { name, executable, stdin, ifname: `eth${number}`, env }
  }
  return {
    heddle,
    timer: buildExecTimer(dir, netns),
    netns,
    ours: (network, more = {}) => plugin('ours', launcher, { name: network, type: 'heddle', ...more }, { HEDDLE_CNI_SOCKET: heddle.cniSocket }),
    reference: (type, subnet) => {
      const ipam = { type: 'host-local', dataDir: join(dir, 'host-local'), ranges: [[{ subnet }]] }
      const own = type === 'bridge' ? { bridge: 'rival0', isGateway: true } : {}
      return plugin(type, `/usr/lib/cni/${type}`, { name: `rival-${type}`, type, ...own, ipam }, {})
    },
    async sandboxes(count) {
      const names = Array.from({ length: count }, (_, index) => `hdb${process.pid}-${index}`)
      const batch = (verb: string) =>
        run(['ip', '-force', '-batch', '-'], { input: names.map((name) => `netns ${verb} ${name}`).join('\n'), timeoutMs: 300_000 })
      scope.defer('sandboxes', () => batch('delete'))
      await batch('add')
      return names.map((name) => `/run/netns/${name}`)
    },
  }
}

/** One call of a plugin; `id` becomes the container's. */
export function cniJob(plugin: Plugin, command: Verb, netns: string, id: string): Job {
  return {
    id,
    executable: plugin.executable,
    stdin: plugin.stdin,
    env: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: id,
      CNI_NETNS: netns,
      CNI_IFNAME: plugin.ifname,
      CNI_PATH: '/usr/lib/cni',
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      ...plugin.env,
    },
  }
}
