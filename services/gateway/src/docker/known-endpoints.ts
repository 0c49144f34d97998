/**
 * Endpoints as this process last recorded them, so that Join need not ask and EndpointOperInfo is local. A hint: after a
 * restart the record is read.
 */
import type { Claim, Endpoint } from '@heddle/contract'
import { type Call, HeddleError } from '@heddle/core'
import { findEndpoint } from '../flows/attach.ts'
import type { FlowParts } from '../flows/parts.ts'
import { claimRevisionOf } from '../flows/plan.ts'

const maxEntries = 4096

export interface KnownEndpoint {
  readonly endpoint: Endpoint
  readonly claimRevision: bigint
  /** The claims that Docker asked for, and so will release: `<pool id> <address>`. */
  readonly asked: readonly string[]
}

export class KnownEndpoints {
  readonly #known = new Map<string, KnownEndpoint>()
  /** How many releases of `<pool id> <address>` are still to come for endpoints that are gone, and their claims with them. */
  readonly #settled = new Map<string, number>()

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

  /** The claims went, or will go, with their endpoint: Docker's release of each is none of ipam's business. */
  settle(asked: readonly string[]): void {
    if (this.#settled.size >= maxEntries) this.#settled.clear()
    for (const key of asked) this.#settled.set(key, (this.#settled.get(key) ?? 0) + 1)
  }

  /**
   * Whether a release is such a one; says so once for each. Were it passed on, it could take the address from a container
   * that was given it meanwhile and has no endpoint yet.
   */
  takeSettled(poolId: string, address: string): boolean {
    const key = claimKey({ poolId, address })
    const count = this.#settled.get(key)
    if (count === undefined) return false
    if (count > 1) this.#settled.set(key, count - 1)
    else this.#settled.delete(key)
    return true
  }

  /** Undefined when there is no record of it. */
  async find(parts: FlowParts, id: string, call: Call): Promise<KnownEndpoint | undefined> {
    const known = this.#known.get(id)
    if (known !== undefined) return known
    const [endpoint, { claims }] = await Promise.all([findEndpoint(parts, id, call), parts.cluster.ipam.listClaims({ owner: id }, call)])
    if (endpoint === undefined) return undefined
    const found = { endpoint, claimRevision: claimRevisionOf(claims), asked: claims.map(claimKey) }
    this.learn(found)
    return found
  }
}

export function claimKey({ poolId, address }: Pick<Claim, 'poolId' | 'address'>): string {
  return `${poolId} ${address}`
}

export function endpointUnknown(id: string): HeddleError {
  return new HeddleError('endpoint-unknown', `endpoint ${id.slice(0, 12)} is not recorded`, { field: 'EndpointID', remedy: 'start the container again' })
}
