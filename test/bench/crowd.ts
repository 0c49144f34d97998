/**
 * What becomes of an ADD where much is there already: 2,000 endpoints on one host, then 2,000 published ports, each against the
 * same ADD on the host that has none. The rival is the first of them. When all are removed, nothing may be left of them.
 */
import { type Lab, run, withLab } from '@heddle/testkit'
import { type CniLab, cniJob, type Plugin, startCniLab, type Verb } from './cni-lab.ts'
import type { Job } from './exec-timer.ts'
import { figure, median, type Suite } from './figures.ts'

const endpoints = 2_000
/** A bridge has room for 1,023 ports (BR_MAX_PORTS of the kernel), so they are on several. */
const networks = 4
const measured = 100
const warmUps = 500
const ports = 2_000
const portsEach = 100
const portAdds = 40
const parallel = 16

export const crowdSuite: Suite = {
  ids: ['endpoints-2000', 'published-port-2000'],
  run: (progress) =>
    withLab(async (lab: Lab) => {
      const cni = await startCniLab(lab)
      const names = Array.from({ length: networks }, (_, index) => `bench${index}`)
      for (const [index, name] of names.entries()) await cni.heddle.cli(['network', 'create', name, '--kind', 'bridge', '--subnet', `10.${90 + index}.0.0/16`])
      progress(`${endpoints} sandboxes`)
      const sandboxes = await cni.sandboxes(endpoints)
      // A daemon in use, as for the other calls: the first of a process's life are slow whatever is there.
      await warmUp(
        cni,
        names.map((name) => cni.ours(name)),
        sandboxes.slice(0, warmUps),
      )
      const before = await left(cni)
      const crowded = await crowd(
        cni,
        names.map((name) => cni.ours(name)),
        sandboxes,
        progress,
      )
      const published = await publish(cni, sandboxes, progress)
      const after = await left(cni)
      if (after !== before) throw new Error(`something is left of endpoints that were removed: before ${before}, after ${after}`)
      return [
        figure({
          id: 'endpoints-2000',
          what: `CNI ADD with ${endpoints} endpoints on the host, p50 of ${measured}`,
          unit: 'ms',
          ...crowded,
          rivalName: `the first ${measured}`,
        }),
        figure({
          id: 'published-port-2000',
          what: `CNI ADD with a published port, ${ports} being there, p50`,
          unit: 'ms',
          ...published,
          rivalName: 'with none there',
        }),
      ]
    }),
}

async function warmUp(cni: CniLab, plugins: readonly Plugin[], sandboxes: readonly string[]): Promise<void> {
  for (const verb of ['ADD', 'DEL'] as const) await cni.timer(jobs(plugins, verb, sandboxes), parallel)
}

async function crowd(cni: CniLab, plugins: readonly Plugin[], sandboxes: readonly string[], progress: (line: string) => void) {
  progress(`${endpoints} endpoints`)
  const all = jobs(plugins, 'ADD', sandboxes)
  const first = await cni.timer(all.slice(0, measured), 1)
  await cni.timer(all.slice(measured, -measured), parallel)
  const last = await cni.timer(all.slice(-measured), 1)
  progress(`${endpoints} endpoints removed`)
  await cni.timer(jobs(plugins, 'DEL', sandboxes), parallel)
  return { ours: median(last.perJobMs), rival: median(first.perJobMs) }
}

async function publish(cni: CniLab, sandboxes: readonly string[], progress: (line: string) => void) {
  const publishing = (from: number, count: number) =>
    cni.ours('bench0', {
      capabilities: { portMappings: true },
      runtimeConfig: { portMappings: Array.from({ length: count }, (_, index) => ({ hostPort: from + index, containerPort: 80, protocol: 'tcp' })) },
    })
  const few = Array.from({ length: portAdds }, (_, index) => publishing(1_000 + index, 1))
  const many = Array.from({ length: ports / portsEach }, (_, index) => publishing(2_000 + portsEach * index, portsEach))
  const each = async (verb: Verb) => (await cni.timer(jobs(few, verb, sandboxes.slice(0, portAdds)), 1)).perJobMs
  progress(`${ports} published ports`)
  const first = await each('ADD')
  await each('DEL')
  const holders = sandboxes.slice(portAdds, portAdds + many.length)
  await cni.timer(jobs(many, 'ADD', holders), 1)
  const last = await each('ADD')
  await each('DEL')
  await cni.timer(jobs(many, 'DEL', holders), 1)
  return { ours: median(last), rival: median(first) }
}

/** One call a sandbox, the plugins taking turns. */
function jobs(plugins: readonly Plugin[], verb: Verb, sandboxes: readonly string[]): Job[] {
  return sandboxes.map((netns, index) => cniJob(plugins[index % plugins.length] as Plugin, verb, netns, `${plugins[0]?.ifname}-${index}`))
}

/** What there is on the host and in etcd that an endpoint or a port could leave: links, elements of nftables, keys. */
async function left({ heddle, netns }: CniLab): Promise<string> {
  const within = (command: readonly string[], input = '') => run(['nsenter', `--net=${netns}`, ...command], { input })
  const links = (await within(['ip', '-brief', 'link'])).trim().split('\n').length
  const elements = (await within(['nft', 'list', 'ruleset'])).split('\n').length
  const everything = JSON.stringify({ key: 'AA==', range_end: 'AA==', count_only: true })
  const keys = JSON.parse(await within(['busybox', 'wget', '-qO-', '--post-data', everything, `${heddle.etcd[0]}/v3/kv/range`])).count as string
  return `${links} links, ${elements} lines of nftables, ${keys} keys`
}
