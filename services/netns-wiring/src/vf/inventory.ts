/** The host's PFs and VFs as they are reported: what is there, in which state, why, and which baseline is proposed. */
import { Pf, Vf, type VfBaseline, type VfSettings } from '@heddle/contract'
import { type Call, raceCall } from '@heddle/core'
import { type AddressInfo, isUserSpaceDriver, type LinkInfo, type Netdev, type PhysicalFunction, type VfInfo } from '@heddle/kernel'
import { parseMark } from '../domain/marks.ts'
import { parseEndpointAlias } from '../domain/names.ts'
import type { HostContext } from '../host-context.ts'
import type { Cards, VfView } from './cards.ts'
import type { VfSurroundings } from './surroundings.ts'
import { baselineDifferences, overrideLeft } from './verify.ts'

/** One VF as it was read, with what stands on its netdev or holds its device node. */
export interface Seen {
  readonly view: VfView
  readonly pf: PhysicalFunction
  readonly generation: string
  /** Who but us uses it, in words; empty: nobody that can be seen. */
  readonly user: string
  /** It has its driver, and its netdev the final name (udev); or neither is to be expected any more. */
  readonly settled: boolean
}

export interface Inventory {
  readonly pfs: readonly Pf[]
  readonly seen: readonly Seen[]
}

/** What the allocator has recorded of a VF in this generation. */
export interface Recorded {
  readonly baseline: VfBaseline | undefined
  readonly claimed: boolean
}

const infiniband = 32
/** A driver is bound and registers its netdev within this time; without one after it, there is none on the host. */
const netdevWaitMs = 5000

export class InventoryReader {
  readonly #context: HostContext
  readonly #cards: Cards
  readonly #users: VfSurroundings['users']
  readonly #isNamed: VfSurroundings['isNamed']
  #firstSeenMs = new Map<string, number>()
  #bootId: string | undefined

  constructor(context: HostContext, cards: Cards, { users, isNamed }: VfSurroundings) {
    this.#context = context
    this.#cards = cards
    this.#users = users
    this.#isNamed = isNamed
  }

  /** `owned`: VFs of which it is known who has them. */
  async read(owned: ReadonlySet<string>, call: Call): Promise<Inventory> {
    const functions = await raceCall(this.#cards.sysfs.physicalFunctions(), call)
    if (functions.length === 0) return { pfs: [], seen: [] }
    const { kernel, hostNs, host } = this.#context
    this.#bootId ??= await this.#cards.sysfs.bootId()
    const [links, addresses, routes] = await Promise.all([kernel.links(hostNs, call), kernel.addresses(hostNs, call), kernel.routes(hostNs, call)])
    const users = await this.#usersOf(functions, owned, call)
    const byName = new Map(links.map((link) => [link.name, link]))
    const defaultRoutes = new Set(routes.filter(({ destination }) => destination.endsWith('/0')).map(({ linkIndex }) => linkIndex))
    const carries = (link: LinkInfo | undefined) => link !== undefined && (defaultRoutes.has(link.index) || defaultRoutes.has(link.masterIndex))
    const pfs: Pf[] = []
    const seen: Seen[] = []
    for (const pf of functions) {
      const name = pf.netdevs[0]?.name ?? ''
      const infos = name === '' || !byName.has(name) ? undefined : await this.#cards.infos(pf.pci, name, call)
      pfs.push(pfMessage(pf, host, carries(byName.get(name))))
      for (const vf of pf.vfs) {
        const link = byName.get(vf.netdevs[0]?.name ?? '')
        const view: VfView = { vf, pfName: infos === undefined ? '' : name, info: infos?.find(({ index }) => index === vf.index), link }
        const generation = `${this.#bootId}:${vf.inode}`
        const user = isUserSpaceDriver(vf.driver) ? (users.get(vf.iommuGroup) ?? '') : userOf(view, links, addresses, carries(link))
        seen.push({ view, pf, generation, user, settled: this.#isSettled(view, pf, generation) })
      }
    }
    this.#firstSeenMs = new Map(seen.map(({ generation }) => [generation, this.#firstSeenMs.get(generation) ?? 0]))
    return { pfs, seen }
  }

  #usersOf(functions: readonly PhysicalFunction[], owned: ReadonlySet<string>, call: Call): Promise<ReadonlyMap<string, string>> {
    const vfs = functions.flatMap((pf) => pf.vfs).filter(({ pci, driver, iommuGroup }) => isUserSpaceDriver(driver) && iommuGroup !== '' && !owned.has(pci))
    return vfs.length === 0 ? Promise.resolve(new Map()) : raceCall(this.#users(new Set(vfs.map(({ iommuGroup }) => iommuGroup))), call)
  }

  #isSettled({ vf, link }: VfView, pf: PhysicalFunction, generation: string): boolean {
    const nowMs = this.#context.clock.monotonicMs()
    const first = this.#firstSeenMs.get(generation) ?? nowMs
    this.#firstSeenMs.set(generation, first)
    const waited = nowMs - first >= netdevWaitMs
    if (isUserSpaceDriver(vf.driver)) return true
    // A VF is there before its driver is bound, whose module may have to be loaded first.
    if (vf.driver === '') return waited || !pf.driversAutoprobe
    return waited || (link !== undefined && this.#isNamed(link))
  }
}

/** Who on the host uses a netdev, in words; empty: nobody that can be seen. */
function userOf({ link }: VfView, links: readonly LinkInfo[], addresses: readonly AddressInfo[], carries: boolean): string {
  if (link === undefined) return ''
  const given = parseMark(link.alias)
  if (given !== undefined) return `${link.name} is given to endpoint ${given.endpointId} as a device of the host`
  const master = links.find(({ index }) => index === link.masterIndex)
  const above = links.find(({ peerIndex, kind, peerElsewhere }) => kind !== 'veth' && kind !== '' && !peerElsewhere && peerIndex === link.index)
  const address = addresses.find((one) => one.linkIndex === link.index && !/^fe80:/i.test(one.address))
  if (master !== undefined) return `${link.name} is a port of ${master.name}`
  if (above !== undefined) return `${above.name} stands on ${link.name}`
  if (carries) return `${link.name} carries a default route of the host`
  return address === undefined ? '' : `${link.name} has address ${address.address} of the host`
}

export type VfState = 'ready' | 'used' | 'foreign' | 'dirty' | 'quarantined' | 'new'

/** What a VF is, from what was read and what is recorded: physical, so a VF that is claimed but not yet touched is "ready". Pure. */
export function stateOf(
  { view, user, settled }: Seen,
  recorded: Recorded,
  quarantined: string | undefined,
): { readonly state: VfState; readonly reason: string } {
  const { vf, info, link } = view
  const kernelDriver = vf.driver !== '' && !isUserSpaceDriver(vf.driver)
  const { baseline, claimed } = recorded
  const differences = baseline === undefined ? [] : baselineDifferences(view, baseline)
  // Before its claim: who held it has been told that it is gone, and frees it next.
  if (quarantined !== undefined) return { state: 'quarantined', reason: quarantined }
  // Whose process has the node of a claimed one open is no question.
  if (claimed && (baseline === undefined || differences.length > 0 || isUserSpaceDriver(vf.driver))) return { state: 'used', reason: '' }
  if (user !== '') return { state: 'foreign', reason: user }
  if (info === undefined) return { state: 'foreign', reason: "its PF has no netdev in the host's namespace, so it cannot be set" }
  const marked = link === undefined ? undefined : parseEndpointAlias(link.alias)
  const isElsewhere = kernelDriver && link === undefined && baseline?.name !== ''
  if (isElsewhere && (settled || baseline !== undefined)) return { state: 'foreign', reason: "its netdev is not in the host's namespace" }
  if (baseline === undefined) {
    return marked === undefined
      ? { state: 'new', reason: 'no baseline is recorded yet' }
      : { state: 'dirty', reason: `the netdev bears the mark of endpoint ${marked.endpointId}` }
  }
  const override = overrideLeft(vf)
  const dirt = override === '' ? differences : [...differences, `its driver_override is ${override}`]
  return dirt.length > 0 ? { state: 'dirty', reason: dirt.join(', ') } : { state: 'ready', reason: '' }
}

/** What a VF is like that nobody uses; undefined while that cannot be said. */
export function proposedBaseline({ view, user, settled }: Seen): VfBaseline | undefined {
  const { vf, info, link } = view
  if (info === undefined || user !== '' || !settled) return undefined
  if (vf.driver !== '' && !isUserSpaceDriver(vf.driver) && (link === undefined || link.alias.startsWith('heddle:'))) return undefined
  return { settings: settingsOf(info, link?.mtu), name: link?.name ?? '', mac: link?.mac ?? '', driver: vf.driver }
}

export function settingsOf(info: VfInfo, mtu: number | undefined): VfSettings {
  return {
    mac: info.mac,
    vlan: info.vlan,
    vlanQos: info.qos,
    vlanProto: info.protocol,
    spoofchk: info.spoofchk,
    trust: info.trust,
    minTxRate: info.minTxRate,
    maxTxRate: info.maxTxRate,
    linkState: info.linkState,
    mtu,
    trunk: [],
  }
}

export function vfMessage(host: string, seen: Seen, state: { readonly state: string; readonly reason: string }): Vf {
  const { view, pf, generation } = seen
  const { vf, info, link } = view
  const { pci, index, vendor, device, driver, numaNode, iommuGroup, rdmaDevices, vdpaDevices, representor } = vf
  const baseline = proposedBaseline(seen)
  return Vf.fromPartial({
    host,
    pci,
    pf: pf.pci,
    index,
    vendor,
    device,
    driver,
    name: link?.name ?? '',
    mac: link?.mac ?? '',
    numaNode,
    linkType: linkType(vf.netdevs[0] ?? pf.netdevs[0]),
    iommuGroup,
    rdmaDevices: [...rdmaDevices],
    vdpaDevices: [...vdpaDevices],
    representor,
    generation,
    ...state,
    ...(info === undefined ? {} : { settings: settingsOf(info, link?.mtu) }),
    ...(baseline === undefined ? {} : { baseline }),
    pfName: pf.netdevs[0]?.name ?? '',
  })
}

function pfMessage(pf: PhysicalFunction, host: string, carriesDefaultRoute: boolean): Pf {
  const { pci, vendor, device, driver, numaNode, totalVfs, numVfs, rdmaDevices } = pf
  const uplink = pf.netdevs[0]
  return Pf.fromPartial({
    host,
    pci,
    names: pf.netdevs.map(({ name }) => name),
    vendor,
    device,
    driver,
    numaNode,
    linkType: linkType(uplink),
    mac: uplink?.mac ?? '',
    mtu: uplink?.mtu ?? 0,
    carrier: uplink?.carrier ?? false,
    totalVfs,
    numVfs,
    eswitchMode: pf.switchdev ? 'switchdev' : 'legacy',
    rdmaDevices: [...rdmaDevices],
    carriesDefaultRoute,
  })
}

const linkType = (netdev: Netdev | undefined): string => (netdev?.type === infiniband ? 'infiniband' : 'ether')
