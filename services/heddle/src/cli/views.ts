/** How each kind of record reads as a table or as facts. */
import type { BridgeNetwork, Claim, Endpoint, Network, ParentLink, PoolUsage, PortMapping, SriovNetwork } from '@heddle/contract'
import { isOnWire } from '@heddle/core'
import { count, facts, shortId, table, timestamp } from './output.ts'
import { selectorText, settingsText } from './vf-settings.ts'

export function networkTable(networks: readonly Network[]): string {
  return table(
    ['NETWORK', 'KIND', 'PARENT', 'VNI', 'SUBNETS', 'INTERNAL', 'MADE BY', 'ID'],
    networks.map((network) => [
      network.name,
      network.kind,
      parentText(network.parent),
      network.vni === 0 ? '' : String(network.vni),
      network.pools.map((pool) => pool.prefix).join(' '),
      network.internal ? 'yes' : 'no',
      network.createdBy,
      shortId(network.id),
    ]),
  )
}

export function networkFacts(network: Network): string {
  return facts([
    ['network', network.name],
    ['id', network.id],
    ['kind', network.kind],
    ['VNI', network.vni === 0 ? '' : String(network.vni)],
    ['MTU', network.mtu > 0 ? String(network.mtu) : mtuText(network.kind)],
    ['parent', parentText(network.parent)],
    ['bridge', network.bridge === undefined ? '' : bridgeText(network.bridge)],
    ['VFs', network.sriov === undefined ? '' : vfsText(network.sriov)],
    ['internal', network.internal ? 'yes: no way out' : 'no'],
    ['gateways', network.pools.flatMap((pool) => (pool.gateway === '' ? [] : [pool.gateway])).join(' ')],
    [
      'options',
      Object.entries(network.options)
        .map(([key, value]) => `${key}=${value}`)
        .join(' '),
    ],
    ['made', `${timestamp(network.createdAt)} by ${network.createdBy}`],
  ])
}

function mtuText(kind: string): string {
  if (kind === 'overlay') return "the underlay's, less the encapsulation"
  return kind === 'bridge' ? "the underlay's" : isOnWire(kind) && kind !== 'sriov' ? "the parent's" : ''
}

/** `eth0 bridge`, `eth0 VLAN 7`, or the address of the device. */
function parentText(parent: ParentLink | undefined): string {
  if (parent === undefined) return ''
  const { name, mode, vlan, mac, pci } = parent
  return [name, mode, vlan === 0 ? '' : `VLAN ${vlan}`, mac, pci].filter((part) => part !== '').join(' ')
}

function bridgeText({ isolated, routed, hostBinding }: BridgeNetwork): string {
  return [
    isolated ? 'containers do not reach each other' : '',
    routed ? 'source addresses are kept' : '',
    hostBinding === '' ? '' : `ports are published on ${hostBinding}`,
  ]
    .filter((part) => part !== '')
    .join('; ')
}

function vfsText({ pool, selector, settings, driver }: SriovNetwork): string {
  const from =
    [...(pool === '' ? [] : [`pool ${pool}`]), ...(selector === undefined ? [] : [selectorText(selector)])].join(' ') || 'the device each container names'
  return [from, settingsText(settings), driver].filter((part) => part !== '').join('; ')
}

export function endpointTable(endpoints: readonly Endpoint[]): string {
  return table(
    ['ENDPOINT', 'NETWORK', 'HOST', 'STATE', 'ADDRESSES', 'MAC', 'RUNTIME', 'CONTAINER'],
    endpoints.map((endpoint) => [
      shortId(endpoint.id),
      endpoint.networkName,
      endpoint.host,
      endpoint.state,
      endpoint.addresses.join(' '),
      macText(endpoint),
      endpoint.runtime,
      containerOf(endpoint),
    ]),
  )
}

export function endpointFacts(endpoint: Endpoint): string {
  return facts([
    ['endpoint', endpoint.id],
    ['network', endpoint.networkName],
    ['host', endpoint.host],
    ['state', endpoint.state],
    ['addresses', endpoint.addresses.join(' ')],
    ['MAC', macText(endpoint)],
    ['interface', endpoint.interfaceName],
    ['VF', endpoint.vf === undefined ? '' : [endpoint.vf.pci, settingsText(endpoint.vf.settings), endpoint.vf.driver].filter((part) => part !== '').join('; ')],
    ['sandbox', endpoint.sandbox],
    ['runtime', endpoint.runtime],
    ['container', containerOf(endpoint)],
    ['also called', endpoint.aliases.join(' ')],
    ['ports', endpoint.ports.map(portText).join(' ')],
    ['made', timestamp(endpoint.createdAt)],
    ['changed', timestamp(endpoint.updatedAt)],
  ])
}

export function poolTable(pools: readonly PoolUsage[]): string {
  return table(
    ['POOL', 'PREFIX', 'GATEWAY', 'CLAIMED', 'FREE'],
    pools.map(({ pool, claimed, free }) => [pool?.id ?? '', pool?.prefix ?? '', pool?.gateway ?? '', String(claimed), count(free)]),
  )
}

export function poolFacts({ pool, claimed, free }: PoolUsage): string {
  return facts([
    ['pool', pool?.id ?? ''],
    ['space', pool?.space ?? ''],
    ['prefix', pool?.prefix ?? ''],
    ['ranges', pool?.ranges.map((range) => `${range.first}-${range.last}`).join(' ') ?? ''],
    ['gateway', pool?.gateway ?? ''],
    ['excluded', pool?.excluded.join(' ') ?? ''],
    [
      'auxiliary',
      Object.entries(pool?.auxiliary ?? {})
        .map(([name, address]) => `${name}=${address}`)
        .join(' '),
    ],
    ['claimed', String(claimed)],
    ['free', count(free)],
    ['made', timestamp(pool?.createdAt ?? '')],
  ])
}

export function claimTable(claims: readonly Claim[]): string {
  return table(
    ['ADDRESS', 'OWNER', 'HOST', 'PROVISIONAL', 'CLAIMED'],
    claims.map((claim) => [`${claim.address}/${claim.prefixLength}`, claim.owner, claim.host, claim.provisional ? 'yes' : 'no', timestamp(claim.claimedAt)]),
  )
}

/** All endpoints of an ipvlan have one MAC, and those of null have none: the record has what stands for it. */
function macText({ mac, networkKind }: Endpoint): string {
  return networkKind === 'ipvlan' || networkKind === 'null' ? '' : mac
}

export function containerOf(endpoint: Endpoint): string {
  return endpoint.containerName || (endpoint.runtime === 'docker' ? shortId(endpoint.containerId) : endpoint.containerId)
}

function portText(port: PortMapping): string {
  const host = port.hostAddress.includes(':') ? `[${port.hostAddress}]` : port.hostAddress || '*'
  return `${host}:${port.hostPort}->${port.containerPort}/${port.protocol}`
}
