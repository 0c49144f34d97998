/** Which link and address carry this host's VXLAN packets. */
import type { Call } from '@heddle/core'
import type { AddressInfo, Kernel, LinkInfo, Namespace, RouteInfo } from '@heddle/kernel'
import { withoutLength } from './domain/endpoint-steps.ts'
import type { Underlay } from './domain/network-shape.ts'

export interface UnderlayChoice {
  readonly interface?: string | undefined
  readonly address?: string | undefined
}

/** Undefined when nothing fits; it is looked for again. */
export async function findUnderlay(kernel: Kernel, ns: Namespace, choice: UnderlayChoice, call: Call): Promise<Underlay | undefined> {
  const [links, addresses, routes] = await Promise.all([
    kernel.links(ns, call),
    kernel.addresses(ns, call),
    choice.interface || choice.address ? [] : kernel.routes(ns, call),
  ])
  return chooseUnderlay(choice, links, addresses, routes)
}

/** Whether a choice made earlier is still one that can be made: what is read does not grow with the endpoints on the host. */
export async function isThere(kernel: Kernel, ns: Namespace, underlay: Underlay, call: Call): Promise<boolean> {
  const link = await kernel.link(ns, underlay.interface, call)
  if (link?.mtu !== underlay.mtu) return false
  return (await kernel.addressesOf(ns, link.index, call)).some(({ address }) => withoutLength(address) === underlay.address)
}

/** The given address; else a global address (IPv4 first) of the given interface, or of the one with the default route. */
export function chooseUnderlay(
  choice: UnderlayChoice,
  links: readonly LinkInfo[],
  addresses: readonly AddressInfo[],
  routes: readonly RouteInfo[],
): Underlay | undefined {
  const candidates = addresses.filter(({ address }) => !address.startsWith('fe80:') && !address.startsWith('127.') && !address.startsWith('::1/'))
  const index = links.find(({ name }) => name === choice.interface)?.index ?? defaultRoute(routes)
  const found = choice.address
    ? addresses.find(({ address, linkIndex }) => withoutLength(address) === choice.address && (!choice.interface || linkIndex === index))
    : (candidates.find(({ address, linkIndex }) => linkIndex === index && !address.includes(':')) ?? candidates.find(({ linkIndex }) => linkIndex === index))
  const link = links.find((one) => one.index === found?.linkIndex)
  return found === undefined || link === undefined ? undefined : { interface: link.name, address: withoutLength(found.address), mtu: link.mtu }
}

function defaultRoute(routes: readonly RouteInfo[]): number | undefined {
  return (routes.find(({ destination }) => destination === '0.0.0.0/0') ?? routes.find(({ destination }) => destination === '::/0'))?.linkIndex
}

export function sameUnderlay(a: Underlay | undefined, b: Underlay | undefined): boolean {
  return a?.interface === b?.interface && a?.address === b?.address && a?.mtu === b?.mtu
}
