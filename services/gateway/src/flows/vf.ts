/**
 * The VF of an endpoint: which one is claimed for it, and what is set on it. Where a call says something of its VF that goes
 * before what the network says: of which VFs it is one, as a whole; of its settings, each by itself.
 */
import { type Network, type Vf, type VfAttachment, type VfSelector, VfSettings } from '@heddle/contract'
import { allPages, type Call, checkVfSettings, HeddleError, macOf } from '@heddle/core'
import type { FlowParts } from './parts.ts'
import { together } from './undo.ts'

/** What a call asks of its VF. Nothing: any VF of the network's, set as the network says. */
export interface VfWish {
  /** PCI address, canonical; empty: any that the rest admits. */
  readonly pci?: string
  readonly pool?: string
  readonly selector?: VfSelector | undefined
  /** Checked. */
  readonly settings?: VfSettings | undefined
  /** User-space driver; empty: the network's. */
  readonly driver?: string
}

export interface VfOwner {
  /** Of the endpoint. */
  readonly id: string
  /** Asked for; empty: the VF's own, so that none has to be set. */
  readonly mac: string
  /** Claims of one container can be kept on different PFs. */
  readonly containerId: string
}

export interface ClaimedVf {
  /** As its host last reported it. */
  readonly vf: Vf
  readonly attachment: VfAttachment
  readonly mac: string
  /** Of the claim. */
  readonly revision: bigint
}

/** Before anything is asked of anybody: which VFs are meant, and what is to be set. */
export interface VfPlan {
  readonly pci: string
  readonly pool: string
  readonly selector: VfSelector | undefined
  readonly settings: VfSettings
  readonly driver: string
}

const userSpaceDriver = 'vfio-pci'
const noMac = '00:00:00:00:00:00'
/** Somebody was faster, or the network does not admit it. */
const notThatOne: ReadonlySet<string> = new Set(['vf-in-use', 'vf-unknown', 'vf-quarantined'])

/** Fails with invalid-argument when nobody says which VFs are meant, or when network and call contradict each other. */
export function planVf(network: Pick<Network, 'name' | 'sriov'>, wish: VfWish = {}): VfPlan {
  const { sriov } = network
  const { pci = '', pool = '', selector } = wish
  const from = pool !== '' || selector !== undefined ? { pool, selector } : { pool: sriov?.pool ?? '', selector: sriov?.selector }
  if (pci === '' && from.pool === '' && from.selector === undefined) {
    throw new HeddleError('invalid-argument', `network ${network.name} does not say which VFs are its own, and this call names none`, {
      field: 'deviceID',
      remedy: 'give the PCI address of a VF (deviceID), a VF pool (vfPool) or a PF (pf)',
    })
  }
  return { pci, ...from, settings: checkVfSettings(overlaid(sriov?.settings, wish.settings), 'vf'), driver: wish.driver || (sriov?.driver ?? '') }
}

/** The same owner is answered the VF it has. Fails as VfAllocator.Claim does. */
export async function claimVf(parts: FlowParts, network: Network, plan: VfPlan, owner: VfOwner, call: Call): Promise<ClaimedVf> {
  const [{ vf }, poolDriver] = await together([claim(parts, network, plan, owner, call), driverOfPool(parts, plan, call)])
  if (vf === undefined) throw new HeddleError('internal', 'vf-allocator answered no VF')
  // A VF that its host, or the kubelet's device plugin, has bound to a user-space driver is used with that one.
  const driver = plan.driver || poolDriver || (vf.driver === userSpaceDriver ? userSpaceDriver : '')
  const own = [vf.baseline?.mac, vf.mac].find((mac) => mac !== undefined && mac !== '' && mac !== noMac)
  const settings = owner.mac === '' ? plan.settings : { ...plan.settings, mac: owner.mac }
  return {
    vf,
    attachment: { pci: vf.pci, pf: vf.pf, settings, baseline: vf.baseline, driver, iommuGroup: driver === '' ? '' : vf.iommuGroup },
    mac: owner.mac || own || macOf(owner.id),
    revision: vf.claim?.revision ?? 0n,
  }
}

/** For who has put the VF back. Repeatable; succeeds when there is no claim. */
export async function releaseVf({ cluster }: Pick<FlowParts, 'cluster'>, endpointId: string, call: Call): Promise<void> {
  await cluster.vfAllocator.release({ owner: endpointId, host: cluster.host }, call)
}

/** Whether two attachments are of the same VF in the same shape. */
export function sameVf(one: VfAttachment, other: VfAttachment | undefined): boolean {
  const text = (settings: VfSettings | undefined) => JSON.stringify(VfSettings.toJSON(settings ?? VfSettings.create()))
  return other !== undefined && one.pci === other.pci && one.driver === other.driver && text(one.settings) === text(other.settings)
}

/** A VLAN's priority and protocol are the VLAN's: whoever names another VLAN, or a trunk instead, does not inherit them. */
function overlaid(network: VfSettings = VfSettings.create(), call: VfSettings = VfSettings.create()): VfSettings {
  const given = Object.fromEntries(Object.entries(call).filter(([name, value]) => value !== undefined && name !== 'trunk'))
  const trunk = call.trunk.length > 0 ? call.trunk : call.vlan ? [] : network.trunk
  const vlanIsOther = call.vlan !== undefined || call.trunk.length > 0
  return { ...network, ...(vlanIsOther ? { vlan: undefined, vlanQos: undefined, vlanProto: undefined } : {}), ...given, trunk }
}

async function claim({ cluster }: FlowParts, network: Network, { pci, pool, selector }: VfPlan, { id, mac, containerId }: VfOwner, call: Call) {
  const { host, vfAllocator } = cluster
  const { policy = '', apart = false, near = '' } = network.sriov ?? {}
  const wish = { owner: id, host, pci, pool, selector, policy, near, apart: apart && containerId !== '', group: containerId, networkId: network.id }
  const twin = mac === '' || pci !== '' ? undefined : await freeWithMac(cluster, pool, mac, call)
  if (twin === undefined) return vfAllocator.claim(wish, call)
  try {
    return await vfAllocator.claim({ ...wish, pci: twin }, call)
  } catch (error) {
    if (!notThatOne.has(HeddleError.from(error).code)) throw error
    return vfAllocator.claim(wish, call)
  }
}

/** A free VF whose own MAC is the one asked for: set on another VF, the card would have it twice. */
async function freeWithMac({ host, vfAllocator }: FlowParts['cluster'], pool: string, mac: string, call: Call): Promise<string | undefined> {
  const vfs = await allPages(
    (pageToken) => vfAllocator.listVfs({ host, pool, pageToken }, call),
    (page) => page.vfs,
  )
  return vfs.find((vf) => vf.mac === mac && vf.claim === undefined)?.pci
}

async function driverOfPool({ cluster }: FlowParts, { pool, driver }: VfPlan, call: Call): Promise<string> {
  if (pool === '' || driver !== '') return ''
  const { pools } = await cluster.vfAllocator.listPools({ name: pool }, call)
  return pools[0]?.pool?.driver ?? ''
}
