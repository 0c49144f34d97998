/** Replicas of ipam in one process, on one store; calls go through the handlers as they come from the bus, but at once. */
import type { Handlers } from '@heddle/bus'
import { type AllocateRequest, IpamDefinition, type MethodDefinition } from '@heddle/contract'
import { type Call, type Clock, systemClock, withCall } from '@heddle/core'
import { MemoryStore, type Store } from '@heddle/store'
import { ipamHandlers } from '../handlers.ts'
import { IpamRepo } from '../repo.ts'

type Ipam = Handlers<typeof IpamDefinition>
type Methods = (typeof IpamDefinition)['methods']

export interface Replica {
  readonly repo: IpamRepo
  readonly handlers: Ipam
}

export async function startReplica(store: Store, clock: Clock = systemClock, random: () => number = Math.random): Promise<Replica> {
  const repo = new IpamRepo(store, clock, { error() {} })
  await repo.ready
  return { repo, handlers: ipamHandlers({ repo, random }) }
}

/** Calls a method with a request as a caller writes it: what is left out has its default. */
export function call<M extends keyof Methods>(replica: Replica, method: M, request: object, timeoutMs = 10_000): Promise<Awaited<ReturnType<Ipam[M]>>> {
  const definition: MethodDefinition = IpamDefinition.methods[method]
  const handler = replica.handlers[method] as (request: unknown, call: Call) => ReturnType<Ipam[M]>
  return withCall({ timeoutMs }, (within) => handler(definition.requestType.fromPartial(request), within)) as Promise<Awaited<ReturnType<Ipam[M]>>>
}

export interface Got {
  readonly address: string
  readonly poolId: string
  readonly gateway: string
  readonly revision: bigint
}

/** Claims by the usual request; `wants` are pool ids or `[pool id, address]`. */
export async function allocate(
  replica: Replica,
  owner: string,
  wants: readonly (string | readonly [string, string])[],
  extra: Partial<AllocateRequest> = {},
  timeoutMs = 10_000,
): Promise<Got[]> {
  const request = {
    owner,
    host: 'h1',
    wants: wants.map((want) => (typeof want === 'string' ? { poolIds: [want] } : { poolIds: [want[0]], address: want[1] })),
    ...extra,
  }
  const { allocations } = await call(replica, 'allocate', request, timeoutMs)
  return (allocations ?? []).map(({ claim, gateway }) => ({
    address: claim?.address ?? '',
    poolId: claim?.poolId ?? '',
    gateway: gateway ?? '',
    revision: claim?.revision ?? 0n,
  }))
}

export async function createPool(replica: Replica, prefix: string, extra: object = {}): Promise<string> {
  const { pool } = await call(replica, 'createPool', { pool: { space: 'blue', prefix, ...extra } })
  return pool?.id ?? ''
}

/** One replica on a store in memory. */
export async function single(): Promise<Replica & { readonly store: MemoryStore }> {
  const store = new MemoryStore()
  return { ...(await startReplica(store)), store }
}
