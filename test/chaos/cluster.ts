/**
 * A cluster to hurt: one NATS, one etcd, two hosts as network namespaces, every process one that can be killed and started
 * again. Each service is a process of its own, but for the second host's, which share one as on a host that is really run.
 * Container runtimes are played by the real CNI launcher.
 */
import { join, resolve } from 'node:path'
import {
  cniRuntime,
  createUnderlay,
  type HeddleProcess,
  type Lab,
  run,
  type ServerHandle,
  startEtcd,
  startHeddle,
  startNats,
  type UnderlayHost,
} from '@heddle/testkit'
import { remains } from './remains.ts'

export interface Member {
  readonly name: string
  /** SIGKILL, then the same services again on the same files; resolves when they are ready. */
  restart(): Promise<void>
  current(): HeddleProcess
}

export interface ChaosHost {
  readonly name: string
  readonly netns: string
  readonly cni: ReturnType<typeof cniRuntime>
  /** Path of the fabric namespace. */
  readonly fabric: string
}

export interface ChaosCluster {
  readonly nats: ServerHandle
  readonly etcd: ServerHandle
  readonly members: readonly Member[]
  /** Gateway and netns-wiring apart, and together. */
  readonly hosts: readonly [ChaosHost, ChaosHost]
  /** One that is there now. */
  gateway(): HeddleProcess
  /** What of any network is in etcd or a kernel; waits so long for it to go. */
  remains(withinMs: number): Promise<string[]>
  /** A sandbox: a network namespace, removed with the laboratory. */
  sandbox(name: string): Promise<string>
}

export const cniConfig = { cniVersion: '1.1.0', name: 'chaos', type: 'heddle' }
/** A call that takes longer has outlived its deadline. */
export const cniTimeoutMs = 6_000

const launcher = resolve(import.meta.dirname, '../../deploy/cni-launcher/heddle-cni')
/** Short graces, so that a test sees the sweeps work. An ADD takes a second at most here. */
const graceMs = 12_000
const sweeps = {
  ipam: { sweepIntervalMs: 1_000, graceMs, provisionalGraceMs: graceMs },
  networks: { sweepIntervalMs: 1_000, graceMs, reservedGraceMs: graceMs },
  wiring: { underlay: { interface: 'eth0' }, reconcileMs: 2_000, orphanGraceMs: graceMs, lingerMs: 1_000 },
  gateway: { cni: { timeoutMs: cniTimeoutMs } },
}

export async function startCluster({ scope, dir }: Lab): Promise<ChaosCluster> {
  const underlay = createUnderlay({ hosts: 2, reachable: true })
  scope.defer('underlay', () => underlay.remove())
  const nats = await startNats({ address: underlay.gateway })
  scope.defer('nats', () => nats.stop())
  const etcd = await startEtcd({ address: underlay.gateway })
  scope.defer('etcd', () => etcd.stop())
  const start = async (name: string, services: readonly string[], host: string, netns?: string): Promise<Member> => {
    const launch = () =>
      startHeddle(scope, {
        ...{ host, dir: join(dir, name), services, nats: [nats.url], etcd: [etcd.url], config: sweeps },
        ...(netns === undefined ? {} : { netns }),
      })
    let process = await launch()
    return {
      name,
      current: () => process,
      async restart() {
        await process.kill()
        process = await launch()
      },
    }
  }
  const brains = await Promise.all(['ipam', 'networks', 'overlay', 'vf-allocator'].map((service) => start(service, [service], 'control')))
  /** `parts`: which services share a process; the gateway is of the first. */
  const startHost = async ({ path: netns }: UnderlayHost, name: string, parts: readonly (readonly string[])[]) => {
    const members = await Promise.all(parts.map((services) => start(`${name}-${services[0]}`, services, name, netns)))
    const [door, hands] = [members[0], members.at(-1)] as [Member, Member]
    const cni = cniRuntime(launcher, { HEDDLE_CNI_SOCKET: door.current().cniSocket })
    return { members, door, host: { name, netns, cni, fabric: join(hands.current().runDir, 'netns/fabric') } }
  }
  const [first, second] = underlay.hosts as [UnderlayHost, UnderlayHost]
  const apart = await startHost(first, 'apart', [['gateway'], ['netns-wiring']])
  const together = await startHost(second, 'together', [['gateway', 'netns-wiring']])
  const hosts = [apart.host, together.host] as const
  await apart.door.current().cli(['network', 'create', cniConfig.name, '--subnet', '10.66.0.0/24', '--subnet', 'fd66::/64'])
  return {
    nats,
    etcd,
    members: [...brains, ...apart.members, ...together.members],
    hosts,
    gateway: () => apart.door.current(),
    remains: (withinMs) => remains(etcd.url, hosts, withinMs),
    async sandbox(name) {
      const namespace = `hdc-${process.pid}-${name}`
      scope.defer(`sandbox ${name}`, () => run(['ip', 'netns', 'delete', namespace]))
      await run(['ip', 'netns', 'add', namespace])
      return `/run/netns/${namespace}`
    },
  }
}
