/** The public API's methods about SR-IOV: inventory and claims are the allocator's, what the kernel says is the hands'. */
import type { Endpoint, ListedVf, Vf } from '@heddle/contract'
import { allPages, type Call, HeddleError, invalid } from '@heddle/core'
import type { FlowParts } from '../flows/parts.ts'
import { together } from '../flows/undo.ts'
import type { ApiHandlers } from './service.ts'

type VfMethods = 'listPfs' | 'listVfs' | 'getVf' | 'setVfs' | 'repairVfs' | 'putVfPool' | 'deleteVfPool' | 'listVfPools'

export function vfHandlers(parts: FlowParts): Pick<ApiHandlers, VfMethods> {
  const { vfAllocator } = parts.cluster
  const wiringOf = (host: string) => parts.cluster.wiringOf(host || parts.cluster.host)
  return {
    listPfs: ({ host }, call) => vfAllocator.listPfs({ host }, call),
    async listVfs(filter, call) {
      return { vfs: await listed(parts, await vfsOf(parts, filter, call), call) }
    },
    async getVf({ host, pci }, call) {
      const vf = await findVf(parts, host, pci, call)
      const [[found], kernel] = await together([listed(parts, [vf], call), wiringOf(vf.host).readVf({ pci: vf.pci }, call)])
      return { vf: found, kernel }
    },
    async setVfs({ host, pf, count }, call) {
      if (pf === '') throw invalid('pf', 'no PF was named', 'give its netdev or PCI address: `heddle pf ls` lists them')
      return wiringOf(host).setVfs({ pf, count }, call)
    },
    repairVfs: ({ host, pci }, call) => wiringOf(host).repairVfs({ pci }, call),
    async putVfPool({ pool, createOnly }, call) {
      if (pool === undefined) throw invalid('pool', 'the pool is missing')
      return vfAllocator.putPool({ pool, createOnly }, call)
    },
    deleteVfPool: ({ name }, call) => vfAllocator.deletePool({ name }, call),
    listVfPools: ({ name }, call) => vfAllocator.listPools({ name }, call),
  }
}

export interface VfFilter {
  readonly host?: string
  readonly pci?: string
  readonly pf?: string
  readonly pool?: string
  readonly owner?: string
}

export function vfsOf(parts: FlowParts, filter: VfFilter, call: Call): Promise<Vf[]> {
  return allPages(
    (pageToken) => parts.cluster.vfAllocator.listVfs({ ...filter, pageToken }, call),
    (page) => page.vfs,
  )
}

/** Each with the endpoint that holds it. */
async function listed(parts: FlowParts, vfs: readonly Vf[], call: Call): Promise<ListedVf[]> {
  const owners = new Set(vfs.flatMap(({ claim }) => (claim === undefined || claim.owner === '' ? [] : [claim.owner])))
  const endpoints = new Map<string, Endpoint>()
  if (owners.size > 0) {
    const hosts = new Set(vfs.map(({ host }) => host))
    // One question a host rather than one a VF.
    const answers = await together(
      [...hosts].map((host) =>
        allPages(
          (pageToken) => parts.cluster.networks.listEndpoints({ host, pageToken }, call),
          (page) => page.endpoints,
        ),
      ),
    )
    for (const endpoint of answers.flat()) if (owners.has(endpoint.id)) endpoints.set(endpoint.id, endpoint)
  }
  return vfs.map((vf) => ({ vf, endpoint: endpoints.get(vf.claim?.owner ?? '') }))
}

/** On the host named; else on the only host that has such a VF, or on the gateway's own of several. Fails with vf-unknown. */
async function findVf(parts: FlowParts, host: string, pci: string, call: Call): Promise<Vf> {
  if (pci === '') throw invalid('pci', 'no VF was named', 'give its PCI address: `heddle vf ls` lists them')
  const vfs = await vfsOf(parts, { host, pci }, call)
  const vf = vfs.length === 1 ? vfs[0] : vfs.find((one) => one.host === parts.cluster.host)
  if (vf !== undefined) return vf
  if (vfs.length > 1) throw invalid('host', `${vfs.length} hosts have a VF ${pci}: ${vfs.map((one) => one.host).join(', ')}`, 'name the host with --host')
  throw new HeddleError('vf-unknown', `there is no VF ${JSON.stringify(pci)}${host === '' ? '' : ` on host ${host}`}`, {
    field: 'pci',
    remedy: 'list the VFs with `heddle vf ls`',
  })
}
