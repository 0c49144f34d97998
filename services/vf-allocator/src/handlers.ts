/** Bus requests to vf-allocator's operations and back. No logic: check, call, map. */
import type { Handlers } from '@heddle/bus'
import type { VfAllocatorDefinition } from '@heddle/contract'
import { checkHostName, checkNetworkName, checkOpaqueId, checkPci, invalid } from '@heddle/core'
import { type ClaimParts, claimVf } from './claim.ts'
import { forgetHost } from './forget-host.ts'
import { holdPf, unholdPf } from './holds.ts'
import { deletePool, type NetworkList, putPool } from './pools.ts'
import { claimed, listPfs, listPools, listVfs, usageOf } from './queries.ts'
import { releaseOwner, releaseReservation } from './release.ts'
import { takeReport } from './report.ts'
import { reserveVf } from './reserve.ts'
import { checkClaim, checkPool, checkReport } from './validate.ts'

export interface HandlerParts extends ClaimParts {
  readonly networks: NetworkList
}

export function vfAllocatorHandlers(parts: HandlerParts): Handlers<VfAllocatorDefinition> {
  const { repo, networks } = parts
  return {
    report: async (request, call) => takeReport(repo, checkReport(request), call),
    claim: async (request, call) => {
      const { asked, reserveFor } = checkClaim(request)
      return claimed(repo, reserveFor === '' ? await claimVf(parts, asked, call) : await reserveVf(repo, asked, reserveFor, call))
    },
    release: async ({ owner, host, pci, revision }, call) => {
      const onlyAt = revision === 0n ? undefined : revision
      if (owner !== '') return { claim: await releaseOwner(repo, checkOpaqueId(owner, 'owner'), onlyAt, call) }
      if (host === '' || pci === '')
        throw invalid('owner', 'neither an owner nor a reserved VF was given', 'give the owner, or host and PCI address of a reservation')
      return { claim: await releaseReservation(repo, checkHostName(host), checkPci(pci, 'pci'), onlyAt, call) }
    },
    listPfs: async ({ host }, call) => ({ pfs: await listPfs(repo, host && checkHostName(host), call) }),
    listVfs: async ({ host, pci, pf, pool, owner, pageToken }, call) => {
      const filter = {
        host: host && checkHostName(host),
        pci: pci && checkPci(pci, 'pci'),
        pf,
        pool: pool && checkNetworkName(pool, 'pool'),
        owner: owner && checkOpaqueId(owner, 'owner'),
      }
      return listVfs(repo, { ...filter, pageToken }, call)
    },
    holdPf: async ({ host, pf, epoch }, call) => {
      await holdPf(repo, checkHostName(host), checkPci(pf, 'pf'), checkOpaqueId(epoch, 'epoch'), call)
      return {}
    },
    unholdPf: async ({ host, pf }, call) => {
      await unholdPf(repo, checkHostName(host), checkPci(pf, 'pf'), call)
      return {}
    },
    putPool: async ({ pool, createOnly }, call) => {
      const put = await putPool(repo, checkPool(pool), createOnly, call)
      return { ...put, vfs: usageOf(repo, put.pool).vfs }
    },
    deletePool: async ({ name }, call) => ({ existed: await deletePool(repo, networks, checkNetworkName(name), call) }),
    forgetHost: async ({ host }, call) => ({ claims: await forgetHost(repo, checkHostName(host), call) }),
    listPools: async ({ name }, call) => ({ pools: await listPools(repo, name && checkNetworkName(name), call) }),
  }
}
