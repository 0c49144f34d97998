/** The parts that look after links of their own, put together. */
import { type Call, KeyedQueue } from '@heddle/core'
import type { Sysfs } from '@heddle/kernel'
import { Devices } from '../device/source.ts'
import { networkInUse } from '../errors.ts'
import type { HostContext } from '../host-context.ts'
import { Parents } from '../lower/parents.ts'
import { LowerLinks } from '../lower/source.ts'
import { LoneEndpoints } from './endpoints.ts'
import { Places } from './places.ts'
import { LoneReconciler } from './reconcile.ts'
import type { Held } from './source.ts'

export interface LoneOptions {
  readonly sysfs: Sysfs
  /** Paths of every network namespace but the process's own. */
  readonly namespaces: () => Promise<string[]>
  /** The endpoint that has claimed a VF; undefined: nobody. */
  readonly vfOwner: (pci: string) => string | undefined
  readonly graceMs: number
}

export class LoneHost {
  readonly endpoints: LoneEndpoints
  readonly parents: Parents
  readonly reconciler: LoneReconciler
  readonly #context: HostContext

  constructor(context: HostContext, { sysfs, namespaces, vfOwner, graceMs }: LoneOptions) {
    this.#context = context
    const places = new Places(context, namespaces)
    const queue = new KeyedQueue()
    const all = async (call: Call): Promise<ReadonlyMap<string, Held>> => {
      await this.endpoints.adopted(call)
      return this.endpoints.held
    }
    this.parents = new Parents(context, queue)
    const lower = new LowerLinks({ context, places, parents: this.parents, all })
    const devices = new Devices({ context, places, sysfs, vfOwner, all })
    this.endpoints = new LoneEndpoints({ context, places, lower, devices, queue })
    this.reconciler = new LoneReconciler(context, { endpoints: this.endpoints, places, parents: this.parents }, graceMs)
  }

  /** What is here for a network. Throws network-in-use while an endpoint of it is there. */
  async removeNetwork(networkId: string, call: Call): Promise<void> {
    if ((await this.endpoints.attachments(call)).some((one) => one.networkId === networkId)) throw networkInUse(networkId, this.#context.host)
    await this.parents.release(networkId, call)
  }
}
