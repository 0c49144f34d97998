/** What a network is to be: checked, in canonical spelling, and compared with one that is there. Pure. */
import { type CreateNetworkRequest, type Network, SriovNetwork, type Subnet } from '@heddle/contract'
import {
  checkBridge,
  checkInterfaceName,
  checkNetworkKind,
  checkNetworkName,
  checkNoGateway,
  checkParent,
  checkSriovNetwork,
  HeddleError,
  invalid,
  linkFields,
} from '@heddle/core'
import { ipField, prefixField } from '../fields.ts'

/** Where containers get their default route from; recorded as the network's option `gateway`. */
export const gatewayModes = {
  docker: 'Docker adds its docker_gwbridge (default)',
  network: "the pool's own gateway",
  none: 'no way out',
} as const

const maxMtu = 65_535

/** Fails with invalid-argument. An empty kind is an overlay. */
export function checkDefinition(given: CreateNetworkRequest): CreateNetworkRequest {
  checkNetworkName(given.name)
  const kind = checkNetworkKind(given.kind || 'overlay', 'kind')
  if (given.mtu !== 0 && !(given.mtu >= 68 && given.mtu <= maxMtu))
    throw invalid('mtu', `MTU ${given.mtu} is out of range`, `use 68 to ${maxMtu}, or leave it out`)
  if (given.vni !== 0 && kind !== 'overlay') throw invalid('vni', `a ${kind} network has no VNI`, 'leave the VNI out, or make it an overlay')
  if (given.vni !== 0 && !(given.vni >= 4096 && given.vni <= 16_777_215))
    throw invalid('vni', `VNI ${given.vni} is out of range`, 'use 4096 to 16777215, or leave it out')
  checkOptions(given.options, kind)
  const parent = checkParent(kind, given.parent, 'parent')
  const subnets = given.subnets.map(checkSubnet)
  for (const [index, { gateway }] of subnets.entries()) checkNoGateway({ kind, parent }, gateway, `subnets[${index}].gateway`)
  return { ...given, kind, subnets, parent, bridge: checkBridge(kind, given.bridge, 'bridge'), sriov: checkSriov(given.sriov, kind) }
}

/** Whether a network that is there is what the definition asks for; what the definition leaves open matches anything. */
export function differencesTo(network: Network, wanted: CreateNetworkRequest): string[] {
  const differences: string[] = []
  const compare = (what: string, has: unknown, wants: unknown) => {
    if (has !== wants) differences.push(`its ${what} is ${String(has) || 'none'}, not ${String(wants) || 'none'}`)
  }
  compare('kind', network.kind, wanted.kind)
  compare('internal', network.internal, wanted.internal)
  if (wanted.mtu !== 0) compare('MTU', network.mtu, wanted.mtu)
  if (wanted.vni !== 0) compare('VNI', network.vni, wanted.vni)
  const [links, wantedLinks] = [linkFields(network), linkFields(wanted)]
  for (const field of Object.keys(links) as (keyof typeof links)[]) compare(field, links[field], wantedLinks[field])
  compare('options', sorted(network.options), sorted(wanted.options))
  if (wanted.subnets.length > 0) compare('subnets', list(network.pools), list(wanted.subnets))
  if (!['', '{}'].includes(vfsText(wanted.sriov))) compare('VFs', vfsText(network.sriov), vfsText(wanted.sriov))
  for (const subnet of wanted.subnets) {
    const pool = network.pools.find((one) => one.prefix === subnet.prefix)
    if (subnet.gateway !== '' && pool !== undefined) compare(`gateway in ${subnet.prefix}`, pool.gateway, subnet.gateway)
  }
  return differences
}

export function differs(network: Network, differences: readonly string[]): HeddleError {
  return new HeddleError('network-exists', `network ${network.name} exists with another definition: ${differences.join('; ')}`, {
    field: 'name',
    remedy: 'use the existing definition, another name, or delete the network first',
  })
}

function checkSubnet(given: Subnet, index: number): Subnet {
  const at = `subnets[${index}]`
  return {
    prefix: prefixField(given.prefix, `${at}.prefix`),
    ranges: given.ranges.map((range) => ({ first: ipField(range.first, `${at}.ranges.first`), last: ipField(range.last, `${at}.ranges.last`) })),
    gateway: given.gateway === '' ? '' : ipField(given.gateway, `${at}.gateway`),
    excluded: given.excluded.map((one) => (one.includes('/') ? prefixField(one, `${at}.excluded`) : ipField(one, `${at}.excluded`))),
    auxiliary: Object.fromEntries(Object.entries(given.auxiliary).map(([name, address]) => [name, ipField(address, `${at}.auxiliary.${name}`)])),
  }
}

/** One that names no VFs is good for calls that name theirs. */
function checkSriov(given: SriovNetwork | undefined, kind: string): SriovNetwork | undefined {
  if (kind !== 'sriov') {
    if (given !== undefined) throw invalid('sriov', `a network of kind ${kind} has no VFs`, 'leave what is said of VFs out, or make it one of kind sriov')
    return undefined
  }
  return checkSriovNetwork(given ?? SriovNetwork.create(), 'sriov')
}

function checkOptions(options: Readonly<Record<string, string>>, kind: string): void {
  for (const [key, value] of Object.entries(options)) {
    if (key === 'prefix') checkInterfacePrefix(value, 'options.prefix')
    else if (key === 'gateway') checkGatewayMode(value, kind)
    else throw invalid(`options.${key}`, `network option ${JSON.stringify(key)} is not known`, 'the options are: gateway, prefix')
  }
}

function checkGatewayMode(mode: string, kind: string): void {
  const field = 'options.gateway'
  if (!Object.hasOwn(gatewayModes, mode)) throw invalid(field, `gateway ${JSON.stringify(mode)} is not known`, `use ${Object.keys(gatewayModes).join(', ')}`)
  if (kind === 'bridge' && mode !== 'network') throw invalid(field, 'a bridge network is its own gateway', 'leave the option out')
  if (kind === 'null') throw invalid(field, 'a network of kind null has no interface, and so no way out', 'leave the option out')
}

/** What Docker puts a number behind: a prefix leaves room for three digits of the 15 bytes (IFNAMSIZ, linux/if.h). */
export function checkInterfacePrefix(prefix: string, field: string): string {
  try {
    checkInterfaceName(`${prefix}000`)
  } catch {
    throw invalid(field, `${JSON.stringify(prefix.slice(0, 40))} cannot begin an interface's name`, 'use 1 to 12 bytes without "/", ":", "%" or white space')
  }
  return prefix
}

function vfsText(sriov: SriovNetwork | undefined): string {
  return sriov === undefined ? '' : JSON.stringify(SriovNetwork.toJSON(sriov))
}

function sorted(options: Readonly<Record<string, string>>): string {
  return Object.entries(options)
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join(', ')
}

function list(subnets: readonly { readonly prefix: string }[]): string {
  return subnets
    .map((subnet) => subnet.prefix)
    .sort()
    .join(', ')
}
