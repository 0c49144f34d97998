/** Flags of `network create` as a request: each gateway, range, exclusion and name goes to the subnet that contains it. */
import { type AddressRange, CreateNetworkRequest, type Subnet } from '@heddle/contract'
import { invalid, needsSubnet } from '@heddle/core'
import { AddressError, contains, firstOf, formatIp, formatPrefix, lastOf, parseIp, parsePrefix } from '@heddle/net'
import { type LinkFlags, linkRequest } from './link-request.ts'
import { type SriovFlags, sriovRequest } from './sriov-request.ts'

export interface NetworkFlags extends SriovFlags, LinkFlags {
  readonly subnet?: readonly string[]
  readonly gateway?: readonly string[]
  readonly ipRange?: readonly string[]
  readonly exclude?: readonly string[]
  readonly auxAddress?: readonly string[]
  readonly kind: string
  readonly mtu?: string
  readonly vni?: string
  readonly internal?: boolean
  readonly opt?: readonly string[]
}

/** Throws HeddleError `invalid-argument` with the flag as its field. */
export function networkRequest(name: string, flags: NetworkFlags): CreateNetworkRequest {
  const links = linkRequest(flags.kind, flags)
  const sriov = sriovRequest(flags.kind, flags)
  // An interface on a wire may carry frames without an address of ours; an overlay and a bridge route by their pools.
  if (flags.subnet === undefined && needsSubnet(flags.kind)) throw invalid('--subnet', `a ${flags.kind} network needs a subnet`, 'add --subnet PREFIX')
  const subnets = (flags.subnet ?? []).map((text) => {
    const prefix = checked('--subnet', () => parsePrefix(text))
    const subnet: Subnet = { prefix: formatPrefix(prefix), ranges: [], gateway: '', excluded: [], auxiliary: {} }
    return { prefix, subnet }
  })
  const subnetOf = (flag: string, address: string): Subnet => {
    const ip = checked(flag, () => parseIp(address))
    const found = subnets.find(({ prefix }) => contains(prefix, ip))
    if (found === undefined) throw invalid(flag, `${address} is in none of the subnets`, `add the --subnet that contains it, or correct it`)
    return found.subnet
  }
  for (const address of flags.gateway ?? []) {
    const subnet = subnetOf('--gateway', address)
    if (subnet.gateway !== '')
      throw invalid('--gateway', `${subnet.prefix} has two gateways, ${subnet.gateway} and ${address}`, 'give one --gateway for each subnet')
    subnet.gateway = address
  }
  for (const text of flags.ipRange ?? []) {
    const range = checked('--ip-range', () => parseAddressRange(text))
    subnetOf('--ip-range', range.first).ranges.push(range)
  }
  for (const text of flags.exclude ?? []) subnetOf('--exclude', text.split('/')[0] ?? '').excluded.push(text)
  for (const text of flags.auxAddress ?? []) {
    const [label, address] = pair('--aux-address', text)
    subnetOf('--aux-address', address).auxiliary[label] = address
  }
  return CreateNetworkRequest.fromPartial({
    name,
    kind: flags.kind,
    subnets: subnets.map(({ subnet }) => subnet),
    mtu: wholeNumber('--mtu', flags.mtu),
    vni: wholeNumber('--vni', flags.vni),
    internal: flags.internal === true,
    ...links,
    sriov,
    options: Object.fromEntries((flags.opt ?? []).map((text) => pair('--opt', text))),
  })
}

function parseAddressRange(text: string): AddressRange {
  if (text.includes('/')) {
    const prefix = parsePrefix(text)
    return { first: formatIp(firstOf(prefix)), last: formatIp(lastOf(prefix)) }
  }
  const [first = '', last = ''] = text.split('-')
  return { first: formatIp(parseIp(first)), last: formatIp(parseIp(last)) }
}

function pair(flag: string, text: string): [string, string] {
  const at = text.indexOf('=')
  if (at < 1) throw invalid(flag, `${JSON.stringify(text)} is not of the form key=value`)
  return [text.slice(0, at), text.slice(at + 1)]
}

function wholeNumber(flag: string, text: string | undefined): number {
  if (text === undefined) return 0
  if (!/^[1-9][0-9]{0,9}$/.test(text)) throw invalid(flag, `${JSON.stringify(text)} is not a whole number above 0`)
  return Number(text)
}

function checked<T>(flag: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (error instanceof AddressError) throw invalid(flag, error.message)
    throw error
  }
}
