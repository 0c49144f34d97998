/**
 * The `ipam` object of a configuration written for another plugin. On a network of kind sriov, what it would have asked of an
 * IPAM plugin is asked of Heddle's own, for the whole cluster: ranges become the network's subnets; without any the network has
 * frames alone. On the other kinds the plugin it names is executed, and the ranges only say what the network is made of.
 */
import { Subnet } from '@heddle/contract'
import { HeddleError, invalid } from '@heddle/core'
import { bitsOf, firstUsable, formatIp, lastOf, type Prefix, parsePrefix, unassignable } from '@heddle/net'
import { z } from 'zod'
import { addressPrefixField, ipField, prefixField, recoded } from '../fields.ts'
import { familyOf } from '../flows/plan.ts'
import { type CniResult, dnsSchema, routeSchema } from './result.ts'
import { checked, maybe, text, texts } from './schema.ts'

export interface IpamWish {
  readonly subnets: readonly Subnet[]
  /** Given in the configuration, not chosen: `address/length`. */
  readonly addresses: readonly string[]
  /** None is chosen. */
  readonly isStatic: boolean
  readonly routes: CniResult['routes']
  readonly dns: CniResult['dns']
}

/** One address is wanted of a set: of any of its ranges. */
interface Range {
  readonly prefix: string
  readonly first: string | undefined
  readonly last: string | undefined
  readonly gateway: string
  readonly excluded: readonly string[]
  /** Where it stands in the configuration. */
  readonly field: string
}

const common = { routes: maybe(z.array(routeSchema).max(256)), dns: dnsSchema }
const ipamSchema = z.looseObject({ type: maybe(text) })
/** plugins/ipam/host-local. */
const rangeSchema = z.looseObject({ subnet: text, rangeStart: maybe(text), rangeEnd: maybe(text), gateway: maybe(text) })
const hostLocalSchema = z.looseObject({
  ...common,
  subnet: maybe(text),
  rangeStart: maybe(text),
  rangeEnd: maybe(text),
  gateway: maybe(text),
  ranges: maybe(z.array(z.array(rangeSchema).max(64)).max(8)),
  resolvConf: maybe(text),
})
/** plugins/ipam/static. */
const staticSchema = z.looseObject({ ...common, addresses: maybe(z.array(z.looseObject({ address: text, gateway: maybe(text) })).max(64)) })
/** k8snetworkplumbingwg/whereabouts. */
const whereaboutsRange = { range: maybe(text), range_start: maybe(text), range_end: maybe(text), exclude: maybe(texts) }
const whereaboutsSchema = z.looseObject({
  ...common,
  ...whereaboutsRange,
  gateway: maybe(text),
  ipRanges: maybe(z.array(z.looseObject(whereaboutsRange)).max(8)),
})

const ownTypes: ReadonlySet<unknown> = new Set([undefined, null, '', 'heddle'])
const readTypes: ReadonlySet<unknown> = new Set([...ownTypes, 'host-local', 'static', 'whereabouts'])

/** Whether Heddle itself can give what the `ipam` of this configuration says. */
export function isOwnIpam(json: Readonly<Record<string, unknown>>): boolean {
  return readTypes.has(typeIn(json))
}

/** The IPAM plugin a configuration names; undefined when it is Heddle itself. Fails with invalid-argument. */
export function pluginIn(json: Readonly<Record<string, unknown>>): string | undefined {
  const type = typeIn(json)
  if (ownTypes.has(type)) return undefined
  if (typeof type === 'string' && /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(type)) return type
  throw invalid('ipam.type', `ipam.type: ${JSON.stringify(type).slice(0, 80)} is no name of a plugin`, 'name a binary of CNI_PATH, or leave ipam out')
}

function typeIn({ ipam }: Readonly<Record<string, unknown>>): unknown {
  return typeof ipam === 'object' && ipam !== null ? (ipam as { type?: unknown }).type : undefined
}

/**
 * Undefined when there is no `ipam`, or an empty one. `ips`: the addresses the runtime gives, which go before those in the
 * configuration. `delegated`: another plugin reads it too, so that only the subnets count. Fails with unsupported for what only
 * another plugin could do.
 */
export function parseIpam(json: unknown, ips: readonly string[], delegated = false): IpamWish | undefined {
  const wish = wishIn(json, ips, delegated)
  return wish === undefined || !delegated ? wish : { ...wish, addresses: [], routes: [], dns: {} }
}

/** The capability `ipRanges`, as host-local has its `ranges`. */
export function parseRanges(json: unknown): readonly Subnet[] {
  if (json === undefined || json === null) return []
  return recoded('invalid-argument', 'ipRanges', () => hostLocal({ ranges: json }, undefined, false).subnets)
}

function wishIn(json: unknown, ips: readonly string[], delegated: boolean): IpamWish | undefined {
  if (json === undefined || json === null || (typeof json === 'object' && Object.keys(json).length === 0)) return undefined
  const { type } = checked(() => ipamSchema.parse(json), 'ipam')
  if (type === undefined || type === '' || type === 'heddle' || type === 'host-local') return hostLocal(json, type, delegated)
  if (type === 'whereabouts') return whereabouts(json, delegated)
  if (type === 'static') return fixed(json, ips)
  return { subnets: [], addresses: [], isStatic: false, routes: [], dns: {} }
}

function hostLocal(json: unknown, type: string | undefined, delegated: boolean): IpamWish {
  const { subnet, ranges = [], resolvConf, ...single } = checked(() => hostLocalSchema.parse(json), 'ipam')
  if (resolvConf !== undefined && !delegated)
    throw new HeddleError('unsupported', 'ipam.resolvConf: no file is read', { field: 'ipam.resolvConf', remedy: 'write the servers under dns.nameservers' })
  const sets = [
    ...(subnet === undefined ? [] : [{ field: 'ipam', ranges: [{ ...single, subnet }] }]),
    ...ranges.map((set, index) => ({ field: `ipam.ranges[${index}]`, ranges: set })),
  ].map(({ field, ranges: set }) =>
    set.map((range): Range => {
      const prefix = prefixField(range.subnet, `${field}.subnet`)
      // As host-local has it: the first address is the gateway's where none is given.
      const gateway = range.gateway === undefined ? firstOfBig(parsePrefix(prefix)) : ipField(range.gateway, `${field}.gateway`)
      const [first, last] = (['rangeStart', 'rangeEnd'] as const).map((name) => maybeIp(range[name], `${field}.${name}`))
      return { prefix, first, last, gateway, excluded: [], field }
    }),
  )
  // Another plugin would refuse it too; to give no address unasked would be noticed much later.
  if (type === 'host-local' && !sets.some((set) => set.length > 0))
    throw invalid('ipam.subnet', 'ipam: host-local has no subnet to take addresses from', 'give ipam.subnet or ipam.ranges, or leave ipam out')
  return wishOf(sets, single, delegated)
}

function whereabouts(json: unknown, delegated: boolean): IpamWish {
  const { gateway = '', ipRanges = [], ...single } = checked(() => whereaboutsSchema.parse(json), 'ipam')
  const given = [
    ...(single.range === undefined ? [] : [{ ...single, field: 'ipam' }]),
    ...ipRanges.map((one, index) => ({ ...one, field: `ipam.ipRanges[${index}]` })),
  ]
  if (given.length === 0) throw invalid('ipam.range', 'ipam: whereabouts has no range to take addresses from', 'give ipam.range or ipam.ipRanges')
  const sets = given.map(({ range = '', range_start, range_end, exclude = [], field }): Range[] => {
    // `10.1.0.5-10.1.0.9/24` is a range and the prefix it is in; host bits of a prefix are a start whereabouts itself ignores.
    const [start, end = ''] = range.includes('-') ? range.split('-', 2) : [undefined, range]
    const { prefix, address } = addressPrefixField(end, `${field}.range`)
    const first = range_start === undefined ? maybeIp(start?.split('/', 1)[0], `${field}.range`) : ipField(range_start, `${field}.range_start`)
    const last = maybeIp(range_end, `${field}.range_end`) ?? (start === undefined ? undefined : address)
    const excluded = exclude.map((one, index) => (one.includes('/') ? prefixField : ipField)(one, `${field}.exclude[${index}]`))
    const isOf = gateway !== '' && familyOf(gateway) === familyOf(prefix)
    return [{ prefix, first, last, gateway: isOf ? ipField(gateway, 'ipam.gateway') : '', excluded, field }]
  })
  return wishOf(sets, single, delegated)
}

/** Which addresses there are is no question then: the network's subnets are those the addresses are in. */
function fixed(json: unknown, ips: readonly string[]): IpamWish {
  const { addresses = [], routes = [], dns } = checked(() => staticSchema.parse(json), 'ipam')
  const given =
    ips.length > 0 ? ips.map((address) => ({ address, gateway: undefined, field: 'ips' })) : addresses.map((one) => ({ ...one, field: 'ipam.addresses' }))
  const subnets = new Map<string, Subnet>()
  for (const { address, gateway = '', field } of given) {
    if (!address.includes('/')) throw invalid(field, `${field}: ${JSON.stringify(address.slice(0, 80))} has no prefix length`, 'write it as 10.1.0.5/24')
    const { prefix } = addressPrefixField(address, field)
    const given = gateway === '' ? '' : ipField(gateway, `${field}.gateway`)
    subnets.set(prefix, Subnet.fromPartial({ prefix, gateway: given || (subnets.get(prefix)?.gateway ?? '') }))
  }
  return { subnets: [...subnets.values()], addresses: given.map(({ address }) => address), isStatic: true, routes, dns }
}

/** An endpoint has one address of each family, from whichever subnet of it has one; of another plugin it may have more. */
function wishOf(
  sets: readonly (readonly Range[])[],
  { routes = [], dns }: { readonly routes?: CniResult['routes'] | undefined; readonly dns: CniResult['dns'] },
  delegated: boolean,
): IpamWish {
  const families = new Set<number>()
  const subnets = new Map<string, Subnet>()
  for (const set of sets) {
    for (const family of new Set(set.map(({ prefix }) => familyOf(prefix)))) {
      if (families.has(family) && !delegated) {
        const field = set[0]?.field ?? 'ipam'
        throw new HeddleError('unsupported', `${field}: a second IPv${family} address of one interface is not given`, {
          field,
          remedy: 'put the ranges into one set, whose addresses are given one after the other',
        })
      }
      families.add(family)
    }
    for (const range of set) addRange(subnets, range)
  }
  return { subnets: [...subnets.values()], addresses: [], isStatic: false, routes, dns }
}

function addRange(subnets: Map<string, Subnet>, { prefix, first, last, gateway, excluded, field }: Range): void {
  const there = subnets.get(prefix)
  if (there !== undefined && there.gateway !== gateway)
    throw invalid(`${field}.gateway`, `${field}.gateway: subnet ${prefix} has the gateways ${there.gateway} and ${gateway}`, 'give one gateway for a subnet')
  const whole = usable(parsePrefix(prefix))
  // All of it where either range says nothing narrower.
  const isNarrow = (first !== undefined || last !== undefined) && (there === undefined || there.ranges.length > 0)
  const ranges = isNarrow ? [...(there?.ranges ?? []), { first: first ?? whole.first, last: last ?? whole.last }] : []
  subnets.set(prefix, Subnet.fromPartial({ prefix, gateway, ranges, excluded: [...(there?.excluded ?? []), ...excluded] }))
}

function maybeIp(text: string | undefined, field: string): string | undefined {
  return text === undefined ? undefined : ipField(text, field)
}

function usable(prefix: Prefix): { readonly first: string; readonly last: string } {
  const last = lastOf(prefix)
  const barred = unassignable(prefix).some(({ value }) => value === last.value)
  return { first: formatIp(firstUsable(prefix)), last: formatIp({ ...last, value: last.value - (barred ? 1n : 0n) }) }
}

function firstOfBig(prefix: Prefix): string {
  return prefix.length > bitsOf(prefix.family) - 2 ? '' : formatIp(firstUsable(prefix))
}
