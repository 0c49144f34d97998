/**
 * Addresses that the swarm's manager holds for its tasks and services. It asks for each before it knows the node, and releases
 * it when the task is gone; the node asks for the same address again, and releases it too. So the manager's request is a
 * durable claim of its own, and a node's request for an address that has one is answered from it.
 */

import type { Claim, Network } from '@heddle/contract'
import { allPages, type Call, HeddleError, isSwarmOwner, randomId, swarmOwner } from '@heddle/core'
import { contains, parseIp, parsePrefix } from '@heddle/net'
import type { FlowParts } from '../flows/parts.ts'
import { claimKey } from './known-endpoints.ts'

/** swarmkit sets it in every request of its allocator, and nobody else does (ipamapi.AllocSerialPrefix). */
const serialLabel = 'com.docker.network.ipam.serial'

export function isOfManager(options: Readonly<Record<string, string>>): boolean {
  return options[serialLabel] === 'true'
}

export class SwarmAddresses {
  readonly #parts: Pick<FlowParts, 'cluster'>

  constructor(parts: Pick<FlowParts, 'cluster'>) {
    this.#parts = parts
  }

  /** Repeatable for a named address: a new leader asks for all of them again. Fails with address-taken, pool-exhausted. */
  async hold(poolId: string, address: string, call: Call): Promise<Claim> {
    const { ipam, host } = this.#parts.cluster
    const chosen = address || (await this.#choose(poolId, call))
    const { allocations } = await ipam.adopt({ owner: swarmOwner(poolId, chosen), host, addresses: [{ poolIds: [poolId], address: chosen }] }, call)
    const claim = allocations[0]?.claim
    if (claim === undefined) throw new HeddleError('internal', 'ipam answered no claim')
    return claim
  }

  /** Undefined: the manager does not hold it. */
  async find(poolId: string, address: string, call: Call): Promise<Claim | undefined> {
    return (await this.#parts.cluster.ipam.listClaims({ owner: swarmOwner(poolId, address) }, call)).claims[0]
  }

  /** The manager's claim of each address, or undefined when it does not hold all of them. Addresses may have a length. */
  async findAll(network: Network, addresses: readonly string[], call: Call): Promise<Claim[] | undefined> {
    const claims = await Promise.all(placesOf(network, addresses).map(({ poolId, address }) => this.find(poolId, address, call)))
    const found = claims.flatMap((claim) => claim ?? [])
    return found.length === addresses.length ? found : undefined
  }

  async free(poolId: string, address: string, call: Call): Promise<void> {
    await this.#parts.cluster.ipam.release({ owner: swarmOwner(poolId, address) }, call)
  }

  /** What a manager that is gone never released. */
  async freeAll(network: Network, call: Call): Promise<void> {
    const { ipam } = this.#parts.cluster
    for (const { poolId } of network.pools) {
      const claims = await allPages(
        (pageToken) => ipam.listClaims({ poolId, pageToken }, call),
        (page) => page.claims,
      )
      await Promise.all(claims.filter(({ owner }) => isSwarmOwner(owner)).map(({ owner }) => ipam.release({ owner }, call)))
    }
  }

  /** Provisional, so that it does not stay when the claim for good is never made. */
  async #choose(poolId: string, call: Call): Promise<string> {
    const { ipam, host } = this.#parts.cluster
    const request = { owner: `docker:${host}:${randomId()}`, host, wants: [{ poolIds: [poolId], address: '' }], provisional: true }
    const claim = (await ipam.allocate(request, call)).allocations[0]?.claim
    if (claim === undefined) throw new HeddleError('internal', 'ipam answered no claim')
    return claim.address
  }
}

/** As `claimKey` has them: what Docker will release for an endpoint with these addresses. */
export function keysOf(network: Network, addresses: readonly string[]): string[] {
  return placesOf(network, addresses).map(claimKey)
}

function placesOf(network: Network, addresses: readonly string[]): { readonly poolId: string; readonly address: string }[] {
  return addresses.flatMap((text) => {
    const address = text.split('/', 1)[0] ?? ''
    const pool = network.pools.find(({ prefix }) => contains(parsePrefix(prefix), parseIp(address)))
    return pool === undefined ? [] : [{ poolId: pool.poolId, address }]
  })
}
