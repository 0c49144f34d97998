/** The contract's Networks service: checks what is asked and hands it on. */

import type { Handlers } from '@heddle/bus'
import { Endpoint, Network, type NetworksDefinition } from '@heddle/contract'
import { checkHostName, checkNetworkName, checkOpaqueId, invalid, pageAfter, randomId } from '@heddle/core'
import { checkEndpoint } from './domain/endpoint.ts'
import { checkNetwork, checkNetworkId } from './domain/network.ts'
import { checkAlias, networkUnknown } from './domain/network-decisions.ts'
import type { NetworksRepo } from './repo.ts'

const networkShape = { keyOf: ({ name }: Network) => name, bytesOf: (network: Network) => Network.encode(network).finish().length }
const endpointShape = { keyOf: ({ id }: Endpoint) => id, bytesOf: (endpoint: Endpoint) => Endpoint.encode(endpoint).finish().length }

export function networksHandlers(repo: NetworksRepo): Handlers<NetworksDefinition> {
  return {
    async createNetwork({ network }, call) {
      if (network === undefined) throw invalid('network', 'the network is missing')
      return repo.createNetwork(checkNetwork(network, randomId, call.clock.timestamp()), call)
    },
    async getNetwork({ id, name, alias }, call) {
      if ([id, name, alias].filter((value) => value !== '').length !== 1) throw invalid('id', 'a network is found by exactly one of id, name and alias')
      const network =
        id !== ''
          ? await repo.networkById(checkNetworkId(id, 'id'), call)
          : name !== ''
            ? await repo.networkByName(checkNetworkName(name), call)
            : await repo.networkByAlias(checkAlias(alias), call)
      if (network === undefined) throw networkUnknown(id !== '' ? 'id' : name !== '' ? 'name' : 'alias', id || name || alias)
      return { network }
    },
    async listNetworks({ pageToken }) {
      const { entries, nextPageToken } = pageAfter(pageToken, repo.networks, networkShape)
      return { networks: [...entries], nextPageToken }
    },
    async deleteNetwork({ id }, call) {
      return { network: await repo.deleteNetwork(checkNetworkId(id, 'id'), call) }
    },
    async bindAlias({ alias, networkId }, call) {
      await repo.bindAlias(checkAlias(alias), checkNetworkId(networkId, 'networkId'), call)
      return {}
    },
    async unbindAlias({ alias }, call) {
      return repo.unbindAlias(checkAlias(alias), call)
    },
    async putEndpoint({ endpoint, claimRevision }, call) {
      if (endpoint === undefined) throw invalid('endpoint', 'the endpoint is missing')
      return { endpoint: await repo.putEndpoint(checkEndpoint(endpoint), claimRevision, call) }
    },
    async listEndpoints({ id, networkId, host, pageToken }, call) {
      if (id !== '') checkOpaqueId(id, 'id')
      if (networkId !== '') checkNetworkId(networkId, 'networkId')
      if (host !== '') checkHostName(host)
      const { entries, nextPageToken } = pageAfter(pageToken, await repo.endpoints({ id, networkId, host }, call), endpointShape)
      return { endpoints: [...entries], nextPageToken }
    },
    async deleteEndpoint({ id }, call) {
      return { endpoint: await repo.deleteEndpoint(checkOpaqueId(id, 'id'), call) }
    },
    async fence({ owners }, call) {
      for (const { owner } of owners) checkOpaqueId(owner, 'owners.owner')
      return { fencedOwners: await repo.fence(owners, call) }
    },
  }
}
