/**
 * CNI ADD and DEL as whole processes, ours (`heddle up` on one machine: a bridge network, addresses durable in etcd, tracing on)
 * against Debian's `bridge` + `host-local` (a file on this host). Blocks of calls alternate, so that noise meets both and
 * what a plugin leaves the kernel to do after its answer meets its own next calls.
 */
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createUnderlay, run, startHeddle, withLab } from '@heddle/testkit'
import { buildExecTimer, type ExecTimer, type Job } from './exec-timer.ts'
import { type Figure, figure, median, type Suite } from './figures.ts'

const rivalName = 'bridge + host-local'
const launcher = resolve(import.meta.dirname, '../../deploy/cni-launcher/heddle-cni')
const sequential = 60
const warmUp = 10
const warmUpRounds = 6
const blockSize = 10
const parallelCalls = 160
const rounds = 3

interface Plugin {
  readonly name: string
  readonly executable: string
  readonly stdin: string
  readonly env: Readonly<Record<string, string>>
}

export const cniSuite: Suite = {
  ids: ['cni-add', 'cni-del', 'cni-add-16', 'cni-del-16'],
  run: (progress) =>
    withLab(async ({ scope, dir }) => {
      const underlay = createUnderlay({ hosts: 1 })
      scope.defer('underlay', () => underlay.remove())
      const netns = `/run/netns/${underlay.hosts[0]?.name}`
      const heddle = await startHeddle(scope, { host: 'bench', netns, dir: join(dir, 'h') })
      await heddle.cli(['network', 'create', 'bench', '--kind', 'bridge', '--subnet', '10.90.0.0/16'])
      const timer = buildExecTimer(dir, netns)
      const plugins = configure(dir, heddle.cniSocket)
      const namespaces = await createNamespaces(scope, parallelCalls)
      // A daemon that has served a thousand calls, as on a host in use; the rival's processes have nothing to warm but the page cache.
      progress('warm-up')
      const [ours] = plugins
      await alternate(timer, ours === undefined ? [] : [ours], namespaces, 16, 1, warmUpRounds - 1)
      await alternate(timer, plugins, namespaces, 16, 1, 1)
      progress('one after another')
      const one = await alternate(timer, plugins, namespaces.slice(0, sequential), 1, sequential / blockSize)
      progress('16 in parallel')
      const many = await alternate(timer, plugins, namespaces, 16, 1, rounds)
      return figures(one, many)
    }),
}

function configure(dir: string, socket: string): readonly Plugin[] {
  const file = (name: string, config: object): string => {
    const path = join(dir, name)
    writeFileSync(path, JSON.stringify(config))
    return path
  }
  const ours = file('ours.json', { cniVersion: '1.0.0', name: 'bench', type: 'heddle' })
  const rival = file('rival.json', {
    ...{ cniVersion: '1.0.0', name: 'rival', type: 'bridge', bridge: 'rival0', isGateway: true },
    ipam: { type: 'host-local', dataDir: join(dir, 'host-local'), ranges: [[{ subnet: '10.91.0.0/16' }]] },
  })
  return [
    { name: 'ours', executable: launcher, stdin: ours, env: { HEDDLE_CNI_SOCKET: socket } },
    { name: 'rival', executable: '/usr/lib/cni/bridge', stdin: rival, env: {} },
  ]
}

async function createNamespaces(scope: { defer(what: string, run: () => Promise<unknown>): void }, count: number): Promise<string[]> {
  const prefix = `hdb${process.pid}`
  const names = Array.from({ length: count }, (_, index) => `${prefix}-${index}`)
  const batch = (verb: string) => run(['ip', '-force', '-batch', '-'], { input: names.map((name) => `netns ${verb} ${name}`).join('\n') })
  scope.defer('sandboxes', () => batch('delete'))
  await batch('add')
  return names.map((name) => `/run/netns/${name}`)
}

interface Samples {
  readonly add: Record<string, number[]>
  readonly del: Record<string, number[]>
  readonly addPerSecond: Record<string, number[]>
  readonly delPerSecond: Record<string, number[]>
}

/** Both plugins in alternating blocks over all namespaces, each attachment made and removed. */
async function alternate(
  timer: ExecTimer,
  plugins: readonly Plugin[],
  namespaces: readonly string[],
  parallel: number,
  blocks: number,
  repeat = 1,
): Promise<Samples> {
  const samples: Samples = { add: {}, del: {}, addPerSecond: {}, delPerSecond: {} }
  const size = namespaces.length / blocks
  for (let round = 0; round < repeat; round++) {
    for (const command of ['ADD', 'DEL'] as const) {
      for (let block = 0; block < blocks; block++) {
        for (const plugin of plugins) {
          const jobs = namespaces
            .slice(block * size, (block + 1) * size)
            .map((netns, index) => job(plugin, command, netns, `${plugin.name}-${round}-${block * size + index}`))
          const timing = await timer(jobs, parallel)
          const [each, rate] = command === 'ADD' ? [samples.add, samples.addPerSecond] : [samples.del, samples.delPerSecond]
          each[plugin.name] = [...(each[plugin.name] ?? []), ...timing.perJobMs]
          rate[plugin.name] = [...(rate[plugin.name] ?? []), (jobs.length / timing.totalMs) * 1000]
        }
      }
    }
  }
  return samples
}

function job(plugin: Plugin, command: string, netns: string, id: string): Job {
  // Both in the same sandbox at once, so each has an interface name of its own.
  const ifname = plugin.name === 'ours' ? 'eth0' : 'eth1'
  return {
    id,
    executable: plugin.executable,
    stdin: plugin.stdin,
    env: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: id,
      CNI_NETNS: netns,
      CNI_IFNAME: ifname,
      CNI_PATH: '/usr/lib/cni',
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      ...plugin.env,
    },
  }
}

function figures(one: Samples, many: Samples): Figure[] {
  const p50 = (values: Record<string, number[]>, skip: number) => ({
    ours: median((values['ours'] ?? []).slice(skip)),
    rival: median((values['rival'] ?? []).slice(skip)),
  })
  return [
    figure({ id: 'cni-add', what: 'CNI ADD, whole process, p50, heddle up', unit: 'ms', ...p50(one.add, warmUp), rivalName }),
    figure({ id: 'cni-del', what: 'CNI DEL, whole process, p50, heddle up', unit: 'ms', ...p50(one.del, warmUp), rivalName }),
    figure({ id: 'cni-add-16', what: 'CNI ADD, 16 in parallel, heddle up', unit: 'calls/s', ...p50(many.addPerSecond, 0), rivalName }),
    figure({ id: 'cni-del-16', what: 'CNI DEL, 16 in parallel, heddle up', unit: 'calls/s', ...p50(many.delPerSecond, 0), rivalName }),
  ]
}
