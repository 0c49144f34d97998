/** What is there. Claims, pools and the inventory of a host are read from etcd: the caller may just have changed them elsewhere. */
import { type Pf, Vf, type VfClaim, type VfPool, type VfPoolUsage } from '@heddle/contract'
import { type Call, maxPageBytes, pageAfter } from '@heddle/core'
import { anything, countsOf, type HostView, obstacleTo } from './domain/choose.ts'
import { claimOn } from './domain/inventory.ts'
import { inPool } from './domain/selector.ts'
import { keys } from './keys.ts'
import { decodePool } from './records.ts'
import { poolUnknown } from './refusals.ts'
import type { VfRepo } from './repo.ts'

/** With its claim. While an endpoint has it, what it is set to is that endpoint's business and not known here. */
export function shown(view: HostView, vf: Vf): Vf {
  const recorded = view.claimOf(vf.pci)
  const claim = claimOn(vf, recorded)
  const pfName = view.inventory.pfs.get(vf.pf)?.names[0] ?? ''
  const isUsed = claim !== undefined && claim.owner !== '' && vf.state === 'ready'
  // It is nobody's to use, and still not to be had: else a reader of the list could not tell why a claim is refused.
  const reason = recorded !== undefined && claim === undefined ? `kept for endpoint ${recorded.owner}, which had it before it was made anew` : vf.reason
  return isUsed ? { ...vf, claim, pfName, state: 'used', name: '', settings: undefined } : { ...vf, claim, pfName, reason }
}

/** The answer to a claim: the VF as it is before anything is set. */
export function claimed(repo: VfRepo, claim: VfClaim): { vf: Vf | undefined; pf: Pf | undefined } {
  const view = repo.view(claim.host)
  const vf = view?.inventory.vfs.get(claim.pci)
  if (view === undefined || vf === undefined) return { vf: undefined, pf: undefined }
  const pf = view.inventory.pfs.get(vf.pf)
  return { vf: { ...vf, claim, pfName: pf?.names[0] ?? '' }, pf: pf && shownPf(view, pf) }
}

function shownPf(view: HostView, pf: Pf): Pf {
  return { ...pf, held: view.isHeld(pf.pci), ...countsOf(pf, view) }
}

export async function listPfs(repo: VfRepo, host: string, call: Call): Promise<Pf[]> {
  const hosts = host === '' ? repo.hosts : [host]
  await Promise.all(hosts.map((one) => repo.refresh(one, call)))
  return hosts.flatMap((one) => {
    const view = repo.view(one)
    return view === undefined ? [] : [...view.inventory.pfs.values()].map((pf) => shownPf(view, pf))
  })
}

export interface VfFilter {
  readonly host: string
  readonly pci: string
  /** PCI address or netdev. */
  readonly pf: string
  readonly pool: string
  readonly owner: string
  readonly pageToken: string
}

const vfShape = { keyOf: ({ host, pci }: Vf) => `${host}/${pci}`, bytesOf: (vf: Vf) => Vf.encode(vf).finish().length }

/** Host by host until a page is full: a cluster's inventory is not read for every page of it. */
export async function listVfs(repo: VfRepo, filter: VfFilter, call: Call): Promise<{ vfs: Vf[]; nextPageToken: string }> {
  const pool = filter.pool === '' ? undefined : await poolNow(repo, filter.pool, call)
  const [from = ''] = filter.pageToken.split('/')
  const hosts = (filter.host === '' ? repo.hosts : [filter.host]).filter((host) => host >= from)
  const found: Vf[] = []
  let bytes = 0
  for (const host of hosts) {
    await repo.refresh(host, call)
    const view = repo.view(host)
    if (view === undefined) continue
    const fitting = [...view.inventory.vfs.values()].filter((vf) => fits(vf, view, filter, pool)).map((vf) => shown(view, vf))
    for (const vf of fitting) {
      if (vfShape.keyOf(vf) <= filter.pageToken) continue
      found.push(vf)
      bytes += vfShape.bytesOf(vf)
    }
    if (bytes > maxPageBytes) break
  }
  const { entries, nextPageToken } = pageAfter(filter.pageToken, found, vfShape)
  return { vfs: [...entries], nextPageToken }
}

function fits(vf: Vf, view: HostView, { pci, pf, owner }: VfFilter, pool: VfPool | undefined): boolean {
  const parent = view.inventory.pfs.get(vf.pf)
  return (
    (pci === '' || vf.pci === pci) &&
    (pf === '' || vf.pf === pf || (parent?.names.includes(pf) ?? false)) &&
    (owner === '' || claimOn(vf, view.claimOf(vf.pci))?.owner === owner) &&
    (pool === undefined || inPool(pool, vf, parent))
  )
}

/** In the order of their names. */
export async function listPools(repo: VfRepo, name: string, call: Call): Promise<VfPoolUsage[]> {
  const pools = await repo.poolsNow(call)
  return pools.filter((pool) => name === '' || pool.name === name).map((pool) => usageOf(repo, pool))
}

/** By what this replica has heard: numbers for people. */
export function usageOf(repo: VfRepo, pool: VfPool): VfPoolUsage {
  const usage = { pool, vfs: 0, free: 0, claimed: 0, unusable: 0 }
  for (const host of repo.hosts) {
    const view = repo.view(host) as HostView
    for (const vf of view.inventory.vfs.values()) {
      if (!inPool(pool, vf, view.inventory.pfs.get(vf.pf))) continue
      usage.vfs++
      if (view.claimOf(vf.pci) !== undefined) usage.claimed++
      else if (obstacleTo(vf, view, anything) === undefined) usage.free++
      else usage.unusable++
    }
  }
  return usage
}

async function poolNow(repo: VfRepo, name: string, call: Call): Promise<VfPool> {
  const record = await repo.read(keys.pool(name), call)
  if (record === undefined) throw poolUnknown(name)
  return decodePool(record)
}
