/** Reads and writes of this service's prefix: decisions of `domain/` against the store, answers from the mirror. */
import type { Endpoint, FenceOwner, Network } from '@heddle/contract'
import type { Call } from '@heddle/core'
import { type Compare, decide, Mirror, type Question, type Store } from '@heddle/store'
import type { Logger } from 'pino'
import { Directory, type EndpointFilter } from './domain/directory.ts'
import { describe } from './domain/endpoint.ts'
import { deleteEndpoint, fence, putEndpoint } from './domain/endpoint-decisions.ts'
import { bindAlias, createNetwork, networkInUse, unbindAlias } from './domain/network-decisions.ts'
import { type NetworkRef, read, readEndpoint, readNetwork } from './domain/records.ts'
import { keys, prefix, prefixes } from './keys.ts'

/** Longer than any attach takes: a claim older than this is recorded by nobody. */
const fenceTtlMs = 3_600_000

export class NetworksRepo {
  readonly #store: Store
  readonly #mirror: Mirror
  readonly #directory = new Directory()

  constructor(store: Store, logger: Logger) {
    this.#store = store
    this.#mirror = new Mirror(store, prefix, (key, record) => {
      try {
        this.#directory.set(key, record)
      } catch (error) {
        logger.error({ err: error, key }, 'a record in etcd cannot be read and is ignored; somebody wrote it by hand')
      }
    })
  }

  get ready(): Promise<void> {
    return this.#mirror.ready
  }

  close(): Promise<void> {
    return this.#mirror.close()
  }

  get networks(): Iterable<Network> {
    return this.#directory.networks
  }

  get hosts(): readonly string[] {
    return this.#directory.hosts
  }

  async networkById(id: string, call: Call): Promise<Network | undefined> {
    await this.#mirror.find(keys.network(id), call)
    return this.#directory.network(id)
  }

  async networkByName(name: string, call: Call): Promise<Network | undefined> {
    const id = this.#directory.networkIdOfName(name) ?? (await this.#refOf(keys.name(name), call))
    return id === undefined ? undefined : this.networkById(id, call)
  }

  async networkByAlias(alias: string, call: Call): Promise<Network | undefined> {
    const id = this.#directory.networkIdOfAlias(alias) ?? (await this.#refOf(keys.alias(alias), call))
    return id === undefined ? undefined : this.networkById(id, call)
  }

  async createNetwork(asked: Network, call: Call): Promise<{ network: Network; created: boolean }> {
    const { result, revision } = await this.#decide(createNetwork(asked), call)
    return { created: result.created, network: revision > 0n ? { ...result.network, revision } : result.network }
  }

  /** One transaction with "no key below": an endpoint recorded at the same time either keeps the network or finds it gone. */
  async deleteNetwork(id: string, call: Call): Promise<Network | undefined> {
    for (let network = await this.networkById(id, call); network !== undefined; ) {
      const write = [keys.network(id), keys.name(network.name)].map((key) => ({ delete: key }))
      const when: Compare[] = [
        { key: keys.network(id), is: 'at', modRevision: network.revision },
        { key: prefixes.endpointsOf(id), is: 'none-below' },
        { key: prefixes.aliasesOf(id), is: 'none-below' },
      ]
      const committed = await this.#store.commit({ when, write }, call)
      if (committed.succeeded) {
        this.#mirror.wrote(write, committed.revision)
        return network
      }
      await this.#refuseInUse(network, call)
      const now = await this.#store.get(keys.network(id), call)
      network = now && readNetwork(now)
    }
    return undefined
  }

  async bindAlias(alias: string, networkId: string, call: Call): Promise<void> {
    await this.#decide(bindAlias(alias, networkId, call.clock.timestamp()), call)
  }

  async unbindAlias(alias: string, call: Call): Promise<{ network: Network | undefined; aliasesLeft: number }> {
    const { result: networkId } = await this.#decide(unbindAlias(alias), call)
    if (networkId === undefined) return { network: undefined, aliasesLeft: 0 }
    const { records } = await this.#store.list(prefixes.aliasesOf(networkId), call)
    return { network: await this.networkById(networkId, call), aliasesLeft: records.length }
  }

  async putEndpoint(endpoint: Endpoint, claimRevision: bigint, call: Call): Promise<Endpoint> {
    const { result, revision } = await this.#decide(putEndpoint(endpoint, claimRevision, call.clock.timestamp()), call)
    return revision > 0n ? { ...result, revision } : result
  }

  /** By id also what another replica recorded a moment ago. */
  async endpoints(filter: EndpointFilter, call: Call): Promise<Endpoint[]> {
    if (filter.id !== '' && this.#directory.endpoint(filter.id) === undefined) {
      const networkId = await this.#refOf(keys.endpointIndex(filter.id), call)
      if (networkId !== undefined) await this.#mirror.find(keys.endpoint(networkId, filter.id), call)
    }
    return this.#directory.endpoints(filter)
  }

  async deleteEndpoint(id: string, call: Call, onlyAt?: bigint): Promise<Endpoint | undefined> {
    return (await this.#decide(deleteEndpoint(id, onlyAt), call)).result
  }

  /** Owners whose claims up to the given revision can never be recorded any more. */
  async fence(owners: readonly FenceOwner[], call: Call): Promise<string[]> {
    const candidates = owners.filter(({ owner }) => this.#directory.endpoint(owner) === undefined)
    if (candidates.length === 0) return []
    const lease = await this.#store.grantLease(fenceTtlMs, call)
    const now = call.clock.timestamp()
    const fenced = await Promise.all(candidates.map(({ owner, claimRevision }) => this.#decide(fence(owner, claimRevision, lease, now), call)))
    return candidates.filter((_, index) => fenced[index]?.result).map(({ owner }) => owner)
  }

  async #decide<T>(question: Question<T>, call: Call) {
    const decided = await decide(this.#store, { guess: (key) => this.#mirror.get(key), ...question }, call)
    this.#mirror.wrote(decided.write, decided.revision)
    return decided
  }

  async #refOf(key: string, call: Call): Promise<string | undefined> {
    const record = await this.#mirror.find(key, call)
    return record === undefined ? undefined : read<NetworkRef>(record).networkId
  }

  async #refuseInUse(network: Network, call: Call): Promise<void> {
    const [endpoints, aliases] = await Promise.all([
      this.#store.list(prefixes.endpointsOf(network.id), call),
      this.#store.list(prefixes.aliasesOf(network.id), call),
    ])
    if (endpoints.records.length + aliases.records.length === 0) return
    throw networkInUse(
      network,
      endpoints.records.map((record) => describe(readEndpoint(record))),
      aliases.records.map((record) => `alias ${record.key.slice(prefixes.aliasesOf(network.id).length)}`),
    )
  }
}
