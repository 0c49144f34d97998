/**
 * A cluster to hurt: one NATS, one etcd, each service a process of its own that can be killed and started again, two
 * hosts as network namespaces. Container runtimes are played by the real CNI launcher.
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

export interface Member {
  readonly name: string
  /** SIGKILL, then the same service again on the same files; resolves when it is ready. */
  restart(): Promise<void>
  current(): HeddleProcess
}

export interface ChaosHost {
  readonly name: string
  readonly netns: string
  readonly gateway: Member
  readonly wiring: Member
  readonly cni: ReturnType<typeof cniRuntime>
  /** Path of the fabric namespace. */
  readonly fabric: string
}

export interface ChaosCluster {
  readonly nats: ServerHandle
  readonly etcd: ServerHandle
  readonly members: readonly Member[]
  readonly hosts: readonly [ChaosHost, ChaosHost]
  /** A sandbox: a network namespace, removed with the laboratory. */
  sandbox(name: string): Promise<string>
}

const launcher = resolve(import.meta.dirname, '../../deploy/cni-launcher/heddle-cni')
/** Short graces, so that a test sees the sweeps work. An ADD takes a second at most here. */
export const graceMs = 12_000
const sweeps = {
  ipam: { sweepIntervalMs: 1_000, graceMs, provisionalGraceMs: graceMs },
  networks: { sweepIntervalMs: 1_000, graceMs, reservedGraceMs: graceMs },
  wiring: { underlay: { interface: 'eth0' }, reconcileMs: 2_000, orphanGraceMs: graceMs, lingerMs: 1_000 },
  gateway: { cni: { timeoutMs: 6_000 } },
}

export async function startCluster({ scope, dir }: Lab): Promise<ChaosCluster> {
  const underlay = createUnderlay({ hosts: 2, reachable: true })
  scope.defer('underlay', () => underlay.remove())
  const nats = await startNats({ address: underlay.gateway })
  scope.defer('nats', () => nats.stop())
  const etcd = await startEtcd({ address: underlay.gateway })
  scope.defer('etcd', () => etcd.stop())
  const start = async (name: string, service: string, host: string, netns?: string): Promise<Member> => {
    const launch = () =>
      startHeddle(scope, {
        ...{ host, dir: join(dir, name), services: [service], nats: [nats.url], etcd: [etcd.url], config: sweeps },
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
  const brains = await Promise.all(['ipam', 'networks', 'overlay'].map((service) => start(service, service, 'control')))
  const host = async ({ name }: UnderlayHost, index: number): Promise<ChaosHost> => {
    const netns = `/run/netns/${name}`
    const [wiring, gateway] = await Promise.all([start(`w${index}`, 'netns-wiring', `h${index}`, netns), start(`g${index}`, 'gateway', `h${index}`, netns)])
    const cni = cniRuntime(launcher, { HEDDLE_CNI_SOCKET: gateway.current().cniSocket })
    return { name: `h${index}`, netns, gateway, wiring, cni, fabric: join(wiring.current().runDir, 'netns/fabric') }
  }
  const [first, second] = underlay.hosts as [UnderlayHost, UnderlayHost]
  const hosts = [await host(first, 0), await host(second, 1)] as const
  return {
    nats,
    etcd,
    members: [...brains, ...hosts.flatMap(({ gateway, wiring }) => [gateway, wiring])],
    hosts,
    async sandbox(name) {
      scope.defer(`sandbox ${name}`, () => run(['ip', 'netns', 'delete', name]))
      await run(['ip', 'netns', 'add', name])
      return `/run/netns/${name}`
    },
  }
}
