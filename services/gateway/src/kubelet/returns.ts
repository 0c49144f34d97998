/**
 * Ends reservations that no pod has any more. The device plugin API has no call for it: the kubelet gives a device to the
 * next pod and never says that the last one is gone, so its pod resources API is asked. What nobody can be asked about stays.
 */
import type { Vf } from '@heddle/contract'
import { type Call, HeddleError } from '@heddle/core'
import { isOnlyReserved, type Resource } from './devices.ts'
import { vfsOf } from './inventory.ts'
import { devicesOfPods } from './pod-resources.ts'
import type { KubeletParts, Reservations } from './reservations.ts'
import { identityOf } from './sockets.ts'

export interface ReturnOptions {
  readonly podResourcesSocket: string
  readonly kubeletSocket: string
  /** How long no pod may have had it. */
  readonly releaseAfterMs: number
}

export class Returns {
  readonly #parts: KubeletParts
  readonly #reservations: Reservations
  readonly #options: ReturnOptions
  /** Since when no pod has a reserved VF, on the monotonic clock. */
  #absent = new Map<string, number>()
  #kubelet: string | undefined
  /** Reported once, until it is otherwise. */
  readonly #stuck = new Set<string>()

  constructor(parts: KubeletParts, reservations: Reservations, options: ReturnOptions) {
    this.#parts = parts
    this.#reservations = reservations
    this.#options = options
  }

  async reconcile(resources: ReadonlyMap<string, Resource>, call: Call): Promise<void> {
    const askedAtMs = this.#parts.clock.monotonicMs()
    const held = await this.#heldByPods(call)
    if (held === undefined) return
    const vfs = await vfsOf(this.#parts.cluster, {}, call)
    const before = this.#absent
    this.#absent = new Map(
      vfs
        .filter((vf) => isOnlyReserved(vf) && !held.has(vf.pci))
        .map(({ pci }) => [pci, Math.max(before.get(pci) ?? askedAtMs, this.#reservations.givenAtMs(pci))]),
    )
    for (const vf of vfs) {
      const since = this.#absent.get(vf.pci)
      if (since !== undefined && askedAtMs - since >= this.#options.releaseAfterMs) {
        await this.#attempt(vf, 'could not take back a VF that no pod has', () => this.#giveBack(vf, askedAtMs, call))
      }
      const resource = held.get(vf.pci) ?? ''
      if (vf.claim === undefined && resources.get(resource)?.offers.has(vf.pci) === true) {
        await this.#attempt(vf, 'a pod has a VF that could not be reserved for it', () => this.#reservations.adopt(vf, resource, call))
      }
    }
  }

  async #giveBack(vf: Vf, askedAtMs: number, call: Call): Promise<void> {
    if (!(await this.#reservations.giveBack(vf, askedAtMs, call))) return
    this.#absent.delete(vf.pci)
    this.#parts.logger.info({ vf: vf.pci }, 'no pod has the VF any more; its reservation is ended')
  }

  /** A kubelet that just started may not know its pods yet, and one that does not answer knows nothing: the time starts anew. */
  async #heldByPods(call: Call): Promise<ReadonlyMap<string, string> | undefined> {
    const kubelet = identityOf(this.#options.kubeletSocket)
    if (kubelet !== this.#kubelet) this.#absent.clear()
    this.#kubelet = kubelet
    try {
      const held = await devicesOfPods(this.#options.podResourcesSocket, call)
      if (held === undefined) this.#absent.clear()
      return held
    } catch (error) {
      this.#absent.clear()
      throw error
    }
  }

  async #attempt(vf: Vf, problem: string, task: () => Promise<void>): Promise<void> {
    try {
      await task()
      this.#stuck.delete(vf.pci)
    } catch (error) {
      if (!this.#stuck.has(vf.pci)) this.#parts.logger.warn({ vf: vf.pci, failure: HeddleError.from(error).sentence }, `${problem}; it is tried again`)
      this.#stuck.add(vf.pci)
    }
  }
}
