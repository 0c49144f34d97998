/**
 * CNI ADD and DEL as whole processes, ours (`heddle up` on one machine: a bridge network, addresses durable in etcd, tracing on)
 * against Debian's `bridge` and `ptp` with `host-local` (a file on this host). Blocks of calls alternate, so that noise meets
 * all of them and what a plugin leaves the kernel to do after its answer meets its own next calls.
 */
import { type Lab, withLab } from '@heddle/testkit'
import { type CniLab, cniJob, type Plugin, startCniLab, type Verb } from './cni-lab.ts'
import type { Timing } from './exec-timer.ts'
import { type Figure, figure, median, quantile, type Suite } from './figures.ts'

const sequential = 60
const warmUp = 10
const warmUpRounds = 6
const blockSize = 10
const parallelCalls = 160
const rounds = 3
const burst = 100
const bursts = 5

export const cniSuite: Suite = {
  ids: ['cni-add', 'cni-add-ptp', 'cni-del', 'cni-add-16', 'cni-del-16', 'cni-burst-100'],
  run: (progress) =>
    withLab(async (lab: Lab) => {
      const cni = await startCniLab(lab)
      await cni.heddle.cli(['network', 'create', 'bench', '--kind', 'bridge', '--subnet', '10.90.0.0/16'])
      const ours = cni.ours('bench')
      const bridge = cni.reference('bridge', '10.91.0.0/16')
      const ptp = cni.reference('ptp', '10.92.0.0/16')
      const namespaces = await cni.sandboxes(parallelCalls)
      // A daemon that has served a thousand calls, as on a host in use; the rivals' processes have nothing to warm but the page cache.
      progress('warm-up')
      await alternate(cni, { plugins: [ours], namespaces, parallel: 16, repeat: warmUpRounds - 1 })
      await alternate(cni, { plugins: [ours, bridge], namespaces, parallel: 16 })
      progress('one after another')
      const one = await alternate(cni, {
        plugins: [ours, bridge, ptp],
        namespaces: namespaces.slice(0, sequential),
        parallel: 1,
        blocks: sequential / blockSize,
      })
      progress('16 in parallel')
      const many = await alternate(cni, { plugins: [ours, bridge], namespaces, parallel: 16, repeat: rounds })
      progress(`${burst} at once`)
      const crowd = await alternate(cni, { plugins: [ours, bridge], namespaces: namespaces.slice(0, burst), parallel: burst, repeat: bursts })
      return figures(one, many, crowd)
    }),
}

interface Plan {
  readonly plugins: readonly Plugin[]
  readonly namespaces: readonly string[]
  readonly parallel: number
  readonly blocks?: number
  readonly repeat?: number
}

/** Blocks of calls of each plugin, by its name. */
type Samples = Readonly<Record<Verb, Record<string, Timing[]>>>

/** The plugins in alternating blocks over all namespaces, each attachment made and removed. */
async function alternate({ timer }: CniLab, { plugins, namespaces, parallel, blocks = 1, repeat = 1 }: Plan): Promise<Samples> {
  const samples: Samples = { ADD: {}, DEL: {} }
  const size = namespaces.length / blocks
  for (let round = 0; round < repeat; round++) {
    for (const command of ['ADD', 'DEL'] as const) {
      for (let block = 0; block < blocks; block++) {
        for (const plugin of plugins) {
          const jobs = namespaces
            .slice(block * size, (block + 1) * size)
            .map((netns, index) => cniJob(plugin, command, netns, `${plugin.name}-${round}-${block * size + index}`))
          samples[command][plugin.name] = [...(samples[command][plugin.name] ?? []), await timer(jobs, parallel)]
        }
      }
    }
  }
  return samples
}

function figures(one: Samples, many: Samples, crowd: Samples): Figure[] {
  const p50 = (verb: Verb, name: string) => median((one[verb][name] ?? []).flatMap(({ perJobMs }) => perJobMs).slice(warmUp))
  const rate = (verb: Verb, name: string) => median((many[verb][name] ?? []).map(({ perJobMs, totalMs }) => (perJobMs.length / totalMs) * 1000))
  const p99 = (name: string) => median((crowd.ADD[name] ?? []).map(({ perJobMs }) => quantile(perJobMs, 0.99)))
  const against = (rival: 'bridge' | 'ptp', of: (name: string) => number) => ({ ours: of('ours'), rival: of(rival), rivalName: `${rival} + host-local` })
  const bridge = (of: (name: string) => number) => against('bridge', of)
  return [
    figure({ id: 'cni-add', what: 'CNI ADD, whole process, p50, heddle up', unit: 'ms', ...bridge((name) => p50('ADD', name)) }),
    figure({ id: 'cni-add-ptp', what: 'the same against a plugin without bridge', unit: 'ms', ...against('ptp', (name) => p50('ADD', name)) }),
    figure({ id: 'cni-del', what: 'CNI DEL, whole process, p50, heddle up', unit: 'ms', ...bridge((name) => p50('DEL', name)) }),
    figure({ id: 'cni-add-16', what: 'CNI ADD, 16 in parallel, heddle up', unit: 'calls/s', ...bridge((name) => rate('ADD', name)) }),
    figure({ id: 'cni-del-16', what: 'CNI DEL, 16 in parallel, heddle up', unit: 'calls/s', ...bridge((name) => rate('DEL', name)) }),
    figure({ id: 'cni-burst-100', what: `${burst} CNI ADDs started at once, p99 of each, heddle up`, unit: 'ms', ...bridge(p99) }),
  ]
}
