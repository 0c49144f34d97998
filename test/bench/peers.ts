/**
 * From asking for an endpoint's record to be written until its last entry is in the kernel of every one of ten hosts: ten
 * netns-wiring processes on ten namespaces. The last of the three entries of a peer is its neighbour, and only with it is
 * the peer reached; `ip monitor` in each host's fabric namespace tells when it was there. The commit itself is counted too,
 * since nobody outside etcd knows its moment: the figure is an upper bound.
 */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { connectBus } from '@heddle/bus'
import { busServices, type Network } from '@heddle/contract'
import { hashId, macOf, withCall } from '@heddle/core'
import { createRuntime } from '@heddle/runtime'
import { createUnderlay, run, startHeddle, withLab } from '@heddle/testkit'
import { bars, figure, quantile, type Suite } from './figures.ts'

const hostCount = 10
const endpoints = 200
const warmUpsAtMost = 10
const launcher = resolve(import.meta.dirname, '../../deploy/cni-launcher/heddle-cni')

export const peersSuite: Suite = {
  ids: ['peers-programmed'],
  run: (progress) =>
    withLab(async ({ scope, dir }) => {
      const underlay = createUnderlay({ hosts: hostCount, reachable: true })
      scope.defer('underlay', () => underlay.remove())
      const control = await startHeddle(scope, {
        host: 'control',
        dir: join(dir, 'control'),
        services: ['brains', 'gateway'],
        config: { embedded: { listen: underlay.gateway } },
      })
      await control.cli(['network', 'create', 'bench', '--subnet', '10.97.0.0/16'])
      const seen = new Sightings()
      for (const [index, host] of underlay.hosts.entries()) {
        const netns = `/run/netns/${host.name}`
        const heddle = await startHeddle(scope, {
          host: `h${index}`,
          netns,
          dir: join(dir, `h${index}`),
          services: ['host'],
          nats: control.nats,
          config: { wiring: { underlay: { interface: 'eth0' } } },
        })
        await attachOne(scope, dir, `hdp${process.pid}-${index}`, heddle.cniSocket)
        watchNeighbours(scope, join(heddle.runDir, 'netns/fabric'), (address, atMs) => seen.add(address, index, atMs))
      }
      progress(`${hostCount} hosts with an endpoint each; recording ${endpoints} more`)
      const runtime = createRuntime({ name: 'bench', host: 'bench', version: 'bench', log: { level: 'error', pretty: true } })
      await runtime.start()
      const bus = await connectBus({ servers: control.nats, name: 'bench', logger: runtime.logger })
      const networks = bus.client(busServices.networks)
      const latenciesMs: number[] = []
      try {
        const { network } = await withCall({ timeoutMs: 5_000 }, (call) => networks.getNetwork({ name: 'bench' }, call))
        // On a host of its own that nobody is: all ten hosts are peers of it.
        await withCall({ timeoutMs: 5_000 }, (call) =>
          bus.client(busServices.overlay).registerHost({ host: { name: 'elsewhere', vtep: underlay.gateway, underlayMtu: 1500, epoch: 'bench' } }, call),
        )
        const record = async (index: number): Promise<number | undefined> => {
          const id = hashId('bench', String(index))
          const address = `10.97.200.${index}`
          const askedMs = performance.timeOrigin + performance.now()
          await withCall({ timeoutMs: 5_000, key: id }, (call) =>
            networks.putEndpoint({ endpoint: endpoint(network as Network, id, address), claimRevision: 1n << 60n }, call),
          )
          for (let waited = 0; seen.hosts(address) < hostCount && waited < 2_000; waited += 5) await delay(5)
          return seen.hosts(address) < hostCount ? undefined : seen.lastMs(address) - askedMs
        }
        // The first may come before a monitor listens.
        let index = 1
        while ((await record(index++)) === undefined) if (index > warmUpsAtMost) throw new Error('not every host of the network hears of a new endpoint')
        while (latenciesMs.length < endpoints) {
          const latencyMs = await record(index++)
          if (latencyMs === undefined) throw new Error(`endpoint ${index - 1} was not on all of ${hostCount} hosts within 2 s`)
          latenciesMs.push(latencyMs)
        }
      } finally {
        await bus.close()
        await runtime.stop()
      }
      progress(
        `p50 ${quantile(latenciesMs, 0.5).toFixed(1)} ms, p90 ${quantile(latenciesMs, 0.9).toFixed(1)} ms, max ${Math.max(...latenciesMs).toFixed(1)} ms`,
      )
      return [
        figure({
          id: 'peers-programmed',
          what: `new endpoint, from the request to the kernel of all of ${hostCount} hosts, p99`,
          unit: 'ms',
          ours: quantile(latenciesMs, 0.99),
          rival: bars['peers-programmed']?.value ?? 0,
          rivalName: 'the limit we set',
        }),
      ]
    }),
}

/** When each host had an address's entry first; a second notification of one host is not another host. */
class Sightings {
  readonly #of = new Map<string, Map<number, number>>()

  add(address: string, host: number, atMs: number): void {
    const hosts = this.#of.get(address) ?? new Map<number, number>()
    this.#of.set(address, hosts)
    if (!hosts.has(host)) hosts.set(host, atMs)
  }

  hosts(address: string): number {
    return this.#of.get(address)?.size ?? 0
  }

  lastMs(address: string): number {
    return Math.max(...(this.#of.get(address)?.values() ?? []))
  }
}

function endpoint(network: Network, id: string, address: string) {
  return {
    id,
    networkId: network.id,
    networkName: network.name,
    host: 'elsewhere',
    state: 'wired',
    mac: macOf(id),
    addresses: [`${address}/16`],
    runtime: 'cni',
    containerId: id,
    interfaceName: 'eth0',
    sandbox: '/run/netns/elsewhere',
  }
}

/** One local endpoint, so that the host takes part in the network. */
async function attachOne(scope: { defer(what: string, run: () => Promise<unknown>): void }, dir: string, name: string, socket: string): Promise<void> {
  scope.defer(`sandbox ${name}`, () => run(['ip', 'netns', 'delete', name]))
  await run(['ip', 'netns', 'add', name])
  const config = JSON.stringify({ cniVersion: '1.0.0', name: 'bench', type: 'heddle' })
  writeFileSync(join(dir, 'net.json'), config)
  await run([launcher], {
    input: config,
    env: {
      CNI_COMMAND: 'ADD',
      CNI_CONTAINERID: name,
      CNI_NETNS: `/run/netns/${name}`,
      CNI_IFNAME: 'eth0',
      CNI_PATH: '/usr/lib/cni',
      HEDDLE_CNI_SOCKET: socket,
    },
  })
}

/** `ip -tshort monitor neigh`: `[2026-01-02T03:04:05.678901] 10.0.0.1 dev hb... lladdr aa:bb:... PERMANENT`. */
function watchNeighbours(scope: { defer(what: string, run: () => void): void }, netns: string, onEntry: (address: string, atMs: number) => void): void {
  const child = spawn('nsenter', [`--net=${netns}`, 'setpriv', '--pdeathsig', 'KILL', 'ip', '-tshort', 'monitor', 'neigh'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, TZ: 'UTC' },
  })
  scope.defer('neighbour monitor', () => void child.kill())
  createInterface({ input: child.stdout }).on('line', (line) => {
    const match = /^\[([^\]]+)\] (\S+) dev \S+ lladdr \S+ PERMANENT/.exec(line)
    if (match?.[1] !== undefined && match[2] !== undefined) onEntry(match[2], preciseMs(match[1]))
  })
}

/** Unix milliseconds with their fraction of a time with microseconds. */
function preciseMs(text: string): number {
  const [seconds, micros] = text.split('.')
  return Date.parse(`${seconds}Z`) + Number(micros) / 1000
}
