/** Links of their own against the records: what no endpoint has is taken away, devices that came back go back to what they were. */
import type { Endpoint } from '@heddle/contract'
import type { Call } from '@heddle/core'
import type { LinkEvent } from '@heddle/kernel'
import { Suspects } from '../domain/suspects.ts'
import { background, type HostContext } from '../host-context.ts'
import type { Parents } from '../lower/parents.ts'
import type { LoneEndpoints } from './endpoints.ts'
import type { Places } from './places.ts'

export interface LoneRecords {
  readonly networkIds: Iterable<string>
  readonly endpoints: readonly Endpoint[]
}

const lookMs = 10_000

export class LoneReconciler {
  readonly #context: HostContext
  readonly #endpoints: LoneEndpoints
  readonly #places: Places
  readonly #parents: Parents
  readonly #suspects: Suspects
  /** A network's record follows its creation: what an unknown one uses is looked at twice. */
  readonly #unused: Suspects

  constructor(context: HostContext, parts: { readonly endpoints: LoneEndpoints; readonly places: Places; readonly parents: Parents }, graceMs: number) {
    this.#context = context
    this.#endpoints = parts.endpoints
    this.#places = parts.places
    this.#parents = parts.parents
    this.#suspects = new Suspects(graceMs)
    this.#unused = new Suspects(graceMs)
  }

  /** `records` undefined: the brains do not answer, and nothing is taken from anybody. */
  async round(records: LoneRecords | undefined, call: Call): Promise<void> {
    const { logger, clock } = this.#context
    await this.#endpoints.adopted(call)
    for (const place of await this.#endpoints.strays(call)) await this.#tried('a device could not be given back', this.#endpoints.giveBack(place, call))
    if (records === undefined) return
    const known = new Set(records.endpoints.map(({ id }) => id))
    const orphans = [...this.#endpoints.held.keys()].filter((id) => !known.has(id))
    for (const endpointId of this.#suspects.round(orphans, clock.monotonicMs())) {
      logger.warn({ endpoint: endpointId }, 'removing a link that belongs to no recorded endpoint')
      await this.#tried('it could not be removed', this.#endpoints.detach({ endpointId, networkId: '', sandbox: '', interfaceName: '', vf: undefined }, call))
    }
    const networks = new Set(records.networkIds)
    for (const name of this.#unused.round(await this.#parents.unused(networks, call), clock.monotonicMs()))
      await this.#tried('a VLAN subinterface could not be removed', this.#parents.verify(name, networks, call))
  }

  /** A link of the host has come or changed: it may be a device whose sandbox has ended. */
  onLink({ kind, name }: LinkEvent): void {
    if (kind !== 'new' || ![...this.#endpoints.held.values()].some(({ isDevice }) => isDevice)) return
    this.#context.jobs.once(`look at ${name}`, (signal) =>
      background(this.#context, lookMs, signal, async (call) => {
        const place = await this.#places.at(this.#context.hostNs, name, call)
        if (place !== undefined) await this.#endpoints.giveBack(place, call)
      }).catch((error: unknown) => this.#context.logger.warn({ err: error, link: name }, 'a device could not be given back; it is tried again')),
    )
  }

  async #tried(what: string, doing: Promise<unknown>): Promise<void> {
    await doing.catch((error: unknown) => this.#context.logger.warn({ err: error }, what))
  }
}
