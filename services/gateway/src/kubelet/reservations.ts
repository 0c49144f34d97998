/**
 * Devices given to the kubelet: each is a claim `reserved for the kubelet` with the vf-allocator, the same claim that Docker and
 * CNI stand in line for. A CNI ADD that names the VF's address takes it over for the time of the endpoint.
 */
import type { devicePlugin, Vf } from '@heddle/contract'
import { type Call, HeddleError, KeyedQueue } from '@heddle/core'
import { vfUndoTimeoutMs } from '../flows/attach.ts'
import { briefly } from '../flows/briefly.ts'
import type { FlowParts } from '../flows/parts.ts'
import { together, type Undo, undoing } from '../flows/undo.ts'
import { answerOf, type Given } from './answer.ts'
import type { DeviceInfoFiles } from './device-info.ts'
import { isOnlyReserved, isReserved, type Offer, type Resource, reservedBy } from './devices.ts'
import { vfsOf } from './inventory.ts'

export type KubeletParts = Pick<FlowParts, 'cluster' | 'jobs' | 'clock' | 'logger' | 'traces'>

/** How long a brain may take to say how a VF is that is known to be reserved. */
const lastResortMs = 2000
/** Codes of a brain that does not answer. */
const silent: ReadonlySet<string> = new Set(['unavailable', 'deadline-exceeded', 'overloaded'])

export class Reservations {
  readonly #parts: KubeletParts
  readonly #files: DeviceInfoFiles
  /** One at a time on this host: what one takes back another must not have been given meanwhile. */
  readonly #queue = new KeyedQueue()
  /** When each VF was last given out, on the monotonic clock. */
  readonly #given = new Map<string, number>()

  constructor(parts: KubeletParts, files: DeviceInfoFiles) {
    this.#parts = parts
    this.#files = files
  }

  /** All devices of the request or none. Repeatable. Fails with vf-unknown, vf-in-use, vf-quarantined, unsupported, unavailable. */
  allocate(resource: Resource, { containerRequests }: devicePlugin.AllocateRequest, call: Call): Promise<devicePlugin.AllocateResponse> {
    const offers = [...new Set(containerRequests.flatMap(({ devicesIds }) => devicesIds))].map((id) => offerOf(resource, id))
    return this.#alone(() =>
      undoing(this.#parts, call, async (undo) => {
        const given = new Map(await together(offers.map(async (offer) => [offer.vf.pci, await this.#give(resource, offer, undo, call)] as const)))
        for (const { vf } of given.values()) {
          this.#given.set(vf.pci, this.#parts.clock.monotonicMs())
          this.#files.write(resource.name, vf)
        }
        const ofRequest = (ids: readonly string[]) => ids.flatMap((id) => given.get(id) ?? [])
        return { containerResponses: containerRequests.map(({ devicesIds }) => answerOf(resource.name, ofRequest(devicesIds))) }
      }),
    )
  }

  /** The devices are reserved and have their driver, or the container does not start. Repeatable; fails as `allocate` does. */
  preStart(resource: Resource, ids: readonly string[], call: Call): Promise<void> {
    const offers = [...new Set(ids)].map((id) => offerOf(resource, id))
    return this.#alone(async () => {
      await together(
        offers.map(async (offer) => {
          await this.#reserve(resource, await this.#readOrLast(offer, call), call)
          await this.#parts.cluster.wiring.bindVf({ pci: offer.vf.pci, driver: offer.driver }, call)
        }),
      )
    })
  }

  /** Ends a reservation that no pod has, with the VF's own driver bound again; not when the VF was given out after `askedAtMs`. */
  giveBack({ pci }: Vf, askedAtMs: number, call: Call): Promise<boolean> {
    return this.#alone(async () => this.givenAtMs(pci) <= askedAtMs && (await this.#end(pci, call)))
  }

  /** Reserves a VF that a pod has although nobody knows of it any more. */
  async adopt(vf: Vf, resource: string, call: Call): Promise<void> {
    const { host, vfAllocator } = this.#parts.cluster
    await this.#alone(async () => {
      await vfAllocator.claim({ host, pci: vf.pci, reserveFor: reservedBy }, call)
      this.#files.write(resource, vf)
    })
  }

  /** When the VF was last given out by this process; long ago when it was not. */
  givenAtMs(pci: string): number {
    return this.#given.get(pci) ?? Number.NEGATIVE_INFINITY
  }

  #alone<T>(task: () => Promise<T>): Promise<T> {
    return this.#queue.run('', task)
  }

  async #give(resource: Resource, offer: Offer, undo: Undo, call: Call): Promise<Given> {
    const { wiring } = this.#parts.cluster
    const { driver } = offer
    const vf = await this.#read(offer, call)
    const { pci } = vf
    if (!isReserved(vf)) undo.add('end the reservation', (late) => this.#end(pci, late), vfUndoTimeoutMs)
    await this.#reserve(resource, vf, call)
    if (driver === '' && vf.rdmaDevices.length === 0) return { vf, deviceNodes: [] }
    const { deviceNodes } = await wiring.bindVf({ pci, driver }, call)
    return { vf, deviceNodes }
  }

  /** Frees a VF that is no more than reserved, once it has its own driver: whoever claims it next finds it so. */
  async #end(pci: string, call: Call): Promise<boolean> {
    const { host, vfAllocator, wiring } = this.#parts.cluster
    const [vf] = await vfsOf(this.#parts.cluster, { pci }, call)
    // Docker or CNI may have been faster, and has it bound as it needs it.
    if (vf === undefined || !isOnlyReserved(vf)) return false
    // Whatever is recorded: while a VF is claimed its driver is not.
    await wiring.bindVf({ pci }, call)
    await vfAllocator.release({ host, pci, revision: vf.claim?.revision ?? 0n }, call)
    this.#files.remove(pci)
    return true
  }

  async #reserve(resource: Resource, vf: Vf, call: Call): Promise<void> {
    const { host, vfAllocator } = this.#parts.cluster
    const { pci } = vf
    if (vf.state === 'quarantined') {
      throw new HeddleError('vf-quarantined', `VF ${pci} is in quarantine: ${vf.reason}`, { field: 'devices_ids', remedy: `run heddle vf repair ${pci}` })
    }
    if (!isReserved(vf)) {
      await vfAllocator.claim({ host, pci, reserveFor: reservedBy }, call)
    } else if (vf.claim?.releasing === true) {
      throw new HeddleError('vf-in-use', `VF ${pci} is being put back to its baseline`, { field: 'devices_ids', remedy: 'try again in a moment' })
    } else if (this.#files.isElsewhere(pci, resource.name)) {
      throw new HeddleError('vf-in-use', `VF ${pci} was given to a pod under another resource than ${resource.name}`, {
        field: 'devices_ids',
        remedy: 'delete that pod, or have no VF in pools of two resources',
      })
    }
  }

  /** As the vf-allocator has it now. */
  async #read({ vf: { pci } }: Offer, call: Call): Promise<Vf> {
    const [vf] = await vfsOf(this.#parts.cluster, { pci }, call)
    if (vf === undefined) throw unknown(pci)
    return vf
  }

  /** A container that only starts again need not wait for a brain: its device was reserved when it was last heard of. */
  async #readOrLast(offer: Offer, call: Call): Promise<Vf> {
    try {
      return await briefly(call, lastResortMs, (late) => this.#read(offer, late))
    } catch (error) {
      if (!silent.has(HeddleError.from(error).code) || !isReserved(offer.vf)) throw error
      return offer.vf
    }
  }
}

function offerOf(resource: Resource, pci: string): Offer {
  const offer = resource.offers.get(pci)
  if (offer === undefined) throw unknown(pci, resource.name)
  return offer
}

function unknown(pci: string, resource?: string): HeddleError {
  const where = resource === undefined ? 'on this host' : `of resource ${resource} on this host`
  return new HeddleError('vf-unknown', `there is no VF ${JSON.stringify(pci)} ${where}`, { field: 'devices_ids', remedy: 'list them with `heddle vf ls`' })
}
