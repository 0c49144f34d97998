/** Checks of requests, field by field, before anything is looked up. What comes out is canonical. */
import type { Pf, Vf, VfAllocatorClaimRequest, VfAllocatorReportRequest, VfPool, VfSelector } from '@heddle/contract'
import { checkHostName, checkNetworkName, checkOpaqueId, checkPci, checkVfDriver, checkVfNear, checkVfPolicy, checkVfSelector, invalid } from '@heddle/core'
import type { Reported } from './domain/inventory.ts'

export interface Asked {
  readonly owner: string
  readonly host: string
  readonly pci: string
  /** Name; empty: none. */
  readonly pool: string
  readonly selector: VfSelector | undefined
  readonly policy: string
  readonly near: string
  readonly apart: boolean
  readonly group: string
  readonly networkId: string
}

const reservers = ['', 'kubelet']
const maxSelectors = 64
/** Far more than the functions of any machine; their record has to fit a request of etcd (1.5 MiB). */
const maxVfs = 1_500
const maxText = 256

export function checkClaim(request: VfAllocatorClaimRequest): { readonly asked: Asked; readonly reserveFor: string } {
  const { owner, reserveFor, policy, networkId, group } = request
  if (!reservers.includes(reserveFor))
    throw invalid('reserveFor', `nobody reserves as ${JSON.stringify(reserveFor.slice(0, 80))}`, 'use "kubelet", or leave it empty')
  if (reserveFor !== '' && owner !== '') throw invalid('owner', 'a reservation has no owner', 'give either an owner or who it is reserved for')
  if (reserveFor !== '' && request.pci === '') throw invalid('pci', 'a reservation is of a certain VF', 'give its PCI address')
  const asked: Asked = {
    owner: reserveFor === '' ? checkOpaqueId(owner, 'owner') : '',
    host: checkHostName(request.host),
    pci: request.pci === '' ? '' : checkPci(request.pci, 'pci'),
    pool: request.pool === '' ? '' : checkNetworkName(request.pool, 'pool'),
    selector: meaningful(request.selector && checkVfSelector(request.selector, 'selector')),
    policy: checkVfPolicy(policy, 'policy'),
    near: checkVfNear(request.near, 'near'),
    apart: request.apart,
    group: group === '' ? '' : checkOpaqueId(group, 'group'),
    networkId: networkId === '' ? '' : checkOpaqueId(networkId, 'networkId'),
  }
  if (asked.apart && asked.group === '') throw invalid('group', 'from which other claims it is kept apart is not said', 'give the group, e.g. the container id')
  return { asked, reserveFor }
}

export function checkReport({ host, epoch, pfs, vfs }: VfAllocatorReportRequest): Reported {
  if (vfs.length > maxVfs) throw invalid('vfs', `${vfs.length} VFs are more than the record of a host holds`, `create at most ${maxVfs} on a host`)
  const seen = new Set<string>()
  const once = (pci: string, field: string) => {
    const canonical = checkPci(pci, field)
    if (seen.has(canonical)) throw invalid(field, `${canonical} is reported twice`)
    seen.add(canonical)
    return canonical
  }
  const checkedPfs = pfs.map((pf, index): Pf => ({ ...pf, pci: once(pf.pci, `pfs[${index}].pci`) }))
  const checkedVfs = vfs.map((vf, index): Vf => {
    const field = `vfs[${index}]`
    if (vf.generation === '' || vf.generation.length > maxText) throw invalid(`${field}.generation`, 'a VF has a generation of 1 to 256 characters')
    return { ...vf, pci: once(vf.pci, `${field}.pci`), pf: checkPci(vf.pf, `${field}.pf`), reason: vf.reason.slice(0, 2 * maxText) }
  })
  const pfSet = new Set(checkedPfs.map(({ pci }) => pci))
  for (const [index, { pf, pci }] of checkedVfs.entries()) if (!pfSet.has(pf)) throw invalid(`vfs[${index}].pf`, `the PF of ${pci} is not reported with it`)
  return { host: checkHostName(host), epoch: checkOpaqueId(epoch, 'epoch'), pfs: checkedPfs, vfs: checkedVfs }
}

/** Times and revisions are the repository's. */
export function checkPool(pool: VfPool | undefined): VfPool {
  if (pool === undefined) throw invalid('pool', 'the pool is missing', 'give its name and selectors')
  if (pool.selectors.length === 0 || pool.selectors.length > maxSelectors)
    throw invalid('pool.selectors', `a pool of ${pool.selectors.length} selectors is not possible`, `give 1 to ${maxSelectors}; an empty one matches every VF`)
  return {
    name: checkNetworkName(pool.name, 'pool.name'),
    selectors: pool.selectors.map((selector, index) => checkVfSelector(selector, `pool.selectors[${index}]`)),
    policy: checkVfPolicy(pool.policy, 'pool.policy') || 'pack',
    driver: checkVfDriver(pool.driver, 'pool.driver'),
    resourceName: checkResourceName(pool.resourceName),
    createdAt: '',
    revision: 0n,
  }
}

/** An extended resource of Kubernetes: a DNS subdomain, and a name of at most 63 characters (k8s.io/apimachinery IsQualifiedName). */
function checkResourceName(name: string): string {
  const shape = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\/[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/
  if (name === '' || shape.test(name)) return name
  throw invalid('pool.resourceName', `${JSON.stringify(name.slice(0, 80))} is not the name of a resource`, 'write it as prefix/name, e.g. heddle.dev/fast')
}

/** A selector that narrows nothing is none, so that no message speaks of it. */
function meaningful(selector: VfSelector | undefined): VfSelector | undefined {
  if (selector === undefined) return undefined
  return Object.values(selector).some((value) => (Array.isArray(value) ? value.length > 0 : value === true)) ? selector : undefined
}
