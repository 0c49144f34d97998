/** Endpoints whose interface is a VF: prepared, attached, detached. One operation at a time for an endpoint, and for a VF. */
import { type AttachResponse, busServices, type DetachRequest, type Endpoint, type Network, type Route, type Vf, type VfBaseline } from '@heddle/contract'
import { type Call, HeddleError, KeyedQueue, undoCall, withCall } from '@heddle/core'
import type { LinkInfo, Namespace } from '@heddle/kernel'
import { announceWhenRunning } from '../announce.ts'
import { addressSteps, withoutLength } from '../domain/endpoint-steps.ts'
import { parseEndpointAlias } from '../domain/names.ts'
import { kernelFailure, netnsGone } from '../errors.ts'
import type { VfView } from './cards.ts'
import { deviceNodes } from './drivers.ts'
import type { HeldVfs } from './held.ts'
import { trunkSteps } from './plan.ts'
import { inUse, PutIn, type PutInParts } from './put-in.ts'
import type { VfReporter } from './report.ts'
import { sameShape, type VfShape, vfShape } from './shape.ts'
import { shapeDifferences } from './verify.ts'

export interface VfParts extends PutInParts {
  readonly held: HeldVfs
  readonly reporter: VfReporter
  /** One operation at a time for a VF, by its address. */
  readonly vfQueue: KeyedQueue
}

const askMs = 2000

interface Target {
  readonly pci: string
  readonly baseline: VfBaseline | undefined
}

export class VfEndpoints {
  readonly #parts: VfParts
  readonly #putIn: PutIn
  readonly #queue = new KeyedQueue()
  /** Prepared and verified a moment ago: their attach does not look at everything again. */
  readonly #verified = new Map<string, LinkInfo>()

  constructor(parts: VfParts) {
    this.#parts = parts
    this.#putIn = new PutIn(parts)
  }

  /** Whether the endpoint is known to have a VF here. */
  has(endpointId: string): boolean {
    return this.#parts.held.get(endpointId) !== undefined || this.#parts.reporter.claimOf(endpointId) !== undefined
  }

  /** All slow steps. Whether the endpoint's VF was there already. Throws as PutIn.run, and vf-unknown. */
  prepare(network: Network, endpoint: Endpoint, call: Call): Promise<boolean> {
    return this.#locked(network, endpoint, async (shape) => {
      const present = await this.#present(shape, call)
      if (present.link !== undefined || present.isBound) return true
      const link = await this.#make(present.view, shape, call)
      if (link !== undefined) this.#verified.set(shape.id, link)
      return false
    })
  }

  /** Addresses and routes; what is not as it should be is made anew. */
  attach(network: Network, endpoint: Endpoint, routes: readonly Route[], call: Call): Promise<AttachResponse> {
    return this.#locked(network, endpoint, async (shape) => {
      const link =
        (await this.#configurePrepared(shape, endpoint.addresses, routes, call)) ?? (await this.#ensureConfigured(shape, endpoint.addresses, routes, call))
      const iommuGroup = shape.driver === '' ? '' : (await this.#parts.cards.get(shape.pci, call)).vf.iommuGroup
      return {
        interfaceName: link?.name ?? '',
        mac: shape.mac,
        mtu: link?.mtu ?? 0,
        hostInterface: '',
        bridge: '',
        hostMac: '',
        bridgeMac: '',
        pci: shape.pci,
        deviceNodes: deviceNodes(shape.driver, iommuGroup),
      }
    })
  }

  /**
   * True when something was put back; answers when the VF is at its baseline and verified, or in quarantine and its netdev out of the
   * sandbox. False for an endpoint that has no VF here. May be repeated. Throws unavailable, kernel-refused.
   */
  detach(request: DetachRequest, call: Call): Promise<boolean> {
    const id = request.endpointId
    return this.#queue.run(id, async () => {
      this.#verified.delete(id)
      const target = await this.#find(request, call)
      if (target === undefined) return false
      return this.#parts.vfQueue.run(target.pci, async () => {
        if (!(await this.#isTheirs(request, target.pci, call))) {
          this.#parts.held.delete(id)
          return false
        }
        return this.putBack(target, id, request.sandbox, call)
      })
    })
  }

  /** Of a VF that is this endpoint's, inside its queue. */
  async putBack({ pci, baseline }: Target, endpointId: string, sandbox: string, call: Call): Promise<boolean> {
    const { held, reporter, quarantine, putBack } = this.#parts
    if (baseline === undefined) {
      throw new HeddleError('unavailable', `what VF ${pci} was like before endpoint ${endpointId} had it is not known until vf-allocator answers`, {
        remedy: 'see whether vf-allocator and NATS run; the VF is put back as soon as they do',
        details: { pci },
      })
    }
    const { left, changed, out, vf, reachable } = await putBack.run(pci, baseline, { sandbox: held.get(endpointId)?.sandbox || sandbox, endpointId }, call)
    if (!out) throw new HeddleError('kernel-refused', `VF ${pci} could not be taken out of its sandbox: ${left.join(', ')}`, { details: { pci } })
    held.delete(endpointId)
    if (vf === undefined || left.length === 0) {
      if (vf !== undefined) quarantine.clear(vf)
      reporter.soon()
      return changed
    }
    if (reachable) quarantine.add(vf, left)
    // Told before the claim can be freed: nobody is to be offered it.
    await reporter.tell(call)
    return changed
  }

  async #locked<T>(network: Network, endpoint: Endpoint, body: (shape: VfShape) => Promise<T>): Promise<T> {
    const { kernel } = this.#parts.context
    const pci = endpoint.vf?.pci ?? ''
    const baseline = endpoint.vf?.baseline ?? this.#parts.reporter.baseline(pci)
    if (baseline === undefined) {
      throw new HeddleError('unavailable', `no baseline of VF ${pci} is recorded yet`, {
        field: 'endpoint.vf.baseline',
        remedy: 'try again in a moment',
        details: { pci },
      })
    }
    const shape = vfShape(network, endpoint, baseline)
    if (shape.sandbox !== '' && kernel.namespaceInode(shape.sandbox) === undefined) throw netnsGone(shape.sandbox)
    return this.#queue.run(shape.id, () => this.#parts.vfQueue.run(shape.pci, () => body(shape)))
  }

  /** The endpoint's netdev where it should be, if it is; throws vf-in-use when the VF is another endpoint's. */
  async #present(shape: VfShape, call: Call): Promise<{ readonly view: VfView; readonly link: LinkInfo | undefined; readonly isBound: boolean }> {
    const { cards, whereabouts, held } = this.#parts
    const other = held.of(shape.pci)
    if (other !== undefined && other.id !== shape.id) throw inUse(shape.pci, `is in use by endpoint ${other.id}`, other.sandbox)
    const view = await cards.get(shape.pci, call)
    const made = held.get(shape.id)
    if (made !== undefined && !sameShape(made, shape)) return { view, link: await this.#linkOf(made, view, call), isBound: false }
    if (shape.driver !== '') return { view, link: undefined, isBound: shapeDifferences(view, undefined, shape).length === 0 }
    if (shape.sandbox === '') return { view, link: ownerOf(view.link) === shape.id ? view.link : undefined, isBound: false }
    const place = view.link === undefined ? await whereabouts.inside(shape.sandbox, shape.pci, call, shape.id) : undefined
    const owner = ownerOf(place?.link)
    if (owner !== undefined && owner !== shape.id) throw inUse(shape.pci, `is in use by endpoint ${owner}`, shape.sandbox)
    return { view, link: owner === undefined ? undefined : place?.link, isBound: false }
  }

  async #linkOf(made: VfShape, view: VfView, call: Call): Promise<LinkInfo | undefined> {
    if (made.sandbox === '' || view.link !== undefined) return view.link
    return (await this.#parts.whereabouts.inside(made.sandbox, made.pci, call, made.id))?.link
  }

  /** Undefined when it was not prepared a moment ago, or is not there any more: then everything is looked at. */
  async #configurePrepared(shape: VfShape, addresses: readonly string[], routes: readonly Route[], call: Call): Promise<LinkInfo | undefined> {
    const made = this.#parts.held.get(shape.id)
    const link = this.#verified.get(shape.id)
    this.#verified.delete(shape.id)
    if (link === undefined || made === undefined || !sameShape(made, shape) || shape.sandbox === '' || addresses.length === 0) return undefined
    // The first of its steps fails where there is no such link.
    return this.#configure(shape, addresses, routes, call).then(
      () => link,
      () => undefined,
    )
  }

  async #ensureConfigured(shape: VfShape, addresses: readonly string[], routes: readonly Route[], call: Call): Promise<LinkInfo | undefined> {
    const link = await this.#ensure(shape, call)
    if (link !== undefined && shape.sandbox !== '') await this.#configure(shape, addresses, routes, call)
    return link
  }

  /** As the shape says: left as it is when it is so, else made from the baseline. Undefined with a user-space driver. */
  async #ensure(shape: VfShape, call: Call): Promise<LinkInfo | undefined> {
    const { held, cards, putBack, context } = this.#parts
    const { view, link } = await this.#present(shape, call)
    const made = held.get(shape.id)
    if (shapeDifferences(view, link, shape).length === 0) {
      // A process that ended may have moved it in, and no more.
      if (link !== undefined && shape.trunk.length > 0 && view.vf.trunkFile === '') await context.kernel.run(trunkSteps(shape), call)
      held.put(shape, view.vf)
      return link
    }
    if (link !== undefined || made !== undefined) {
      await putBack.run(shape.pci, shape.baseline, { sandbox: made?.sandbox ?? shape.sandbox, endpointId: shape.id }, call)
    }
    return this.#make(await cards.get(shape.pci, call), shape, call)
  }

  async #make(view: VfView, shape: VfShape, call: Call): Promise<LinkInfo | undefined> {
    const link = await this.#putIn.run(view, shape, call).finally(() => this.#parts.reporter.soon())
    this.#parts.held.put(shape, view.vf)
    return link
  }

  async #configure(shape: VfShape, addresses: readonly string[], routes: readonly Route[], call: Call): Promise<void> {
    const { kernel } = this.#parts.context
    const ns: Namespace = { path: shape.sandbox }
    const steps = addressSteps(ns, shape.interfaceName, addresses, routes)
    await kernel.run(steps, call).catch((error: unknown) => {
      throw kernelFailure(error, steps, kernel, shape.sandbox)
    })
    const { id, interfaceName: name, mac, pci } = shape
    const announcement = { ns, name, mac, endpointId: id, addresses: addresses.map(withoutLength) }
    if (addresses.length > 0) announceWhenRunning(this.#parts.context, announcement, () => this.#parts.held.of(pci)?.id === id)
  }

  /** Which VF an endpoint has: as this process knows, the caller says, the claims say, its mark, or vf-allocator. */
  async #find(request: DetachRequest, call: Call): Promise<Target | undefined> {
    const { held, reporter, whereabouts, context } = this.#parts
    const made = held.get(request.endpointId)
    const pci = made?.pci ?? request.vf?.pci ?? reporter.claimOf(request.endpointId)?.pci
    if (pci !== undefined)
      return { pci, baseline: made?.baseline ?? request.vf?.baseline ?? reporter.baseline(pci) ?? (await this.#ask({ pci }, call))?.baseline }
    if (!reporter.hasDevices) return undefined
    const inHost = (await context.kernel.links(context.hostNs, call)).find((link) => ownerOf(link) === request.endpointId && link.parentDevice !== '')
    const candidate = reporter.seen.find(({ view }) => view.vf.pci === inHost?.parentDevice || (inHost !== undefined && view.link?.name === inHost.name))
    if (candidate !== undefined) return { pci: candidate.view.vf.pci, baseline: reporter.baseline(candidate.view.vf.pci) }
    const inside = (await whereabouts.of(request.sandbox, request.endpointId, call))?.parentDevice
    const owned = reporter.seen.find(({ view }) => view.vf.pci === inside)?.view.vf.pci
    if (owned !== undefined) return { pci: owned, baseline: reporter.baseline(owned) }
    // What an earlier process attached was claimed before this one was first answered, what this one attached it holds.
    if (reporter.informed) return undefined
    const vf = await this.#ask({ owner: request.endpointId }, call)
    return vf === undefined ? undefined : { pci: vf.pci, baseline: vf.baseline }
  }

  /**
   * Whether the VF is this endpoint's still: its claim or its mark says so. A late DEL must not take another's away (sriov-cni #219), so
   * where nobody can tell it is left alone: with its claim it is put back later.
   */
  async #isTheirs(request: DetachRequest, pci: string, call: Call): Promise<boolean> {
    const { held, reporter, cards, whereabouts } = this.#parts
    const holder = held.of(pci)
    if (holder !== undefined) return holder.id === request.endpointId
    const view = await cards.read(pci, call)
    if (view === undefined) return false
    const owner = ownerOf(view.link ?? (await whereabouts.inside(request.sandbox, pci, call, request.endpointId))?.link)
    if (owner !== undefined) return owner === request.endpointId
    // The last answer may be older than this endpoint's claim, or than another's.
    const now = await this.#ask({ pci }, call)
    return (now === undefined ? reporter.claim(pci) : now.claim)?.owner === request.endpointId
  }

  async #ask(which: { readonly pci: string } | { readonly owner: string }, call: Call): Promise<Vf | undefined> {
    const { context } = this.#parts
    try {
      const { vfs } = await withCall({ ...undoCall(call, askMs), signal: call.signal }, (inner) =>
        context.bus.client(busServices.vfAllocator).listVfs({ host: context.host, ...which }, inner),
      )
      return vfs[0]
    } catch (error) {
      if (call.signal.aborted) throw error
      context.logger.debug({ err: error }, 'vf-allocator does not say which VF an endpoint has')
      return undefined
    }
  }
}

const ownerOf = (link: LinkInfo | undefined): string | undefined => (link === undefined ? undefined : parseEndpointAlias(link.alias)?.endpointId)
