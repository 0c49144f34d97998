/** STATUS of a network of kind sriov: whether its host has a VF that an ADD could be given. */
import type { SriovNetwork, Vf } from '@heddle/contract'
import { allPages, type Call, HeddleError } from '@heddle/core'
import type { FlowParts } from '../flows/parts.ts'
import type { VfWish } from '../flows/vf.ts'

/**
 * Undefined when there is one, or when each ADD names its device: who hands those out knows which are free. A selector that says
 * more than a PF is narrower than what is counted here. Fails as VfAllocator does.
 */
export async function lackOfVfs(
  { cluster }: Pick<FlowParts, 'cluster'>,
  name: string,
  sriov: SriovNetwork | undefined,
  wish: VfWish | undefined,
  call: Call,
): Promise<HeddleError | undefined> {
  const { host, vfAllocator } = cluster
  const { pool = '', selector } = wish?.pool || wish?.selector ? wish : (sriov ?? {})
  const [pfName = ''] = selector?.pfNames.length === 1 ? selector.pfNames : []
  const pf = pfName.split('#', 1)[0] ?? ''
  const vfs = await allPages(
    (pageToken) => vfAllocator.listVfs({ host, pool, pf, pageToken }, call),
    (page) => page.vfs,
  )
  if (pool === '' && selector === undefined) return undefined
  if (vfs.some(isFree)) return undefined
  const where = `${pool === '' ? '' : ` of pool ${pool}`}${pf === '' ? '' : ` of PF ${pf}`} on host ${host}`
  const what = vfs.length === 0 ? `network ${name} has no VF${where}` : `every VF${where} is in use or cannot be had: ${vfs.length} of ${vfs.length}`
  return new HeddleError('vf-exhausted', what, {
    field: pool === '' ? 'pf' : 'vfPool',
    remedy: vfs.length === 0 ? 'make VFs with `heddle pf set-vfs`, or correct the pool' : 'remove containers, or see `heddle vf ls`',
  })
}

function isFree({ state, claim }: Vf): boolean {
  return claim === undefined && state === 'ready'
}
