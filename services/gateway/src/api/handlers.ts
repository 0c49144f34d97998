/** The public API's methods, each as calls of flows, brains and hands. */
import type { Claim, Endpoint, Network } from '@heddle/contract'
import { allPages, type Call, HeddleError, invalid } from '@heddle/core'
import { compareIp, parseIp } from '@heddle/net'
import { briefly } from '../flows/briefly.ts'
import { orUnknown } from '../flows/directory.ts'
import { createNetwork, deleteNetwork } from '../flows/network.ts'
import { defaultRoutes } from '../flows/plan.ts'
import { removeHost } from '../flows/remove-host.ts'
import { together } from '../flows/undo.ts'
import type { TraceRing } from '../traces/ring.ts'
import { type DiagnoseParts, diagnose } from './diagnose.ts'
import type { ApiHandlers } from './service.ts'
import { vfHandlers } from './vf.ts'
import { whoHas } from './who-has.ts'

const defaultTraces = 20
const checkTimeoutMs = 2000

export function apiHandlers(parts: DiagnoseParts, traces: TraceRing): ApiHandlers {
  const { ipam, networks, overlay } = parts.cluster
  return {
    createNetwork: (request, call) => createNetwork(parts, { definition: request, createdBy: 'cli' }, call),
    listNetworks: async (_request, call) => ({
      networks: await allPages(
        (pageToken) => networks.listNetworks({ pageToken }, call),
        (page) => page.networks,
      ),
    }),
    async getNetwork({ name }, call) {
      const network = await findNetwork(parts, name, call)
      const [pools, endpoints] = await together([poolsOf(parts, network, call), endpointsOf(parts, { networkId: network.id }, call)])
      return { network, pools, endpoints }
    },
    async deleteNetwork({ name }, call) {
      await deleteNetwork(parts, await findNetwork(parts, name, call), call)
      return {}
    },
    async listEndpoints({ network, host }, call) {
      const networkId = network === '' ? '' : (await findNetwork(parts, network, call)).id
      return { endpoints: await endpointsOf(parts, { networkId, host }, call) }
    },
    async getEndpoint({ id }, call) {
      const endpoint = await findEndpoint(parts, id, call)
      const [{ claims }, differences] = await together([ipam.listClaims({ owner: endpoint.id }, call), differencesOf(parts, endpoint, call)])
      return { endpoint, claims, differences }
    },
    listAddressPools: async (_request, call) => ({
      pools: await allPages(
        (pageToken) => ipam.listPools({ pageToken }, call),
        (page) => page.pools,
      ),
    }),
    async getAddressPool({ id }, call) {
      const [{ pools }, claims] = await together([ipam.listPools({ id }, call), claimsOf(parts, id, call)])
      const [pool] = pools
      if (pool === undefined)
        throw new HeddleError('pool-unknown', `there is no pool ${JSON.stringify(id)}`, { field: 'id', remedy: 'list the pools with `heddle pool ls`' })
      return { pool, claims }
    },
    listHosts: async (_request, call) => ({ hosts: (await overlay.listHosts({}, call)).hosts }),
    async removeHost({ name, force }, call) {
      return removeHost(parts, name, force, call)
    },
    listTraces: async ({ limit }) => ({ traces: traces.list(limit === 0 ? defaultTraces : limit) }),
    getTrace: async ({ traceId }) => ({ spans: traces.get(traceId) }),
    diagnose: (_request, call) => diagnose(parts, call),
    ...vfHandlers(parts),
    whoHas: ({ query }, call) => whoHas(parts, query, call),
  }
}

/** By name, else by id. Fails with network-unknown. */
async function findNetwork(parts: DiagnoseParts, nameOrId: string, call: Call): Promise<Network> {
  const { networks } = parts.cluster
  if (nameOrId === '') throw invalid('name', 'no network was named', 'give its name or id')
  const byName = await orUnknown(networks.getNetwork({ name: nameOrId }, call))
  const found = byName ?? (/^[0-9a-f]{32}$/.test(nameOrId) ? await orUnknown(networks.getNetwork({ id: nameOrId }, call)) : undefined)
  if (found?.network !== undefined) return found.network
  throw new HeddleError('network-unknown', `there is no network ${JSON.stringify(nameOrId)}`, {
    field: 'name',
    remedy: 'list the networks with `heddle network ls`',
  })
}

/** By id or a unique beginning of one. */
async function findEndpoint(parts: DiagnoseParts, id: string, call: Call): Promise<Endpoint> {
  const { networks } = parts.cluster
  if (id === '') throw invalid('id', 'no endpoint was named', 'give its id or the beginning of it')
  const [exact] = (await networks.listEndpoints({ id }, call)).endpoints
  if (exact !== undefined) return exact
  const matching = (await endpointsOf(parts, {}, call)).filter((endpoint) => endpoint.id.startsWith(id))
  if (matching.length > 1) throw invalid('id', `${matching.length} endpoints begin with ${JSON.stringify(id)}`, 'give more of the id')
  const [only] = matching
  if (only === undefined)
    throw new HeddleError('endpoint-unknown', `there is no endpoint ${JSON.stringify(id)}`, {
      field: 'id',
      remedy: 'list the endpoints with `heddle endpoint ls`',
    })
  return only
}

function endpointsOf(parts: DiagnoseParts, filter: { readonly networkId?: string; readonly host?: string }, call: Call): Promise<Endpoint[]> {
  return allPages(
    (pageToken) => parts.cluster.networks.listEndpoints({ ...filter, pageToken }, call),
    (page) => page.endpoints,
  )
}

/** In the order of their addresses. */
async function claimsOf(parts: DiagnoseParts, poolId: string, call: Call): Promise<Claim[]> {
  const claims = await allPages(
    (pageToken) => parts.cluster.ipam.listClaims({ poolId, pageToken }, call),
    (page) => page.claims,
  )
  return claims
    .map((claim) => ({ claim, ip: parseIp(claim.address) }))
    .sort((a, b) => compareIp(a.ip, b.ip))
    .map(({ claim }) => claim)
}

async function poolsOf(parts: DiagnoseParts, network: Network, call: Call) {
  const answers = await together(network.pools.map((pool) => parts.cluster.ipam.listPools({ id: pool.poolId }, call)))
  return answers.flatMap((answer) => answer.pools)
}

/** Asked of the endpoint's own host; one that is away is a difference of its own. */
async function differencesOf(parts: DiagnoseParts, endpoint: Endpoint, call: Call): Promise<string[]> {
  try {
    return await briefly(call, checkTimeoutMs, async (inner) => {
      const { network } = await parts.cluster.networks.getNetwork({ id: endpoint.networkId }, inner)
      if (network === undefined || endpoint.state !== 'wired') return []
      const routes = endpoint.runtime === 'docker' ? [] : defaultRoutes(network, endpoint.addresses)
      return (await parts.cluster.wiringOf(endpoint.host).check({ network, endpoint, routes }, inner)).differences
    })
  } catch (error) {
    return [`host ${endpoint.host} could not be asked: ${HeddleError.from(error).message}`]
  }
}
