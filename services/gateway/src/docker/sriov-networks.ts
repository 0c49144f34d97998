/** Docker networks of kind sriov: where their VFs come from, and whether one that is there is what was asked for. */
import type { Network, SriovNetwork } from '@heddle/contract'
import { type Call, HeddleError, invalid } from '@heddle/core'
import type { FlowParts } from '../flows/parts.ts'
import type { NetworkOptions } from './options.ts'
import { sriovText } from './sriov-options.ts'

/**
 * A mistyped name is told when the network is made, not when the first container wants a VF. That there are VFs, or free
 * ones, is not asked for: they may come later. Fails with vf-pool-unknown, pf-unknown, invalid-argument, unsupported.
 */
export async function checkVfSource({ cluster }: Pick<FlowParts, 'cluster'>, sriov: SriovNetwork | undefined, call: Call): Promise<void> {
  const { pool = '', selector } = sriov ?? {}
  const [pf = ''] = selector?.pfNames ?? []
  if (pool === '' && pf === '') throw invalid('pf', 'a network of kind sriov needs a PF or a pool to take VFs from', 'give -o pf=INTERFACE or -o pool=NAME')
  if (pool !== '') {
    const { pools } = await cluster.vfAllocator.listPools({ name: pool }, call)
    const [found] = pools
    if (found === undefined) {
      throw new HeddleError('vf-pool-unknown', `there is no VF pool ${pool}`, {
        field: 'pool',
        remedy: `create it with \`heddle vf pool create ${pool}\`, or name a PF with -o pf=INTERFACE`,
      })
    }
    checkKernelDriver(found.pool?.driver ?? '', `VF pool ${pool}`)
  }
  if (pf !== '') {
    const [name = ''] = pf.split('#', 1)
    const { pfs } = await cluster.vfAllocator.listPfs({ host: cluster.host }, call)
    if (pfs.some((one) => one.names.includes(name))) return
    const names = pfs.flatMap((one) => one.names.slice(0, 1)).join(', ')
    throw new HeddleError('pf-unknown', `${name} is not a device of host ${cluster.host} that can have VFs`, {
      field: 'pf',
      remedy: names === '' ? 'this host has no SR-IOV card that Heddle knows of; see `heddle pf ls`' : `use one of ${names}`,
    })
  }
}

/** Docker can only move a network interface. */
function checkKernelDriver(driver: string, what: string): void {
  if (driver === '') return
  throw new HeddleError('unsupported', `${what} gives VFs to the driver ${driver}, and Docker can only use a VF that has a network interface`, {
    field: 'driver',
    remedy: 'use another pool or network; CNI and Kubernetes take such VFs',
  })
}

/** The first option that was given and is not as the network has it. */
export function sriovMismatch(network: Network, options: NetworkOptions): { readonly option: string; readonly has: string } | undefined {
  checkKernelDriver(network.sriov?.driver ?? '', `network ${network.name}`)
  const [has, wants] = [sriovText(network.sriov), sriovText(options.sriov)]
  for (const [option, value] of Object.entries(wants)) {
    const there = has[option as keyof typeof has]
    if (value !== '' && value !== there) return { option, has: there }
  }
  return undefined
}
