/** What is refused, each with the VFs at fault, why each cannot be had, and what to do about it. */
import type { Pf, Vf, VfClaim } from '@heddle/contract'
import { HeddleError } from '@heddle/core'
import { type HostView, isMeant, type Obstacle, obstacleTo, type Wanted } from './domain/choose.ts'
import type { Inventory } from './domain/inventory.ts'
import { namedPfs } from './domain/selector.ts'

export function poolUnknown(name: string, field = 'pool'): HeddleError {
  return new HeddleError('vf-pool-unknown', `there is no VF pool ${name}`, {
    field,
    remedy: 'see "heddle vf pool ls", or create it with "heddle vf pool create"',
    details: { pool: name },
  })
}

export function hostWithout(host: string): HeddleError {
  return new HeddleError('pf-unknown', `host ${host} has reported no device that can have VFs`, {
    field: 'host',
    remedy: 'switch on SR-IOV in the firmware of host and card, see that netns-wiring runs there, then see "heddle pf ls"',
    details: { host },
  })
}

/** None of the VFs that are meant can be had: why, class by class; or that none is meant at all. */
export function noneFree(host: string, view: HostView, wanted: Wanted): HeddleError {
  const { inventory } = view
  const all = [...inventory.vfs.values()]
  const meant = all.filter((vf) => isMeant(vf, view, wanted))
  if (meant.length === 0) return noneMeant(host, inventory, wanted)
  const byObstacle = new Map<Obstacle, Vf[]>()
  for (const vf of meant) {
    const obstacle = obstacleTo(vf, view, wanted)
    if (obstacle !== undefined) byObstacle.set(obstacle, [...(byObstacle.get(obstacle) ?? []), vf])
  }
  const why = [...byObstacle].map(([obstacle, vfs]) => classOf(obstacle, vfs, wanted))
  return new HeddleError('vf-exhausted', `${plural(meant.length, 'VF matches', 'VFs match')} ${askedOf(wanted)}on host ${host}: ${why.join(', ')}`, {
    field: wanted.pool === undefined ? 'selector' : 'pool',
    remedy: remedyOf(byObstacle),
    details: { host, matching: String(meant.length), ...Object.fromEntries([...byObstacle].map(([obstacle, vfs]) => [obstacle, String(vfs.length)])) },
  })
}

function noneMeant(host: string, inventory: Inventory, wanted: Wanted): HeddleError {
  const pfs = [...inventory.pfs.values()]
  if (pfs.length === 0) return hostWithout(host)
  const named = wanted.selector && namedPfs(wanted.selector, pfs)
  if (named !== undefined && named.found.length === 0) {
    return new HeddleError('pf-unknown', `host ${host} has no PF ${named.named.join(' or ')}; its PFs are ${listPfs(pfs)}`, {
      field: 'selector.pfNames',
      remedy: 'name one of them, or see "heddle pf ls"',
      details: { host, pfs: pfs.map(({ pci }) => pci).join(',') },
    })
  }
  const what =
    wanted.pool === undefined
      ? 'the selector matches'
      : wanted.selector === undefined
        ? `pool ${wanted.pool.name} matches`
        : `pool ${wanted.pool.name} and the selector match`
  const without = inventory.vfs.size === 0
  return new HeddleError('vf-exhausted', `${what} no VF of host ${host}; its PFs are ${listPfs(pfs)}`, {
    field: wanted.pool === undefined ? 'selector' : 'pool',
    remedy:
      without || named?.found.every(({ numVfs }) => numVfs === 0)
        ? 'create VFs with "heddle pf set-vfs"'
        : 'correct it, or create VFs with "heddle pf set-vfs"; see "heddle vf ls"',
    details: { host, matching: '0', pfs: pfs.map(({ pci }) => pci).join(',') },
  })
}

/** A VF that was named and cannot be had. */
export function notThisOne(host: string, pci: string, view: HostView, wanted: Wanted): HeddleError {
  const vf = view.inventory.vfs.get(pci)
  if (vf === undefined) return vfUnknown(host, pci, view.inventory)
  if (!isMeant(vf, view, wanted)) {
    const what =
      wanted.pool === undefined ? 'of what the selector matches' : `of pool ${wanted.pool.name}${wanted.selector === undefined ? '' : ' and the selector'}`
    return new HeddleError('vf-unknown', `VF ${pci} of host ${host} is none ${what}`, {
      field: 'pci',
      remedy: 'name another VF, or correct the pool; see "heddle vf ls"',
      details: { host, pci },
    })
  }
  const claim = view.claimOf(pci)
  const obstacle = obstacleTo(vf, view, wanted)
  const details = { host, pci, ...(claim && { owner: claim.owner, reservedBy: claim.reservedBy }) }
  if (obstacle === 'quarantined') {
    return new HeddleError('vf-quarantined', `VF ${pci} of host ${host} would not go back to its baseline: ${reasonOf(vf)}`, {
      field: 'pci',
      remedy: `try "heddle vf repair ${pci}", or use another VF`,
      details,
    })
  }
  return new HeddleError('vf-in-use', `VF ${pci} of host ${host} ${stateOf(obstacle, vf, claim)}`, { field: 'pci', remedy: remedyForOne(obstacle), details })
}

function vfUnknown(host: string, pci: string, { vfs, pfs }: Inventory): HeddleError {
  const isPf = pfs.has(pci)
  return new HeddleError(
    'vf-unknown',
    isPf
      ? `${pci} of host ${host} is a PF, not a VF`
      : `host ${host} has no VF ${pci}; it has ${plural(vfs.size, 'VF', 'VFs')} of ${listPfs([...pfs.values()])}`,
    {
      field: 'pci',
      remedy: 'see "heddle vf ls", or create VFs with "heddle pf set-vfs"',
      details: { host, pci },
    },
  )
}

/** The device that a VF should be near is none of the host's. */
export function nearUnknown(host: string, near: string): HeddleError {
  return new HeddleError('vf-unknown', `host ${host} has no PF or VF ${near} to be near to`, {
    field: 'near',
    remedy: 'name one of its PFs or VFs, or the NUMA node itself, e.g. node:0',
    details: { host, near },
  })
}

export function ownerHolds(claim: VfClaim, asked: { readonly host: string; readonly pci: string }): HeddleError {
  return new HeddleError('vf-in-use', `${claim.owner} holds VF ${claim.pci} of host ${claim.host} already, not ${asked.pci || 'one'} of host ${asked.host}`, {
    field: asked.host === claim.host ? 'pci' : 'host',
    remedy: `release it first, or ask for ${claim.pci}`,
    details: { host: claim.host, pci: claim.pci },
  })
}

export function givenUp(claim: VfClaim): HeddleError {
  return new HeddleError(
    'claim-fenced',
    `VF ${claim.pci} of host ${claim.host} was given up by ${claim.owner} because nothing had recorded the endpoint in time, and is being put back`,
    {
      remedy: 'try again in a few seconds',
      details: { host: claim.host, pci: claim.pci },
    },
  )
}

export function pfInUse(host: string, pf: string, claims: readonly VfClaim[]): HeddleError {
  const holders = claims.slice(0, 5).map((claim) => `${claim.pci} by ${holderOf(claim)}`)
  const more = claims.length > 5 ? ` and ${claims.length - 5} more` : ''
  return new HeddleError(
    'pf-in-use',
    `${plural(claims.length, 'VF', 'VFs')} of PF ${pf} of host ${host} ${claims.length === 1 ? 'is' : 'are'} claimed: ${holders.join(', ')}${more}`,
    {
      field: 'pf',
      remedy: 'stop the containers that hold them first; see "heddle vf ls"',
      details: { host, pf, claims: String(claims.length) },
    },
  )
}

export function pfUnknown(host: string, pf: string, inventory: Inventory | undefined): HeddleError {
  if (inventory === undefined || inventory.pfs.size === 0) return hostWithout(host)
  return new HeddleError('pf-unknown', `host ${host} has no PF ${pf}; its PFs are ${listPfs([...inventory.pfs.values()])}`, {
    field: 'pf',
    remedy: 'name one of them, or see "heddle pf ls"',
    details: { host, pf },
  })
}

export function listPfs(pfs: readonly Pf[]): string {
  const one = ({ names, pci, vendor, device, driver, numVfs, totalVfs }: Pf) =>
    `${names[0] ?? 'without netdev'} (${pci}, ${vendor}:${device}, ${driver || 'no driver'}, ${numVfs} of ${totalVfs} VFs)`
  return pfs.map(one).join(', ') || 'none'
}

function classOf(obstacle: Obstacle, vfs: readonly Vf[], { near }: Wanted): string {
  const named = vfs.slice(0, 3).map((vf) => `${vf.pci}: ${reasonOf(vf)}`)
  const more = vfs.length > 3 ? `; and ${vfs.length - 3} more` : ''
  const each = ` (${named.join('; ')}${more})`
  const what: Record<Obstacle, string> = {
    claimed: 'claimed',
    reserved: 'reserved by the kubelet',
    changing: 'of a PF whose VFs are being changed',
    quarantined: `quarantined${each}`,
    foreign: `in use by others${each}`,
    returning: `being put back${each}`,
    unexamined: 'not examined yet',
    far: `not near ${near}`,
    together: 'of a PF that another interface of the container has a VF of',
  }
  return `${vfs.length} ${what[obstacle]}`
}

function remedyOf(byObstacle: ReadonlyMap<Obstacle, unknown>): string {
  const remedies = ['remove containers that are no longer needed, or create more VFs with "heddle pf set-vfs"']
  if (byObstacle.has('quarantined')) remedies.push('try "heddle vf repair"')
  if (byObstacle.has('changing') || byObstacle.has('returning') || byObstacle.has('unexamined')) remedies.unshift('try again in a few seconds')
  return remedies.join(', or ')
}

function stateOf(obstacle: Obstacle | undefined, vf: Vf, claim: VfClaim | undefined): string {
  switch (obstacle) {
    case 'claimed':
      return claim?.owner === '' && claim.reservedBy === ''
        ? 'has a claim that cannot be read'
        : `is claimed by ${claim === undefined ? 'somebody' : holderOf(claim)}`
    case 'reserved':
      return `is reserved by ${claim?.reservedBy ?? 'the kubelet'}`
    case 'changing':
      return `cannot be had while the VFs of PF ${vf.pf} are being changed`
    case 'foreign':
      return `is in use by something else: ${reasonOf(vf)}`
    case 'returning':
      return `is being put back to its baseline: ${reasonOf(vf)}`
    default:
      return 'has not been examined yet'
  }
}

function remedyForOne(obstacle: Obstacle | undefined): string {
  if (obstacle === 'claimed' || obstacle === 'reserved') return 'name another VF, or stop the container that holds it; see "heddle vf ls"'
  return obstacle === 'foreign' ? 'free it there, or name another VF' : 'try again in a few seconds, or name another VF'
}

function holderOf({ owner, networkId, reservedBy }: VfClaim): string {
  if (owner === '') return reservedBy
  return `endpoint ${owner}${networkId === '' ? '' : ` of network ${networkId}`}`
}

function askedOf({ pool, selector }: Wanted): string {
  if (pool === undefined) return selector === undefined ? '' : 'the selector '
  return `pool ${pool.name}${selector === undefined ? '' : ' and the selector'} `
}

function reasonOf({ reason }: Vf): string {
  return reason || 'no reason was reported'
}

function plural(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`
}
