/**
 * Networks as last read, by name and by Docker alias. A hint, not truth: PutEndpoint's transaction proves that the
 * network still exists, and a flow that is told otherwise forgets the entry and asks again.
 */
import type { Network } from '@heddle/contract'
import { type Call, HeddleError } from '@heddle/core'
import type { Cluster } from '../cluster.ts'

const maxEntries = 1024

export class NetworkDirectory {
  readonly #cluster: Cluster
  /** Keyed `name:<name>` and `alias:<alias>`. */
  readonly #known = new Map<string, Network>()

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /** Fails with network-unknown. */
  byName(name: string, call: Call): Promise<Network> {
    return this.#find(`name:${name}`, { name }, call)
  }

  /** Fails with network-unknown. */
  byAlias(alias: string, call: Call): Promise<Network> {
    return this.#find(`alias:${alias}`, { alias }, call)
  }

  peek(name: string): Network | undefined {
    return this.#known.get(`name:${name}`)
  }

  learn(network: Network, alias?: string): void {
    if (this.#known.size >= maxEntries) this.#known.clear()
    this.#known.set(`name:${network.name}`, network)
    if (alias !== undefined) this.#known.set(`alias:${alias}`, network)
  }

  forget(network: Pick<Network, 'id' | 'name'>): void {
    for (const [key, known] of this.#known) {
      if (known.id === network.id || known.name === network.name) this.#known.delete(key)
    }
  }

  forgetAlias(alias: string): void {
    this.#known.delete(`alias:${alias}`)
  }

  async #find(key: string, query: { name?: string; alias?: string }, call: Call): Promise<Network> {
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const { network } = await this.#cluster.networks.getNetwork(query, call)
    if (network === undefined) throw new HeddleError('internal', 'networks answered no network')
    this.learn(network, query.alias)
    return network
  }
}

/** The network, or undefined when there is none; every other failure is thrown. */
export async function orUnknown<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise
  } catch (error) {
    if (HeddleError.from(error).code === 'network-unknown') return undefined
    throw error
  }
}
