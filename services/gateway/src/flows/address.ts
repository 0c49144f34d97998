/**
 * Addresses of a network for an interface that another CNI plugin makes: claims, and the record that keeps them for as long as
 * the interface's sandbox is there.
 */
import type { Claim, Endpoint, Network } from '@heddle/contract'
import { type Call, HeddleError } from '@heddle/core'
import { onceMore } from './attach.ts'
import { release } from './detach.ts'
import type { FlowParts } from './parts.ts'
import { claimRevisionOf, wantsOf } from './plan.ts'
import { undoing } from './undo.ts'

export interface AddressWish {
  readonly endpoint: Pick<Endpoint, 'id' | 'containerId' | 'containerName' | 'interfaceName' | 'sandbox'>
  readonly network: (call: Call) => Promise<Network>
  /** Static addresses, bare. Families without one get a dynamic address. */
  readonly addresses: readonly string[]
  /** Prefixes of the pools that may give them; none: any. */
  readonly within: readonly string[]
}

export interface Addressed {
  readonly network: Network
  readonly claims: readonly { readonly claim: Claim; readonly gateway: string }[]
}

/** The same wish again gets the same addresses. */
export function address(parts: FlowParts, wish: AddressWish, call: Call): Promise<Addressed> {
  return parts.endpoints.runAttach(wish.endpoint.id, call, () => onceMore(parts, wish.network, call, (network) => addressIn(parts, network, wish, call)))
}

/** Frees the addresses of an endpoint and forgets it. Succeeds when nothing is there, and leaves brains that are silent to the sweep. */
export function forget(parts: FlowParts, endpointId: string, call: Call): Promise<void> {
  return parts.endpoints.run(endpointId, call, () => release(parts, { endpointId, networkKind: 'null' }, call))
}

async function addressIn(parts: FlowParts, network: Network, wish: AddressWish, call: Call): Promise<Addressed> {
  const { host, ipam, networks } = parts.cluster
  const { id } = wish.endpoint
  const wants = wantsOf(network, wish.addresses, wish.within)
  if (wants.length === 0) {
    throw new HeddleError('pool-unknown', `network ${network.name} has no addresses to give`, {
      field: 'ipam.network',
      remedy: 'name a network that has a subnet',
    })
  }
  await parts.endpoints.freed(call)
  return undoing(parts, call, async (undo) => {
    undo.add('release the addresses', (late) => ipam.release({ owner: id }, late))
    const { allocations } = await ipam.allocate({ owner: id, host, wants }, call)
    const claims = allocations.flatMap(({ claim, gateway }) => (claim === undefined ? [] : [{ claim, gateway: network.internal ? '' : gateway }]))
    undo.add('forget the endpoint', (late) => networks.deleteEndpoint({ id }, late))
    const addresses = claims.map(({ claim }) => `${claim.address}/${claim.prefixLength}`)
    const endpoint = { ...wish.endpoint, networkId: network.id, networkName: network.name, networkKind: network.kind, host, addresses }
    const claimRevision = claimRevisionOf(claims.map(({ claim }) => claim))
    await networks.putEndpoint({ endpoint: { ...endpoint, state: 'addressed', runtime: 'cni' }, claimRevision }, call)
    return { network, claims }
  })
}
