/** macvlan, ipvlan and vlan: a link that stands on one of the host, made where it stays. */
import type { Endpoint, Network } from '@heddle/contract'
import { type Call, HeddleError, hasGivenMac, isRoutedByLink } from '@heddle/core'
import type { Step } from '@heddle/kernel'
import { markOf } from '../domain/marks.ts'
import { interfaceExists, kernelFailure, refusalOf } from '../errors.ts'
import type { HostContext } from '../host-context.ts'
import type { Place, Places } from '../lone/places.ts'
import type { Held, Plan, Source, Target } from '../lone/source.ts'
import type { Parents } from './parents.ts'
import { addStep, checkMtu, type LowerShape, lowerShape, shapeDifferences } from './shape.ts'

export interface LowerParts {
  readonly context: HostContext
  readonly places: Places
  readonly parents: Parents
  /** Every endpoint of this host with such a link, by id. */
  readonly all: (call: Call) => Promise<ReadonlyMap<string, Held>>
}

export class LowerLinks implements Source {
  readonly #parts: LowerParts

  constructor(parts: LowerParts) {
    this.#parts = parts
  }

  key(network: Network): string {
    return lowerShape(network).parent
  }

  async plan(network: Network, endpoint: Endpoint, target: Target, call: Call): Promise<Plan> {
    const { places, parents, context } = this.#parts
    const shape = lowerShape(network)
    const parent = await parents.find(shape.parent, network.id, shape.kind !== 'vlan', call)
    checkMtu(network, parent.link)
    if (parent.isThere) await this.#checkOthers(shape, endpoint.id, parent.link.index, call)
    const alias = markOf({ host: places.host, endpointId: endpoint.id, networkId: network.id })
    const add = addStep(shape, network, endpoint, target, context.hostNs, alias)
    return {
      steps: [...parent.steps, add],
      mac: hasGivenMac(network) ? parent.link.mac : endpoint.mac,
      undo: (late) => parents.undo(parent, network.id, late),
    }
  }

  async failure(error: unknown, { steps }: Plan, network: Network, target: Target, call: Call): Promise<HeddleError> {
    const { kernel } = this.#parts.context
    const refusal = refusalOf(error)
    const shape = lowerShape(network)
    const failure = kernelFailure(error, steps, kernel, target.sandbox)
    if (refusal === undefined || failure.code !== 'kernel-refused') return failure
    const { parent } = shape
    const refuse = (message: string, remedy: string) => inUse(parent, message, remedy, error)
    switch (refusal.errno) {
      case 'EEXIST':
        if ((await kernel.link(target.ns, target.name, call)) !== undefined) return interfaceExists(target.name, target.sandbox || 'the host namespace')
        return shape.kind === 'vlan'
          ? refuse(
              `VLAN ${shape.vlan} of ${parent} has an interface already, in this or another sandbox`,
              'a VLAN of a link has one interface: use kind macvlan with parent LINK.VLAN for several endpoints',
            )
          : failure
      case 'EBUSY':
        return refuse(
          `${parent} is a port of a bridge or a bond, or links of another kind stand on it`,
          "take another parent: macvlan and ipvlan exclude each other, and what a bridge has is the bridge's",
        )
      case 'EINVAL':
        return shape.kind === 'macvlan'
          ? refuse(`${parent} takes no further macvlan in mode ${shape.mode}: in mode passthru there is only one`, passthruRemedy)
          : failure
      case 'EADDRINUSE':
        return new HeddleError('mac-taken', `${parent}, or another link on it, has the MAC of this endpoint`, {
          field: 'endpoint.mac',
          remedy: 'choose another MAC, or leave it out',
          cause: error,
        })
      case 'ENETDOWN':
        return new HeddleError('kernel-refused', `${parent} is down, so nothing on it can be set up`, {
          field: 'network.parent.name',
          remedy: `set it up: ip link set ${parent} up`,
          details: { device: parent, errno: 'ENETDOWN' },
          cause: error,
        })
      default:
        return failure
    }
  }

  async differences(network: Network, endpoint: Endpoint, { link }: Place, call: Call): Promise<string[]> {
    const shape = lowerShape(network)
    return shapeDifferences(shape, network, endpoint, link, await this.#parts.parents.link(shape.parent, call))
  }

  /** Routed by the host it has no frames that a neighbour could learn from. Docker's link is not up yet: then from the parent, which those outside the host hear. */
  announce(network: Network, { ns, name, sandbox }: Target, mac: string, addresses: readonly string[]): Step[] {
    const shape = lowerShape(network)
    if (isRoutedByLink(network) || (sandbox === '' && shape.kind === 'vlan')) return []
    const from = sandbox === '' ? { ns: this.#parts.context.hostNs, name: shape.parent } : { ns, name }
    return [{ op: 'announce', ...from, mac, addresses, tolerate: ['ENODEV', 'ENETDOWN'] }]
  }

  takeAway({ ns, link }: Place, call: Call): Promise<boolean> {
    return this.#parts.context.kernel.removeLink(ns, link.name, call)
  }

  /**
   * What would take something from an endpoint that is there, or be refused by the kernel with no reason. An ipvlan's mode is that of all
   * ipvlans of its parent.
   */
  async #checkOthers(shape: LowerShape, endpointId: string, parentIndex: number, call: Call): Promise<void> {
    if (shape.kind === 'vlan') return
    for (const [id, { ns, link, isDevice }] of await this.#parts.all(call)) {
      if (id === endpointId || isDevice || link.peerIndex !== parentIndex || link.upper === undefined || link.kind === 'vlan') continue
      const { mode } = link.upper
      const isAlike = link.kind === shape.kind && (shape.kind === 'ipvlan' ? mode === shape.mode : mode !== 'passthru' && shape.mode !== 'passthru')
      // Its sandbox may have ended.
      if (isAlike || (await this.#parts.places.find(id, [ns], true, call)) === undefined) continue
      if (link.kind !== shape.kind) {
        throw inUse(
          shape.parent,
          `${shape.parent} has endpoint ${id} of kind ${link.kind}`,
          `macvlan and ipvlan exclude each other: take another parent, or kind ${link.kind}`,
        )
      }
      if (shape.kind === 'macvlan') throw inUse(shape.parent, `${shape.parent} has endpoint ${id}, and in mode passthru there is only one`, passthruRemedy)
      throw inUse(
        shape.parent,
        `${shape.parent} has endpoint ${id} in mode ${mode}`,
        `all ipvlans of a link have one mode: take another parent, or mode ${mode}`,
      )
    }
  }
}

const passthruRemedy = 'take another parent, or a mode that shares it: bridge, private or vepa'

function inUse(device: string, message: string, remedy: string, cause?: unknown): HeddleError {
  return new HeddleError('device-in-use', message, { field: 'network.parent.name', remedy, details: { device }, cause })
}
