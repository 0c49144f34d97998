/** Networks, aliases and endpoints in memory, found by each of their names. Fed record by record; can always be rebuilt. */
import type { Endpoint, Network } from '@heddle/contract'
import type { StoredRecord } from '@heddle/store'
import { prefixes } from '../keys.ts'
import { type NetworkRef, read, readEndpoint, readNetwork } from './records.ts'

export interface EndpointFilter {
  readonly id: string
  readonly networkId: string
  readonly host: string
}

export class Directory {
  readonly #networks = new Map<string, Network>()
  readonly #idsByName = new Map<string, string>()
  readonly #idsByAlias = new Map<string, string>()
  readonly #endpoints = new Map<string, Endpoint>()
  readonly #byNetwork = new Groups()
  readonly #byHost = new Groups()

  /** Takes the present record of a key, or its absence. Keys of other kinds are ignored. Throws on text that cannot be read. */
  set(key: string, record: StoredRecord | undefined): void {
    if (key.startsWith(prefixes.endpoints)) this.#setEndpoint(key.slice(key.lastIndexOf('/') + 1), record && readEndpoint(record))
    else if (key.startsWith(prefixes.networks)) this.#setNetwork(key.slice(prefixes.networks.length), record && readNetwork(record))
    else if (key.startsWith(prefixes.aliases)) {
      const alias = key.slice(prefixes.aliases.length)
      if (record === undefined) this.#idsByAlias.delete(alias)
      else this.#idsByAlias.set(alias, read<NetworkRef>(record).networkId)
    }
  }

  get networks(): Iterable<Network> {
    return this.#networks.values()
  }

  network(id: string): Network | undefined {
    return this.#networks.get(id)
  }

  networkIdOfName(name: string): string | undefined {
    return this.#idsByName.get(name)
  }

  networkIdOfAlias(alias: string): string | undefined {
    return this.#idsByAlias.get(alias)
  }

  endpoint(id: string): Endpoint | undefined {
    return this.#endpoints.get(id)
  }

  /** Hosts that have endpoints. */
  get hosts(): readonly string[] {
    return this.#byHost.names
  }

  /** Each field narrows when not empty. */
  endpoints({ id, networkId, host }: EndpointFilter): Endpoint[] {
    const ids = id !== '' ? [id] : networkId !== '' ? this.#byNetwork.get(networkId) : host !== '' ? this.#byHost.get(host) : this.#endpoints.keys()
    const found: Endpoint[] = []
    for (const candidate of ids) {
      const endpoint = this.#endpoints.get(candidate)
      if (endpoint !== undefined && (networkId === '' || endpoint.networkId === networkId) && (host === '' || endpoint.host === host)) found.push(endpoint)
    }
    return found
  }

  #setNetwork(id: string, network: Network | undefined): void {
    const before = this.#networks.get(id)
    if (before !== undefined && this.#idsByName.get(before.name) === id) this.#idsByName.delete(before.name)
    if (network === undefined) this.#networks.delete(id)
    else {
      this.#networks.set(id, network)
      this.#idsByName.set(network.name, id)
    }
  }

  #setEndpoint(id: string, endpoint: Endpoint | undefined): void {
    const before = this.#endpoints.get(id)
    if (before !== undefined) {
      this.#byNetwork.remove(before.networkId, id)
      this.#byHost.remove(before.host, id)
    }
    if (endpoint === undefined) this.#endpoints.delete(id)
    else {
      this.#endpoints.set(id, endpoint)
      this.#byNetwork.add(endpoint.networkId, id)
      this.#byHost.add(endpoint.host, id)
    }
  }
}

class Groups {
  readonly #groups = new Map<string, Set<string>>()

  get names(): readonly string[] {
    return [...this.#groups.keys()]
  }

  get(name: string): Iterable<string> {
    return this.#groups.get(name) ?? []
  }

  add(name: string, id: string): void {
    const group = this.#groups.get(name)
    if (group === undefined) this.#groups.set(name, new Set([id]))
    else group.add(id)
  }

  remove(name: string, id: string): void {
    const group = this.#groups.get(name)
    group?.delete(id)
    if (group?.size === 0) this.#groups.delete(name)
  }
}
