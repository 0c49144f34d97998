/** What a network offers an endpoint: the addresses to claim for it, its gateways, its default routes. Pure. */
import type { Claim, Network, PortMapping, Route, Want } from '@heddle/contract'
import { HeddleError, hasGivenMac, isRoutedByLink, macOf } from '@heddle/core'
import { contains, type Family, parseIp, parsePrefix } from '@heddle/net'

export const anywhere: Readonly<Record<Family, string>> = { 4: '0.0.0.0/0', 6: '::/0' }

/** RT_SCOPE_LINK of linux/rtnetlink.h. */
const linkScope = 253

export function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4
}

/**
 * One want for each static address, and one for each family of the network that has none; of the pools of `within` alone where it
 * names any. Fails with address-outside-pool, before anything is asked of anybody.
 */
export function wantsOf({ name, pools }: Pick<Network, 'name' | 'pools'>, addresses: readonly string[], within: readonly string[] = []): Want[] {
  const network = { name, pools: within.length === 0 ? pools : pools.filter(({ prefix }) => within.includes(prefix)) }
  const stray = addresses.find((address) => !isClaimable(network, address))
  if (stray !== undefined) {
    throw new HeddleError('address-outside-pool', `address ${stray} is outside every pool of network ${network.name}`, {
      field: 'address',
      remedy: network.pools.length === 0 ? 'leave the address out' : `choose one of ${network.pools.map((pool) => pool.prefix).join(', ')}`,
    })
  }
  return ([4, 6] as const).flatMap((family) => {
    const poolIds = poolIdsOf(network, family)
    const chosen = addresses.filter((address) => familyOf(address) === family)
    if (poolIds.length === 0) return []
    return (chosen.length === 0 ? [''] : chosen).map((address) => ({ poolIds, address }))
  })
}

/** Whether an address, bare or with its length, is in a pool of the network. */
export function isClaimable(network: Pick<Network, 'pools'>, address: string): boolean {
  const ip = parseIp(address.split('/', 1)[0] ?? '')
  return network.pools.some((pool) => contains(parsePrefix(pool.prefix), ip))
}

export function poolIdsOf(network: Pick<Network, 'pools'>, family: Family): string[] {
  return network.pools.filter((pool) => familyOf(pool.prefix) === family).map((pool) => pool.poolId)
}

/**
 * What PutEndpoint is told of the claims, `vf` being the revision of the VF's if there is one: the lower of the two kinds,
 * because each of the two brains fences its own. See PutEndpointRequest.claim_revision.
 */
export function claimRevisionOf(claims: readonly Claim[], vf = 0n): bigint {
  let highest = 0n
  for (const { revision } of claims) if (revision > highest) highest = revision
  return vf === 0n || (highest !== 0n && highest < vf) ? highest : vf
}

/** The gateway for an address: that of the pool it is in. Empty when there is none or the network is internal. */
export function gatewayFor(network: Network, address: string): string {
  if (network.internal) return ''
  const ip = parseIp(address.split('/', 1)[0] ?? '')
  return network.pools.find((pool) => contains(parsePrefix(pool.prefix), ip))?.gateway ?? ''
}

/** The default route of each family in which one of the addresses has a gateway, or that goes out by the link itself. */
export function defaultRoutes(network: Network, addresses: readonly string[]): Route[] {
  const byLink = routesByLink(network)
  const routes = new Map<Family, Route>()
  for (const address of addresses) {
    const gateway = gatewayFor(network, address)
    const family = familyOf(address)
    if ((gateway !== '' || byLink) && !routes.has(family)) routes.set(family, { destination: anywhere[family], gateway })
  }
  return [...routes.values()]
}

/** A route without a gateway goes by that of its family, unless it says itself that it ends on the link. */
export function completeRoute(route: Route, gateways: ReadonlyMap<Family, string>): Route {
  if (route.gateway !== '' || route.scope === linkScope) return route
  return { ...route, gateway: gateways.get(familyOf(route.destination)) ?? '' }
}

/** Whether the network's containers have default routes without a gateway. */
export function routesByLink(network: Network): boolean {
  return isRoutedByLink(network) && !network.internal && (network.options['gateway'] ?? 'network') === 'network'
}

/** The MAC an endpoint is recorded with: the one asked for, or one made from its id. Throws unsupported where none can be chosen. */
export function macFor(network: Network, asked: string, id: string): string {
  if (asked === '' || !hasGivenMac(network)) return asked || macOf(id)
  throw new HeddleError('unsupported', `an interface of network ${network.name}, of kind ${network.kind}, has a MAC that cannot be chosen`, {
    field: 'mac',
    remedy: 'leave the MAC out, or use a network of kind macvlan, mode bridge',
  })
}

/**
 * What a record is to say of the MAC once the link is there, undefined when it says so already. The endpoints of an ipvlan
 * have one for all of them, which no record can name: each keeps what stands for it.
 */
export function macToRecord(network: Network, recorded: string, actual: string): string | undefined {
  if (!hasGivenMac(network) || network.kind === 'ipvlan' || actual === '' || actual === recorded) return undefined
  return actual
}

/** Ports with the address of the host that the network publishes them on where none is given. */
export function boundPorts<T extends PortMapping>({ bridge }: Pick<Network, 'bridge'>, ports: readonly T[]): T[] {
  return ports.map((port) => ({ ...port, hostAddress: port.hostAddress || (bridge?.hostBinding ?? '') }))
}
