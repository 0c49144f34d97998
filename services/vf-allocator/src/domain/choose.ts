/** Which VF of a host answers a claim, and why each other one does not. */
import type { Pf, Vf, VfClaim, VfPool, VfSelector } from '@heddle/contract'
import type { Inventory } from './inventory.ts'
import { inPool, matches } from './selector.ts'

/** A host as it is known at one moment. */
export interface HostView {
  readonly inventory: Inventory
  claimOf(pci: string): VfClaim | undefined
  isHeld(pf: string): boolean
  readonly claims: Iterable<VfClaim>
}

export interface Wanted {
  /** Empty: it is reserved. */
  readonly owner: string
  /** A certain VF, however near or apart it is; empty: any. */
  readonly pci: string
  readonly pool: VfPool | undefined
  readonly selector: VfSelector | undefined
  readonly policy: string
  /** Empty: wherever. */
  readonly near: string
  readonly apart: boolean
  readonly group: string
}

export type Obstacle = 'claimed' | 'reserved' | 'changing' | 'quarantined' | 'foreign' | 'returning' | 'unexamined' | 'far' | 'together'

export function isMeant(vf: Vf, { inventory }: HostView, { pool, selector }: Wanted): boolean {
  const pf = inventory.pfs.get(vf.pf)
  return (pool === undefined || inPool(pool, vf, pf)) && (selector === undefined || matches(selector, vf, pf))
}

/** Why a VF that is meant cannot be had; undefined when it can. */
export function obstacleTo(vf: Vf, view: HostView, wanted: Wanted): Obstacle | undefined {
  const claim = view.claimOf(vf.pci)
  // An owner asks for another VF only when the one it has is gone.
  const isOwn = claim !== undefined && claim.owner !== '' && claim.owner === wanted.owner
  if (claim !== undefined && !isOwn) {
    const isReservation = claim.owner === '' && claim.reservedBy !== ''
    if (!isReservation) return 'claimed'
    if (wanted.pci !== vf.pci || wanted.owner === '') return 'reserved'
  }
  if (view.isHeld(vf.pf)) return 'changing'
  if (vf.state === 'quarantined' || vf.state === 'foreign') return vf.state
  if (vf.state === 'dirty' || vf.state === 'used') return 'returning'
  if (vf.state !== 'ready' || vf.baseline === undefined) return 'unexamined'
  // Its reservation has ended, and the driver it was bound to for that is not known to be off yet.
  if (claim === undefined && vf.driver !== vf.baseline.driver) return 'returning'
  if (wanted.pci !== '') return undefined
  const node = wantedNode(view.inventory, wanted.near)
  if (node !== undefined && node !== vf.numaNode) return 'far'
  return wanted.apart && pfsOfGroup(view, wanted).has(vf.pf) ? 'together' : undefined
}

/** Any that can be had, by the policy. `nth` (of so many) chooses among those of the same PF. */
export function choose(view: HostView, wanted: Wanted, isPicked: (pci: string) => boolean, nth: (count: number) => number): Vf | undefined {
  const freeByPf = new Map<string, number>()
  const had = new Map<string, Vf[]>()
  for (const vf of view.inventory.vfs.values()) {
    if (isPicked(vf.pci)) continue
    const obstacle = obstacleTo(vf, view, wanted)
    // What is far, or too near to others of its group, fills its PF no more than what suits.
    if (obstacle !== undefined && obstacle !== 'far' && obstacle !== 'together') continue
    freeByPf.set(vf.pf, (freeByPf.get(vf.pf) ?? 0) + 1)
    if (obstacle !== undefined || !isMeant(vf, view, wanted)) continue
    const ofPf = had.get(vf.pf) ?? []
    had.set(vf.pf, ofPf)
    ofPf.push(vf)
  }
  const policy = wanted.policy || wanted.pool?.policy || 'pack'
  const sign = policy === 'spread' ? -1 : 1
  const [best] = [...had].sort(([a], [b]) => sign * ((freeByPf.get(a) ?? 0) - (freeByPf.get(b) ?? 0)) || (a < b ? -1 : 1))
  const candidates = best?.[1].toSorted((a, b) => a.index - b.index) ?? []
  return candidates[nth(candidates.length)]
}

/**
 * Of `node:1`, or of a device that is a PF or VF of the host. Undefined: it does not matter, or where the device is is unknown;
 * NaN, which no VF is near to: the host has no such device.
 */
function wantedNode({ pfs, vfs }: Inventory, near: string): number | undefined {
  if (near === '') return undefined
  if (near.startsWith('node:')) return Number(near.slice('node:'.length))
  const node = (vfs.get(near) ?? pfs.get(near))?.numaNode ?? Number.NaN
  return node < 0 ? undefined : node
}

/** PF of each VF that another claim of the group has. */
function pfsOfGroup({ claims, inventory }: HostView, { group, owner }: Wanted): Set<string> {
  const pfs = new Set<string>()
  if (group === '') return pfs
  for (const claim of claims) {
    const pf = claim.group === group && claim.owner !== owner ? inventory.vfs.get(claim.pci)?.pf : undefined
    if (pf !== undefined) pfs.add(pf)
  }
  return pfs
}

/** How many VFs of a PF can be had, and how many are claimed or reserved. */
export function countsOf({ pci }: Pf, view: HostView): { readonly freeVfs: number; readonly claimedVfs: number } {
  const counts = { freeVfs: 0, claimedVfs: 0 }
  for (const vf of view.inventory.vfs.values()) {
    if (vf.pf !== pci) continue
    if (view.claimOf(vf.pci) !== undefined) counts.claimedVfs++
    else if (obstacleTo(vf, view, anything) === undefined) counts.freeVfs++
  }
  return counts
}

/** Wants whatever VF there is. */
export const anything: Wanted = { owner: '', pci: '', pool: undefined, selector: undefined, policy: '', near: '', apart: false, group: '' }
