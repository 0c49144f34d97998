/** Bus requests to ipam's operations and back. No logic: check, call, map. */

import type { Handlers } from '@heddle/bus'
import type { Claim, IpamDefinition } from '@heddle/contract'
import { checkHostName, checkNetworkName, checkOpaqueId, HeddleError, invalid } from '@heddle/core'
import { type AllocateParts, allocate } from './allocate.ts'
import { adopt, releaseOwner, releaseProvisional } from './claims.ts'
import { claimRef } from './keys.ts'
import { createPool, deletePool } from './pools.ts'
import { listClaims, listPools } from './queries.ts'
import { reserve } from './reserve.ts'
import { checkAddress, checkAdopt, checkAllocate, checkPoolId, checkReserve } from './validate.ts'

export function ipamHandlers(parts: AllocateParts): Handlers<typeof IpamDefinition> {
  const { repo } = parts
  const withGateway = (claims: readonly Claim[]) => claims.map((claim) => ({ claim, gateway: repo.pool(claim.poolId)?.definition?.plan.pool.gateway ?? '' }))
  return {
    createPool: async ({ pool }, call) => {
      if (pool === undefined) throw invalid('pool', 'the pool is missing', 'give its space and prefix')
      return createPool(repo, pool, call)
    },
    listPools: async ({ id, space, pageToken }, call) =>
      listPools(repo, { id: id && checkPoolId(id, 'id'), space: space && checkNetworkName(space, 'space'), pageToken }, call),
    deletePool: async ({ id, purgeProvisional }, call) => ({ existed: await deletePool(repo, checkPoolId(id, 'id'), purgeProvisional, call) }),
    reserve: async (request, call) => reserve(repo, checkReserve(request), call),
    allocate: async (request, call) => ({ allocations: withGateway(await allocate(parts, checkAllocate(request), call)) }),
    adopt: async (request, call) => ({ allocations: withGateway(await adopt(repo, checkAdopt(request), call)) }),
    release: async ({ owner, poolId, address, host }, call) => {
      if (owner !== '') return { released: await releaseOwner(repo, checkOpaqueId(owner, 'owner'), undefined, call) }
      if (poolId === '' && address === '')
        throw new HeddleError('invalid-argument', 'neither an owner nor an address was given', {
          field: 'owner',
          remedy: 'give the owner, or pool, address and host of a provisional claim',
        })
      const ref = claimRef(checkPoolId(poolId, 'poolId'), checkAddress(address, 'address'))
      checkHostName(host)
      return { released: await releaseProvisional(repo, ref, (claim) => claim.host === host, call) }
    },
    listClaims: async ({ poolId, owner, host, pageToken }, call) => {
      const filter = { poolId: poolId && checkPoolId(poolId, 'poolId'), owner: owner && checkOpaqueId(owner, 'owner'), host: host && checkHostName(host) }
      return listClaims(repo, { ...filter, pageToken }, call)
    },
  }
}
