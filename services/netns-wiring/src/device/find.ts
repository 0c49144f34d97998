/** A device of the host by its name, MAC or PCI address, and whether it may be given away. Reads only. */
import { type Network, ParentLink } from '@heddle/contract'
import { type Call, checkParent, HeddleError, invalid, raceCall } from '@heddle/core'
import type { LinkInfo, Sysfs } from '@heddle/kernel'
import { parseMark } from '../domain/marks.ts'
import { isOurs, parseEndpointAlias } from '../domain/names.ts'
import type { HostContext } from '../host-context.ts'
import type { Places } from '../lone/places.ts'
import type { Held } from '../lone/source.ts'
import { isOf } from '../vf/cards.ts'

export interface FindParts {
  readonly context: HostContext
  readonly places: Places
  readonly sysfs: Sysfs
  /** The endpoint that has claimed a VF; undefined: nobody. */
  readonly vfOwner: (pci: string) => string | undefined
  /** Every endpoint of this host with a link of its own, by id. */
  readonly all: (call: Call) => Promise<ReadonlyMap<string, Held>>
}

/** One of its name, MAC and PCI address, in canonical form. Throws invalid-argument. */
export function wishOf({ kind, parent }: Network): ParentLink {
  return checkParent(kind, parent, 'network.parent') ?? ParentLink.create()
}

export const wishText = ({ name, mac, pci }: ParentLink): string => name || (mac === '' ? `at ${pci}` : `with MAC ${mac}`)

/** In the host's namespace and used by nobody there. Throws device-unknown, device-in-use, invalid-argument. */
export async function findDevice(parts: FindParts, wish: ParentLink, call: Call): Promise<LinkInfo> {
  const { kernel, hostNs } = parts.context
  const links = await kernel.links(hostNs, call)
  const names = wish.pci === '' ? [] : await raceCall(parts.sysfs.netdevs(wish.pci), call)
  const found = links.filter((link) => matches(wish, link, names))
  const [link, ...more] = found
  if (link === undefined) throw await absent(parts, wish, call)
  if (more.length > 0) {
    const all = found.map(({ name }) => name).join(', ')
    throw invalid('network.parent', `${found.length} links of host ${parts.context.host} have what the network names its device by: ${all}`, 'name one of them')
  }
  const user = await userOf(parts, link, links, call)
  if (user !== '') throw inUse(link.name, `${link.name} cannot be given away: ${user}`)
  return link
}

/** What stands on a card has its MAC too, and is not meant. */
function matches({ name, mac, pci }: ParentLink, link: LinkInfo, names: readonly string[]): boolean {
  if (name !== '') return link.name === name
  if (link.kind !== '' && link.kind !== 'veth') return false
  return pci === '' ? link.mac === mac : link.parentDevice === pci || (names.includes(link.name) && isOf(link, pci))
}

/** Why the host would miss it, in words; empty: it would not. */
async function userOf(parts: FindParts, link: LinkInfo, links: readonly LinkInfo[], call: Call): Promise<string> {
  const { context, places } = parts
  const { index, name } = link
  if (name === 'lo') return 'it is the loopback of the host'
  if (isOurs(name) || name.startsWith('hv') || /^heddle[:-]/.test(link.alias)) return whose(link)
  if (context.underlay?.interface === name) return 'it carries the packets of overlay networks'
  const master = links.find((one) => one.index === link.masterIndex)
  if (link.masterIndex !== 0) return `it is a port of ${master?.name ?? 'a bridge or a bond'}`
  const above = links.find(({ kind, peerIndex, peerElsewhere }) => kind !== '' && kind !== 'veth' && peerIndex === index && !peerElsewhere)
  if (above !== undefined) return `${above.name} stands on it`
  const routes = await context.kernel.routes(context.hostNs, call)
  if (routes.some(({ destination, linkIndex }) => linkIndex === index && destination.endsWith('/0'))) return 'it has a default route of the host'
  for (const [id, held] of await parts.all(call)) {
    const isOnIt = !held.isDevice && held.link.peerIndex === index && (await places.find(id, [held.ns], true, call)) !== undefined
    if (isOnIt) return `endpoint ${id} stands on it`
  }
  return isPci(link.parentDevice) ? functionUser(parts, link.parentDevice, call) : ''
}

/** A PF that has left the host can set none of its VFs, and a VF that is claimed is another's. */
async function functionUser({ sysfs, vfOwner }: FindParts, pci: string, call: Call): Promise<string> {
  const owner = vfOwner(pci)
  if (owner !== undefined) return `VF ${pci} is of endpoint ${owner}`
  const { numVfs = 0 } = (await raceCall(sysfs.physicalFunction(pci), call)) ?? {}
  return numVfs === 0 ? '' : `it sets its ${numVfs} VFs`
}

const isPci = (device: string) => /^[0-9a-f]{4,}:[0-9a-f]{2}:/.test(device)

function whose({ alias }: LinkInfo): string {
  const given = parseMark(alias)
  if (given !== undefined) return `it is given to endpoint ${given.endpointId} already`
  const endpoint = parseEndpointAlias(alias)?.endpointId
  return endpoint === undefined ? 'it is a link of Heddle' : `it is of endpoint ${endpoint}`
}

/** Given away already, or never there. */
async function absent({ context, places }: FindParts, wish: ParentLink, call: Call): Promise<HeddleError> {
  const given = (await places.all(call)).find(({ mark: { device }, link }) => device !== undefined && isMeant(wish, device, link))
  if (given !== undefined) {
    const { mark, link } = given
    return inUse(mark.device?.name ?? link.name, `device ${wishText(wish)} is given to endpoint ${mark.endpointId} already`)
  }
  return new HeddleError('device-unknown', `host ${context.host} has no device ${wishText(wish)}`, {
    field: 'network.parent',
    remedy: 'see "ip -d link" for the devices of the host, and whether its driver is loaded',
    details: { device: wishText(wish), host: context.host },
  })
}

/** Whether a device that was given away is the one. */
export function isMeant({ name, mac, pci }: ParentLink, before: { readonly name: string; readonly mac: string }, link: LinkInfo): boolean {
  if (name !== '') return before.name === name
  return pci === '' ? before.mac === mac : link.parentDevice === pci
}

function inUse(device: string, message: string): HeddleError {
  return new HeddleError('device-in-use', message, { field: 'network.parent', remedy: 'take another device, or end what uses this one', details: { device } })
}
