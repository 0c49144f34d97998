/** The two ways an endpoint gets its interface: a veth pair on a bridge, or a VF of a card. */
import type { AttachResponse, DetachRequest, Endpoint, Network, Route } from '@heddle/contract'
import type { Call } from '@heddle/core'
import { type CheckParts, checkEndpoint } from './check.ts'
import type { Endpoints } from './endpoints.ts'
import { checkVf } from './vf/check.ts'
import type { VfHost } from './vf/host.ts'

/** One way of attaching. */
export interface Way {
  prepare(network: Network, endpoint: Endpoint, call: Call): Promise<boolean>
  attach(network: Network, endpoint: Endpoint, routes: readonly Route[], call: Call): Promise<AttachResponse>
}

export interface WayParts extends CheckParts {
  readonly endpoints: Endpoints
  readonly vfs: VfHost
}

export class Ways {
  readonly #parts: WayParts

  constructor(parts: WayParts) {
    this.#parts = parts
  }

  of(network: Network): Way {
    return network.kind === 'sriov' ? this.#parts.vfs.endpoints : this.#parts.endpoints
  }

  check(network: Network, endpoint: Endpoint, routes: readonly Route[], call: Call): Promise<string[]> {
    return network.kind === 'sriov'
      ? checkVf(this.#parts.vfs.parts, network, endpoint, routes, call)
      : checkEndpoint(this.#parts, network, endpoint, routes, call)
  }

  /** An endpoint's network may be unknown by now: then whoever knows the endpoint, and a VF only where no pair was found. */
  async detach(request: DetachRequest, call: Call): Promise<boolean> {
    const { endpoints, vfs } = this.#parts
    const { endpointId, networkId } = request
    if (request.vf !== undefined || vfs.endpoints.has(endpointId)) return vfs.endpoints.detach(request, call)
    return (await endpoints.detach(endpointId, networkId, call)) || vfs.endpoints.detach(request, call)
  }
}
