/**
 * A network of several subnets of one family. Docker goes on to the next pool only for an error that no plugin can send
 * (libnetwork's ErrNoAvailableIPs), so a pool that is full is answered for by the network's others. Docker takes the address
 * as it is, and releases it from the pool it had asked.
 */
import type { Claim } from '@heddle/contract'
import { allPages, type Call } from '@heddle/core'
import type { FlowParts } from '../flows/parts.ts'
import { familyOf, poolIdsOf } from '../flows/plan.ts'
import { claimKey } from './known-endpoints.ts'

const maxEntries = 4096

export class Overflow {
  readonly #parts: FlowParts
  /** Pool of a claim by what Docker will release: `<pool it asked> <address>`. A hint: what a restart forgets, the sweeps release. */
  readonly #pools = new Map<string, string>()

  constructor(parts: FlowParts) {
    this.#parts = parts
  }

  /** The pools of the same network and family; none for a pool that is alone or no network's yet. */
  async beside(poolId: string, call: Call): Promise<string[]> {
    const networks = await allPages(
      (pageToken) => this.#parts.cluster.networks.listNetworks({ pageToken }, call),
      (page) => page.networks,
    )
    for (const network of networks) {
      const own = network.pools.find((pool) => pool.poolId === poolId)
      if (own !== undefined) return poolIdsOf(network, familyOf(own.prefix)).filter((id) => id !== poolId)
    }
    return []
  }

  learn(askedPoolId: string, claim: Pick<Claim, 'poolId' | 'address'>): void {
    if (this.#pools.size >= maxEntries) this.#pools.clear()
    this.#pools.set(claimKey({ poolId: askedPoolId, address: claim.address }), claim.poolId)
  }

  /** Where an address that Docker releases from a pool is in truth. */
  take(askedPoolId: string, address: string): string {
    const key = claimKey({ poolId: askedPoolId, address })
    const poolId = this.#pools.get(key) ?? askedPoolId
    this.#pools.delete(key)
    return poolId
  }
}
