/**
 * Who is called what: `NAME.NETWORK.ZONE` is the addresses of the containers of that name on that network, whichever runtime
 * made them. A container is called by its name, by its other names and, in Docker, by the beginning of its id; a pod by
 * `POD.NAMESPACE` and by `POD` alone.
 */
import type { Endpoint } from '@heddle/contract'
import { allPages, type Call, type Clock, HeddleError } from '@heddle/core'
import type { Cluster } from '../cluster.ts'
import type { FlowParts } from '../flows/parts.ts'
import { familyOf } from '../flows/plan.ts'

/** Containers that ask for each other in a loop must not have the brains list a network for each question. */
const keptMs = 1000
const maxKept = 256

/** Bare addresses of both families, by name. */
type Book = ReadonlyMap<string, readonly string[]>

export class Names {
  readonly #networks: Cluster['networks']
  readonly #clock: Clock
  readonly #zone: string
  /** By name of the network; undefined where there is none. */
  readonly #books = new Map<string, { readonly untilMs: number; readonly book: Promise<Book | undefined> }>()

  /** `zone` without a final dot. */
  constructor({ cluster, clock }: Pick<FlowParts, 'cluster' | 'clock'>, zone: string) {
    this.#networks = cluster.networks
    this.#clock = clock
    this.#zone = zone.toLowerCase()
  }

  /** Bare addresses of both families. `elsewhere`: the name is not of the zone. `nobody`: it is, and nobody is called so. */
  async find(name: string, call: Call): Promise<'elsewhere' | 'nobody' | readonly string[]> {
    if (name === this.#zone) return []
    if (!name.endsWith(`.${this.#zone}`)) return 'elsewhere'
    const labels = name.slice(0, -this.#zone.length - 1).split('.')
    // Names of networks and of containers may have dots in them: the longest name of a container wins.
    for (let at = labels.length - 1; at >= 0; at--) {
      const book = await this.#bookOf(labels.slice(at).join('.'), call)
      const found = at === 0 && book !== undefined ? [] : book?.get(labels.slice(0, at).join('.'))
      if (found !== undefined) return found
    }
    return 'nobody'
  }

  #bookOf(network: string, call: Call): Promise<Book | undefined> {
    const nowMs = this.#clock.monotonicMs()
    const kept = this.#books.get(network)
    if (kept !== undefined && kept.untilMs > nowMs) return kept.book
    if (this.#books.size >= maxKept) this.#books.clear()
    const book = this.#read(network, call)
    this.#books.set(network, { untilMs: nowMs + keptMs, book })
    // Who waits is told; who comes next tries anew.
    book.catch(() => this.#books.delete(network))
    return book
  }

  async #read(name: string, call: Call): Promise<Book | undefined> {
    const found = await this.#networks.getNetwork({ name }, call).catch((error: unknown) => {
      if (['network-unknown', 'invalid-argument'].includes(HeddleError.from(error).code)) return undefined
      throw error
    })
    const networkId = found?.network?.id
    if (networkId === undefined) return undefined
    const endpoints = await allPages(
      (pageToken) => this.#networks.listEndpoints({ networkId, pageToken }, call),
      (page) => page.endpoints,
    )
    const book = new Map<string, string[]>()
    for (const endpoint of endpoints) {
      if (endpoint.state !== 'wired') continue
      const addresses = endpoint.addresses.map((address) => address.split('/', 1)[0] ?? '')
      for (const one of namesOf(endpoint)) book.set(one, [...(book.get(one) ?? []), ...addresses])
    }
    return book
  }
}

function namesOf({ runtime, containerId, containerName, aliases }: Endpoint): Set<string> {
  const [name = '', namespace] = runtime === 'cni' ? containerName.split('/').reverse() : [containerName]
  const id = runtime === 'docker' ? containerId.slice(0, 12) : containerId
  const all = [name, namespace === undefined ? '' : `${name}.${namespace}`, id, ...aliases].map((one) => one.toLowerCase())
  return new Set(all.filter((one) => one !== ''))
}

/** Those that answer a question of the family. */
export function ofFamily(addresses: readonly string[], family: 4 | 6): string[] {
  return addresses.filter((address) => familyOf(address) === family)
}
