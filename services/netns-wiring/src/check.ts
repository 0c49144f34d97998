/** CNI CHECK and `heddle endpoint inspect`: every difference between an endpoint's record and the kernel, in words. */
import type { Endpoint, Network, Route } from '@heddle/contract'
import type { Call } from '@heddle/core'
import type { LinkInfo } from '@heddle/kernel'
import { type EndpointShape, endpointShape, isDefault, withoutLength } from './domain/endpoint-steps.ts'
import { type NetworkShape, shapeOf } from './domain/network-shape.ts'
import type { Fabric } from './fabric.ts'
import type { HostContext } from './host-context.ts'
import type { HostNetworks } from './networks.ts'
import type { NftTable } from './nft-table.ts'
import type { Publisher } from './publisher.ts'

export interface CheckParts {
  readonly context: HostContext
  readonly fabric: Fabric
  readonly networks: HostNetworks
  readonly publisher: Publisher
  readonly bridgeTable: NftTable
}

/**
 * Changes nothing. Names the fault, not what the kernel takes away with it: a link that is gone or down has no routes, a
 * port that left its bridge no forwarding entries.
 */
export async function checkEndpoint(parts: CheckParts, network: Network, endpoint: Endpoint, routes: readonly Route[], call: Call): Promise<string[]> {
  const { context, fabric, networks } = parts
  const shape = shapeOf(network, context)
  const ns = shape.kind === 'overlay' ? fabric.ns : context.hostNs
  if (ns === fabric.ns && !fabric.exists) return [`the fabric namespace ${fabric.ns.path} is gone`]
  const wanted = endpointShape(endpoint, shape, ns, context.hostNs)
  const [host, sandbox, ...others] = await Promise.all([
    checkHostSide(parts, shape, wanted, call),
    wanted.handover ? ([] as string[]) : checkSandbox(parts, wanted, endpoint.sandbox, endpoint.addresses, routes, call),
    networks.present.get(network.id)?.peers?.differences(call) ?? [],
    checkPorts(parts, endpoint, call),
  ])
  // A veth pair goes as one: the end that the container misses says it.
  const pairGone = sandbox.includes(gone(wanted.peerName)) || sandbox.includes(sandboxGone(endpoint.sandbox))
  return [...(pairGone ? host.filter((difference) => difference !== gone(wanted.hostEnd)) : host), ...sandbox, ...others.flat()]
}

async function checkHostSide({ context: { kernel } }: CheckParts, network: NetworkShape, wanted: EndpointShape, call: Call): Promise<string[]> {
  const look = (name: string | undefined) => (name === undefined ? undefined : kernel.link(wanted.ns, name, call))
  const [bridge, vxlan, host] = await Promise.all([look(network.bridge), look(network.vxlan?.name), look(wanted.hostEnd)])
  const differences = linkDifferences(network.bridge, bridge, network.mtu)
  if (network.vxlan !== undefined) {
    differences.push(...linkDifferences(network.vxlan.name, vxlan, network.mtu))
    if (vxlan?.vxlan !== undefined && vxlan.vxlan.vni !== network.vxlan.vni)
      differences.push(`${vxlan.name} carries VNI ${vxlan.vxlan.vni}, it should be ${network.vxlan.vni}`)
    if (vxlan?.vxlan !== undefined && vxlan.vxlan.local !== network.vxlan.local)
      differences.push(`${vxlan.name} sends from ${vxlan.vxlan.local}, it should be ${network.vxlan.local}`)
  }
  differences.push(...linkDifferences(wanted.hostEnd, host, wanted.mtu))
  if (bridge?.up === true && network.gateways.length > 0) {
    const has = await kernel.addressesOf(wanted.ns, bridge.index, call)
    for (const gateway of network.gateways)
      if (!has.some(({ address }) => address === gateway)) differences.push(`gateway address ${gateway} is not on ${network.bridge}`)
  }
  if (host === undefined || bridge === undefined) return differences
  if (host.masterIndex !== bridge.index) {
    const other = host.masterIndex === 0 ? undefined : (await kernel.links(wanted.ns, call)).find(({ index }) => index === host.masterIndex)
    return [
      ...differences,
      `${wanted.hostEnd} is ${other === undefined ? 'no port of any bridge' : `a port of ${other.name}`}, it should be one of ${wanted.bridge}`,
    ]
  }
  const entries = await kernel.neighbours(wanted.ns, host.index, call)
  if (!entries.some(({ table, linkIndex, mac }) => table === 'bridge' && linkIndex === host.index && mac === wanted.mac))
    differences.push(`${wanted.bridge} has no forwarding entry for ${wanted.mac} on ${wanted.hostEnd}`)
  return differences
}

/** The interface, its addresses and routes. */
export async function checkSandbox(
  { context: { kernel } }: Pick<CheckParts, 'context'>,
  wanted: Pick<EndpointShape, 'peerNs' | 'peerName' | 'mac' | 'mtu'>,
  sandbox: string,
  addresses: readonly string[],
  routes: readonly Route[],
  call: Call,
): Promise<string[]> {
  if (kernel.namespaceInode(sandbox) === undefined) return [sandboxGone(sandbox)]
  const link = await kernel.link(wanted.peerNs, wanted.peerName, call)
  const differences = linkDifferences(wanted.peerName, link, wanted.mtu)
  if (link === undefined) return differences
  if (link.mac !== wanted.mac) differences.push(`${wanted.peerName} has MAC ${link.mac}, it should be ${wanted.mac}`)
  const tables = [...new Set(routes.map(({ table }) => table))]
  const [hasAddresses, ...hasRoutes] = await Promise.all([
    kernel.addresses(wanted.peerNs, call),
    ...tables.map(async (table) => [table, await kernel.routes(wanted.peerNs, call, table)] as const),
  ])
  const routesOf = new Map(hasRoutes)
  const has = hasAddresses.filter(({ linkIndex }) => linkIndex === link.index).map(({ address }) => address)
  const missing = addresses.filter((address) => !has.includes(address))
  // A link that is down loses its IPv6 addresses and all routes; one without an address of a family, the routes of it.
  const named = link.up ? missing : missing.filter((address) => !isV6(address))
  differences.push(...named.map((address) => `address ${address} is not on ${wanted.peerName}`))
  const bare = ([false, true] as const).filter(
    (family) => missing.some((address) => isV6(address) === family) && !has.some((address) => isV6(address) === family && !isLinkLocal(address)),
  )
  for (const { destination, gateway, table } of link.up ? routes : []) {
    if (bare.includes(isV6(destination))) continue
    const isThere = (routesOf.get(table) ?? []).some((is) => {
      if (is.destination !== destination) return false
      // Another network of the sandbox was attached first and has the default route.
      return is.linkIndex === link.index ? is.gateway === gateway : isDefault(destination)
    })
    if (!isThere) {
      const where = table === undefined ? '' : ` of table ${table}`
      differences.push(`route ${destination}${gateway === '' ? '' : ` by ${gateway}`}${where} is not on ${wanted.peerName}`)
    }
  }
  return differences
}

const isV6 = (address: string): boolean => address.includes(':')
const isLinkLocal = (address: string): boolean => address.startsWith('fe80:') || address.startsWith('169.254.')

async function checkPorts({ publisher, bridgeTable }: CheckParts, endpoint: Endpoint, call: Call): Promise<string[]> {
  if (endpoint.ports.length === 0) return []
  await bridgeTable.refresh(call)
  return publisher
    .missing(endpoint.addresses.map(withoutLength), endpoint.ports)
    .map((port) => `${port.protocol} port ${port.hostPort} of the host does not lead to port ${port.containerPort} of the endpoint`)
}

function linkDifferences(name: string, link: LinkInfo | undefined, mtu: number): string[] {
  if (link === undefined) return [gone(name)]
  return [...(link.up ? [] : [`${name} is down`]), ...(link.mtu === mtu ? [] : [`${name} has MTU ${link.mtu}, it should be ${mtu}`])]
}

const gone = (link: string): string => `${link} is gone`
const sandboxGone = (sandbox: string): string => `the sandbox ${sandbox} is gone`
