/**
 * Endpoints as this process last recorded them, so that Join need not ask and EndpointOperInfo is local. A hint: after a
 * restart the record is read.
 */
import type { Endpoint } from '@heddle/contract'
import type { Call } from '@heddle/core'
import { findEndpoint } from '../flows/attach.ts'
import type { FlowParts } from '../flows/parts.ts'
import { highestRevision } from '../flows/plan.ts'

const maxEntries = 4096

export interface KnownEndpoint {
  readonly endpoint: Endpoint
  readonly claimRevision: bigint
  /** Leave removed its interface, and no Join has made another. */
  readonly left?: boolean
}

export class KnownEndpoints {
  readonly #known = new Map<string, KnownEndpoint>()
  /** Freed with their endpoints; Docker's ReleaseAddress for each follows, and need not be told to ipam again. Bare. */
  readonly #released = new Set<string>()

  learn(known: KnownEndpoint): void {
    const [oldest] = this.#known.keys()
    if (this.#known.size >= maxEntries && oldest !== undefined) this.#known.delete(oldest)
    this.#known.set(known.endpoint.id, known)
  }

  peek(id: string): KnownEndpoint | undefined {
    return this.#known.get(id)
  }

  leave(id: string): void {
    const known = this.#known.get(id)
    if (known !== undefined) this.#known.set(id, { ...known, left: true })
  }

  release(address: string): void {
    if (this.#released.size >= maxEntries) this.#released.clear()
    this.#released.add(address)
  }

  /** Whether the address was freed with its endpoint and nobody was given it since; says so once. */
  wasReleased(address: string): boolean {
    return this.#released.delete(address)
  }

  forget(id: string): void {
    this.#known.delete(id)
  }

  /** Undefined when there is no record of it. */
  async find(parts: FlowParts, id: string, call: Call): Promise<KnownEndpoint | undefined> {
    const known = this.#known.get(id)
    if (known !== undefined) return known
    const [endpoint, { claims }] = await Promise.all([findEndpoint(parts, id, call), parts.cluster.ipam.listClaims({ owner: id }, call)])
    if (endpoint === undefined) return undefined
    const found = { endpoint, claimRevision: highestRevision(claims) }
    this.learn(found)
    return found
  }
}
