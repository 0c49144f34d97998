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
}

export class KnownEndpoints {
  readonly #known = new Map<string, KnownEndpoint>()

  learn(known: KnownEndpoint): void {
    const [oldest] = this.#known.keys()
    if (this.#known.size >= maxEntries && oldest !== undefined) this.#known.delete(oldest)
    this.#known.set(known.endpoint.id, known)
  }

  peek(id: string): KnownEndpoint | undefined {
    return this.#known.get(id)
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
