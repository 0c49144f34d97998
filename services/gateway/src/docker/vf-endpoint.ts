/** A VF for an endpoint of Docker's. */
import type { Network, VfAttachment } from '@heddle/contract'
import { allPages, type Call, HeddleError, macOf } from '@heddle/core'
import type { FlowParts } from '../flows/parts.ts'
import { checkKernelDriver } from './sriov-networks.ts'

export interface EndpointVf {
  readonly vf: VfAttachment
  /** What was asked for, else the VF's own: then none has to be set. */
  readonly mac: string
  /** Of the claim. */
  readonly revision: bigint
}

const noMac = '00:00:00:00:00:00'
/** Somebody was faster, or the network does not admit it. */
const notThatOne: ReadonlySet<string> = new Set(['vf-in-use', 'vf-unknown', 'vf-quarantined'])

/**
 * The same endpoint is answered the VF it has. A free VF whose own MAC is the one asked for is the one given: set on another
 * VF, the card would have it twice. Fails as the claim does, and with `unsupported` for a VF that Docker cannot use.
 */
export async function claimForDocker(parts: FlowParts, network: Network, id: string, mac: string, call: Call): Promise<EndpointVf> {
  // What was given back behind an answer is free by then for who heard the answer.
  await parts.endpoints.freed(call)
  const { vf, pf } = await claim(parts, network, id, mac, call)
  if (vf === undefined) throw new HeddleError('internal', 'vf-allocator answered no VF')
  const device = `VF ${vf.pci} of ${pf?.names[0] || vf.pf}`
  checkKernelDriver(network.sriov?.driver ?? '', device)
  if ((vf.baseline?.name ?? '') === '') {
    throw new HeddleError('unsupported', `${device} has no network interface to give to a container (driver: ${vf.driver || 'none'})`, {
      field: 'pf',
      remedy: 'bind it to its network driver on the host, or leave it out of the network with -o pf=INTERFACE#INDEXES or a pool',
    })
  }
  const own = [vf.mac, vf.baseline?.mac ?? ''].find((one) => one !== '' && one !== noMac)
  const settings = network.sriov?.settings
  return {
    vf: { pci: vf.pci, pf: vf.pf, settings, baseline: vf.baseline, driver: '', iommuGroup: '' },
    mac: mac || own || macOf(id),
    revision: vf.claim?.revision ?? 0n,
  }
}

async function claim({ cluster }: FlowParts, network: Network, owner: string, mac: string, call: Call) {
  const { host, vfAllocator } = cluster
  const { pool = '', selector, policy = '' } = network.sriov ?? {}
  const wish = { owner, host, pool, selector, policy, networkId: network.id }
  if (mac === '') return vfAllocator.claim(wish, call)
  const vfs = await allPages(
    (pageToken) => vfAllocator.listVfs({ host, pool, pageToken }, call),
    (page) => page.vfs,
  )
  const pci = vfs.find((vf) => vf.mac === mac && vf.claim === undefined)?.pci
  if (pci === undefined) return vfAllocator.claim(wish, call)
  try {
    return await vfAllocator.claim({ ...wish, pci }, call)
  } catch (error) {
    if (!notThatOne.has(HeddleError.from(error).code)) throw error
    return vfAllocator.claim(wish, call)
  }
}
