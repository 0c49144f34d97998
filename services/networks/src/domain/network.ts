/** What a network may be, and whether two definitions are the same. */
import type { Network, PoolRef } from '@heddle/contract'
import { checkBridge, checkNetworkKind, checkNetworkName, checkNoGateway, checkOpaqueId, checkParent, HeddleError, invalid, linkFields } from '@heddle/core'
import { contains, formatIp, formatPrefix, overlaps, type Prefix, parseIp, parsePrefix, sameIp, unassignable } from '@heddle/net'
import { checkSriov, sriovFields } from './sriov.ts'

const creators = ['cli', 'cni', 'docker']
const minVni = 4096
const maxVni = 16_777_215
/** Smallest MTU of IPv4 (RFC 791) and IPv6 (RFC 8200 section 5). */
const minMtu = 576
const minMtuV6 = 1280
const maxMtu = 65_535
const maxPools = 16
const maxOptions = 64

/** The definition with every field checked and in canonical form; `id` is made up when empty. Throws invalid-argument. */
export function checkNetwork(network: Network, makeId: () => string, now: string): Network {
  const name = checkNetworkName(network.name, 'network.name')
  const id = network.id === '' ? makeId() : checkNetworkId(network.id, 'network.id')
  checkNetworkKind(network.kind, 'network.kind')
  if (network.kind === 'overlay' && (network.vni < minVni || network.vni > maxVni)) {
    throw invalid('network.vni', `an overlay network cannot have VNI ${network.vni}`, `claim one from ${minVni} to ${maxVni}`)
  }
  if (network.kind !== 'overlay' && network.vni !== 0) throw invalid('network.vni', `a network of kind ${network.kind} has no VNI`, 'leave vni at 0')
  const sriov = checkSriov(network)
  const parent = checkParent(network.kind, network.parent, 'network.parent')
  const bridge = checkBridge(network.kind, network.bridge, 'network.bridge')
  if (!creators.includes(network.createdBy))
    throw invalid('network.createdBy', `creator ${JSON.stringify(network.createdBy)} is unknown`, 'use "cli", "cni" or "docker"')
  const pools = checkPools(network.pools)
  for (const [index, { gateway }] of pools.entries()) checkNoGateway({ kind: network.kind, parent }, gateway, `network.pools[${index}].gateway`)
  checkMtu(network.mtu, pools)
  checkOptions(network.options)
  return { ...network, id, name, pools, parent, bridge, sriov, createdAt: now, revision: 0n }
}

/** One token of a NATS subject as well as of a key: no dots. */
export function checkNetworkId(id: string, field: string): string {
  if (/[.:]/.test(checkOpaqueId(id, field))) throw invalid(field, `network id ${JSON.stringify(id)} is not valid`, 'use letters, digits, "_" and "-"')
  return id
}

/** Fields in which the definitions differ, each with both values. Who made it and when is no part of the definition. */
export function differences(there: Network, asked: Network): Record<string, string> {
  const found: Record<string, string> = {}
  const compare = (field: string, a: unknown, b: unknown) => {
    if (JSON.stringify(a) !== JSON.stringify(b)) found[field] = `${text(a)} there, ${text(b)} asked for`
  }
  compare('kind', there.kind, asked.kind)
  compare('mtu', there.mtu, asked.mtu)
  compare('internal', there.internal, asked.internal)
  for (const [field, a, b] of sriovFields(there, asked)) compare(field, a, b)
  const [linksThere, linksAsked] = [linkFields(there), linkFields(asked)]
  for (const field of Object.keys(linksThere) as (keyof typeof linksThere)[]) compare(field, linksThere[field], linksAsked[field])
  compare('pools', there.pools.map(poolText).toSorted(), asked.pools.map(poolText).toSorted())
  compare('options', Object.entries(there.options).toSorted(), Object.entries(asked.options).toSorted())
  // A VNI follows from the network's id; under another id another one was claimed, which says nothing of the network.
  if (there.id === asked.id) compare('vni', there.vni, asked.vni)
  return found
}

export function networkExists(there: Network, found: Readonly<Record<string, string>>): HeddleError {
  const what = Object.entries(found).map(([field, both]) => `${field} (${both})`)
  return new HeddleError('network-exists', `network ${there.name} exists with another definition: ${what.join('; ')}`, {
    field: 'network.name',
    remedy: 'use the definition that is there, another name, or delete the network first',
    details: { ...found, networkId: there.id },
  })
}

function checkPools(pools: readonly PoolRef[]): PoolRef[] {
  if (pools.length > maxPools) throw invalid('network.pools', `a network cannot have ${pools.length} pools`, `use at most ${maxPools}`)
  const prefixes: Prefix[] = []
  return pools.map((pool, index) => {
    const field = `network.pools[${index}]`
    const prefix = parsed(`${field}.prefix`, () => parsePrefix(pool.prefix))
    const other = prefixes.find((earlier) => overlaps(earlier, prefix))
    if (other !== undefined) throw invalid(`${field}.prefix`, `pool ${formatPrefix(prefix)} overlaps ${formatPrefix(other)} of the same network`)
    prefixes.push(prefix)
    return {
      poolId: checkPoolId(pool.poolId, `${field}.poolId`),
      prefix: formatPrefix(prefix),
      gateway: checkGateway(pool.gateway, prefix, `${field}.gateway`),
    }
  })
}

function checkGateway(gateway: string, prefix: Prefix, field: string): string {
  if (gateway === '') return ''
  const ip = parsed(field, () => parseIp(gateway))
  if (!contains(prefix, ip) || unassignable(prefix).some((other) => sameIp(other, ip))) {
    throw invalid(field, `gateway ${formatIp(ip)} is not an address of ${formatPrefix(prefix)}`)
  }
  return formatIp(ip)
}

/** ipam's own ids carry a prefix: colons of IPv6 and a length. */
function checkPoolId(id: string, field: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.:-]{0,159}$/.test(id))
    throw invalid(field, `pool id ${JSON.stringify(id.slice(0, 80))} is not valid`, 'use the id that CreatePool answered')
  return id
}

function checkMtu(mtu: number, pools: readonly PoolRef[]): void {
  const least = pools.some((pool) => pool.prefix.includes(':')) ? minMtuV6 : minMtu
  if (mtu !== 0 && (mtu < least || mtu > maxMtu)) {
    throw invalid('network.mtu', `MTU ${mtu} is not possible${least === minMtuV6 ? ' with IPv6' : ''}`, `use 0 for the underlay's, or ${least} to ${maxMtu}`)
  }
}

function checkOptions(options: Readonly<Record<string, string>>): void {
  const entries = Object.entries(options)
  if (entries.length > maxOptions) throw invalid('network.options', `a network cannot have ${entries.length} options`, `use at most ${maxOptions}`)
  for (const [key, value] of entries) {
    if (key.length > 255 || value.length > 1024)
      throw invalid('network.options', `option ${JSON.stringify(key.slice(0, 80))} is too long`, 'use up to 255 characters for a name and 1024 for a value')
  }
}

/** Turns what a parser of @heddle/net throws into an error that names the field. */
export function parsed<T>(field: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw invalid(field, error instanceof Error ? error.message : String(error))
  }
}

function poolText(pool: PoolRef): string {
  return `${pool.poolId} ${pool.prefix}${pool.gateway === '' ? '' : ` via ${pool.gateway}`}`
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
