/** The resources of this host, as pools and VFs are now. */
import type { Pf, Vf, VfPool } from '@heddle/contract'
import { allPages, type Call } from '@heddle/core'
import type { Cluster } from '../cluster.ts'
import { together } from '../flows/undo.ts'
import { deviceOf, isReserved, type Offer, type Resource } from './devices.ts'

type Allocator = Pick<Cluster, 'host' | 'vfAllocator'>

/**
 * By resource name. A VF that several pools match is offered by the oldest: a pool that comes later takes none away from a
 * resource that pods may have been given. `isElsewhere` says whether the kubelet has a VF under another resource.
 */
export async function readResources(cluster: Allocator, isElsewhere: (pci: string, resource: string) => boolean, call: Call): Promise<Map<string, Resource>> {
  const { host, vfAllocator } = cluster
  const { pools } = await vfAllocator.listPools({}, call)
  const offering = pools.flatMap(({ pool }) => (pool === undefined || pool.resourceName === '' ? [] : [pool])).sort(byAge)
  if (offering.length === 0) return new Map()
  const [{ pfs }, members] = await together([
    vfAllocator.listPfs({ host }, call),
    together(offering.map(async (pool) => ({ pool, vfs: await vfsOf(cluster, { pool: pool.name }, call) }))),
  ])
  return resourcesOf(members, new Map(pfs.map((pf) => [pf.pci, pf])), isElsewhere)
}

/** Every VF of this host that is meant. */
export function vfsOf({ host, vfAllocator }: Allocator, which: { readonly pool?: string; readonly pci?: string }, call: Call): Promise<Vf[]> {
  return allPages(
    (pageToken) => vfAllocator.listVfs({ ...which, host, pageToken }, call),
    (page) => page.vfs,
  )
}

function resourcesOf(
  members: readonly { readonly pool: VfPool; readonly vfs: readonly Vf[] }[],
  pfs: ReadonlyMap<string, Pf>,
  isElsewhere: (pci: string, resource: string) => boolean,
): Map<string, Resource> {
  const resources = new Map<string, { name: string; policy: Resource['policy']; offers: Map<string, Offer> }>()
  const offered = new Set<string>()
  for (const { pool, vfs } of members) {
    const name = pool.resourceName
    const resource = resources.get(name) ?? { name, policy: pool.policy === 'spread' ? 'spread' : 'pack', offers: new Map<string, Offer>() }
    resources.set(name, resource)
    for (const vf of vfs) {
      if (offered.has(vf.pci)) continue
      offered.add(vf.pci)
      const device = deviceOf(vf, pfs.get(vf.pf), isReserved(vf) && isElsewhere(vf.pci, name))
      resource.offers.set(vf.pci, { vf, driver: pool.driver, device })
    }
  }
  for (const resource of resources.values()) resource.offers = new Map([...resource.offers].sort(([a], [b]) => (a < b ? -1 : 1)))
  return resources
}

function byAge(a: VfPool, b: VfPool): number {
  return a.createdAt === b.createdAt ? (a.name < b.name ? -1 : 1) : a.createdAt < b.createdAt ? -1 : 1
}
