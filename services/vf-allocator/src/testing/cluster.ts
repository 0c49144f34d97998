/** Replicas of vf-allocator in one process, on one store; calls go through the handlers as they come from the bus, but at once. Tests only. */
import type { Handlers } from '@heddle/bus'
import { type MethodDefinition, Pf, Vf, type VfAllocatorClaimRequest, VfAllocatorDefinition, type VfClaim, VfSettings } from '@heddle/contract'
import { type Call, type Clock, systemClock, withCall } from '@heddle/core'
import { MemoryStore, type Store, type WatchListener } from '@heddle/store'
import { vfAllocatorHandlers } from '../handlers.ts'
import type { NetworkList } from '../pools.ts'
import { VfRepo } from '../repo.ts'

type VfAllocator = Handlers<typeof VfAllocatorDefinition>
type Methods = (typeof VfAllocatorDefinition)['methods']

export interface Replica {
  readonly repo: VfRepo
  readonly handlers: VfAllocator
}

const noNetworks: NetworkList = { listNetworks: async () => ({ networks: [], nextPageToken: '' }) }

export async function startReplica(store: Store, clock: Clock = systemClock, networks = noNetworks): Promise<Replica> {
  const repo = new VfRepo(store, clock)
  await repo.ready
  return { repo, handlers: vfAllocatorHandlers({ repo, networks, random: Math.random }) }
}

/** One replica on a store in memory, with what a host of two cards has reported. */
export async function single(clock: Clock = systemClock, networks = noNetworks): Promise<Replica & { readonly store: MemoryStore }> {
  const store = new MemoryStore(clock)
  const replica = await startReplica(store, clock, networks)
  await report(replica)
  return { ...replica, store }
}

/** The same store for a replica whose watch brings nothing after the first listing. */
export function deafTo(store: Store): Store {
  return new Proxy(store, {
    get(target, name) {
      if (name === 'watch') return (prefix: string, listener: WatchListener) => target.watch(prefix, { onSnapshot: listener.onSnapshot, onBatch() {} })
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** Calls a method with a request as a caller writes it: what is left out has its default. */
export function call<M extends keyof Methods>(replica: Replica, method: M, request: object): Promise<Awaited<ReturnType<VfAllocator[M]>>> {
  const definition: MethodDefinition = VfAllocatorDefinition.methods[method]
  const handler = replica.handlers[method] as (request: unknown, call: Call) => ReturnType<VfAllocator[M]>
  return withCall({ timeoutMs: 10_000 }, (within) => handler(definition.requestType.fromPartial(request), within)) as Promise<
    Awaited<ReturnType<VfAllocator[M]>>
  >
}

export async function claim(replica: Replica, owner: string, request: Partial<VfAllocatorClaimRequest> = {}): Promise<VfClaim> {
  const { vf } = await call(replica, 'claim', { owner, host: 'a', ...request })
  return vf?.claim as VfClaim
}

export const pristine = VfSettings.fromPartial({ mac: '00:00:00:00:00:00', vlan: 0, spoofchk: true, trust: false, linkState: 'auto' })

/** Two PFs, of four VFs each unless said otherwise, on NUMA nodes 0 and 1. */
export const pfs = (vfs = 4): Pf[] =>
  [0, 1].map((index) =>
    Pf.fromPartial({
      pci: `0000:3b:00.${index}`,
      names: [`eth${index}`],
      vendor: '8086',
      device: '10c9',
      driver: 'igb',
      numaNode: index,
      linkType: 'ether',
      totalVfs: 7,
      numVfs: vfs,
      eswitchMode: 'legacy',
    }),
  )

export const pciOf = (pf: number, index: number) => `0000:3b:1${pf}.${index}`

/** As the hands report it: a proposal of a baseline, and no knowledge of what is recorded. */
export function vf(pf: number, index: number, change: object = {}): Vf {
  const [name, mac, driver] = [`eth${pf}v${index}`, `02:00:00:00:0${pf}:0${index}`, 'igbvf']
  return Vf.fromPartial({
    pci: pciOf(pf, index),
    pf: `0000:3b:00.${pf}`,
    index,
    vendor: '8086',
    device: '10ca',
    driver,
    name,
    mac,
    numaNode: pf,
    linkType: 'ether',
    generation: `boot:${pf}${index}`,
    settings: pristine,
    state: 'new',
    baseline: { settings: pristine, name, mac, driver },
    ...change,
  })
}

export const vfs = (count = 4): Vf[] => [0, 1].flatMap((pf) => Array.from({ length: count }, (_, index) => vf(pf, index)))

export async function report(replica: Replica, change: object = {}) {
  return call(replica, 'report', { host: 'a', epoch: 'first', pfs: pfs(), vfs: vfs(), ...change })
}
