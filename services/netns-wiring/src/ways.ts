/** The ways an endpoint gets its interface: a veth pair on a bridge, a VF of a card, a link of its own, or none. */
import type { Attachment, AttachResponse, DetachRequest, Endpoint, Network, Route } from '@heddle/contract'
import type { Call } from '@heddle/core'
import { type CheckParts, checkEndpoint } from './check.ts'
import type { Endpoints } from './endpoints.ts'
import type { Fabric } from './fabric.ts'
import { attachments } from './inspect.ts'
import type { LoneHost } from './lone/host.ts'
import type { NullEndpoints } from './null.ts'
import { checkVf } from './vf/check.ts'
import type { VfHost } from './vf/host.ts'
import { vfAttachments } from './vf/read.ts'

/** One way of attaching. */
export interface Way {
  prepare(network: Network, endpoint: Endpoint, call: Call): Promise<boolean>
  attach(network: Network, endpoint: Endpoint, routes: readonly Route[], call: Call): Promise<AttachResponse>
  check(network: Network, endpoint: Endpoint, routes: readonly Route[], call: Call): Promise<string[]>
}

export interface WayParts extends CheckParts {
  readonly fabric: Fabric
  readonly endpoints: Endpoints
  readonly vfs: VfHost
  readonly lone: LoneHost
  readonly nulls: NullEndpoints
}

export class Ways {
  readonly #parts: WayParts
  readonly #veth: Way
  readonly #vf: Way

  constructor(parts: WayParts) {
    this.#parts = parts
    const { endpoints, vfs } = parts
    this.#veth = {
      prepare: (...asked) => endpoints.prepare(...asked),
      attach: (...asked) => endpoints.attach(...asked),
      check: (...asked) => checkEndpoint(parts, ...asked),
    }
    this.#vf = {
      prepare: (...asked) => vfs.endpoints.prepare(...asked),
      attach: (...asked) => vfs.endpoints.attach(...asked),
      check: (...asked) => checkVf(vfs.parts, ...asked),
    }
  }

  of({ kind }: Network): Way {
    switch (kind) {
      case 'sriov':
        return this.#vf
      case 'macvlan':
      case 'ipvlan':
      case 'vlan':
      case 'host-device':
        return this.#parts.lone.endpoints
      case 'null':
        return this.#parts.nulls
      default:
        return this.#veth
    }
  }

  /** An endpoint's network may be unknown by now: then whoever knows the endpoint, and where nobody does, each looks for it. */
  async detach(request: DetachRequest, call: Call): Promise<boolean> {
    const { endpoints, vfs, lone, nulls } = this.#parts
    const { endpointId, networkId } = request
    if (request.vf !== undefined || vfs.endpoints.has(endpointId)) return vfs.endpoints.detach(request, call)
    if (nulls.detach(endpointId)) return true
    if (lone.endpoints.held.has(endpointId)) return lone.endpoints.detach(request, call)
    return (await endpoints.detach(endpointId, networkId, call)) || (await lone.endpoints.detach(request, call)) || (await vfs.endpoints.detach(request, call))
  }

  async attachments(call: Call): Promise<Attachment[]> {
    const { lone, nulls, vfs } = this.#parts
    const found = await Promise.all([attachments(this.#parts, call), vfAttachments(vfs.parts, call), lone.endpoints.attachments(call)])
    return [...found.flat(), ...nulls.attachments()]
  }

  /** Throws network-in-use while an endpoint of it is there. */
  async removeNetwork(networkId: string, call: Call): Promise<void> {
    await this.#parts.networks.remove(networkId, call)
    await this.#parts.lone.removeNetwork(networkId, call)
  }
}
