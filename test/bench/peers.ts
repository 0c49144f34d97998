/**
 * From the commit of an endpoint's record to its entry in the kernel of every one of ten hosts: ten netns-wiring processes
 * on ten namespaces; `bridge monitor fdb` on each host's fabric namespace tells when the entry was there.
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
      const seen = new Map<string, number[]>()
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
        watchFdb(scope, join(heddle.runDir, 'netns/fabric'), (mac, atMs) => seen.get(mac)?.push(atMs))
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
        for (let index = 0; index < endpoints; index++) {
          const id = hashId('bench', String(index))
          const mac = macOf(id)
          seen.set(mac, [])
          await withCall({ timeoutMs: 5_000, key: id }, (call) =>
            networks.putEndpoint({ endpoint: endpoint(network as Network, id, mac, index), claimRevision: 1n << 60n }, call),
          )
          const committedMs = performance.timeOrigin + performance.now()
          for (let waited = 0; (seen.get(mac)?.length ?? 0) < hostCount && waited < 2_000; waited += 5) await delay(5)
          const at = seen.get(mac) ?? []
          if (at.length < hostCount) throw new Error(`endpoint ${index} reached ${at.length} of ${hostCount} hosts within 2 s`)
          latenciesMs.push(Math.max(0, Math.max(...at) - committedMs))
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
          what: `new endpoint in the kernel of all of ${hostCount} hosts, p99`,
          unit: 'ms',
          ours: quantile(latenciesMs, 0.99),
          rival: bars['peers-programmed']?.value ?? 0,
          rivalName: 'the limit we set',
        }),
      ]
    }),
}

function endpoint(network: Network, id: string, mac: string, index: number) {
  return {
    id,
    networkId: network.id,
    networkName: network.name,
    host: 'elsewhere',
    state: 'wired',
    mac,
    addresses: [`10.97.200.${index + 1}/16`],
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

/** `bridge -timestamp monitor fdb`: `[2026-01-02T03:04:05.678901] aa:bb:... dev hx... dst 10.0.0.1 self permanent`. */
function watchFdb(scope: { defer(what: string, run: () => void): void }, netns: string, onEntry: (mac: string, atMs: number) => void): void {
  const child = spawn('nsenter', [`--net=${netns}`, 'setpriv', '--pdeathsig', 'KILL', 'bridge', '-timestamp', 'monitor', 'fdb'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, TZ: 'UTC' },
  })
  scope.defer('fdb monitor', () => void child.kill())
  createInterface({ input: child.stdout }).on('line', (line) => {
    const match = /^\[([^\]]+)\] ([0-9a-f:]{17}) dev \S+ .*\bself\b/.exec(line)
    if (match?.[1] !== undefined && match[2] !== undefined && !line.includes('Deleted')) onEntry(match[2], preciseMs(match[1]))
  })
}

/** Unix milliseconds with their fraction of a time with microseconds. */
function preciseMs(text: string): number {
  const [seconds, micros] = text.split('.')
  return Date.parse(`${seconds}Z`) + Number(micros) / 1000
}
