/** A pool's definition: checked, canonical, and what follows from it (which addresses are for dynamic claims, which for none). */
import type { Pool } from '@heddle/contract'
import { checkHostName, checkNetworkName, invalid } from '@heddle/core'
import {
  canonicalIp,
  contains,
  firstOf,
  formatIp,
  formatPrefix,
  type Ip,
  type IpRange,
  lastOf,
  overlaps,
  type Prefix,
  parseIp,
  parsePrefix,
  parseRange,
  RangeSet,
  rangeOf,
  unassignable,
} from '@heddle/net'
import { addressTaken, parsed } from '../refusals.ts'

export interface PoolPlan {
  readonly pool: Pool
  readonly prefix: Prefix
  /** Where dynamic claims come from: the ranges less everything that is set aside. */
  readonly dynamic: RangeSet
}

const maxEntries = 256
/** Where no container's address can be: RFC 1122 3.2.1.3, RFC 5771, RFC 4291 2.5.3, 2.5.6 and 2.7. */
const unusable = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3', '::/127', 'fe80::/10', 'ff00::/8'].map(parsePrefix)

/** The definition as it will be stored. Throws invalid-argument. */
export function checkPool(asked: Pool, createdAt: string): PoolPlan {
  const space = checkNetworkName(asked.space, 'pool.space')
  const prefix = parsed('pool.prefix', () => parsePrefix(asked.prefix))
  const barred = unusable.find((one) => contains(one, prefix))
  if (barred !== undefined)
    throw invalid('pool.prefix', `no container can have an address in ${formatPrefix(barred)}`, 'choose a private prefix, as 10.1.0.0/16 or fd00:1::/64')
  const id = poolIdOf(space, prefix)
  if (asked.id !== '' && asked.id !== id) throw invalid('pool.id', `the id of this pool is ${id}, not ${JSON.stringify(asked.id)}`, 'leave the id empty')
  if (asked.provisionalHost !== '') checkHostName(asked.provisionalHost, 'pool.provisionalHost')
  for (const [field, list] of [
    ['pool.ranges', asked.ranges],
    ['pool.excluded', asked.excluded],
    ['pool.auxiliary', Object.keys(asked.auxiliary)],
  ] as const) {
    if (list.length > maxEntries) throw invalid(field, `${field} has ${list.length} entries`, `give at most ${maxEntries}`)
  }
  const ranges = asked.ranges.map(({ first, last }, index) => {
    const range = parsed(`pool.ranges[${index}]`, () => parseRange(first, last))
    for (const value of [range.first, range.last]) inside({ family: range.family, value }, prefix, `pool.ranges[${index}]`)
    return { first: canonicalIp(first), last: canonicalIp(last) }
  })
  const excluded = asked.excluded.map((text, index) => {
    const field = `pool.excluded[${index}]`
    const hole: Ip | Prefix = parsed<Ip | Prefix>(field, () => (text.includes('/') ? parsePrefix(text) : parseIp(text)))
    inside(hole, prefix, field)
    return 'length' in hole ? formatPrefix(hole) : formatIp(hole)
  })
  const gateway = asked.gateway === '' ? '' : reservable(asked.gateway, prefix, 'pool.gateway')
  const auxiliary = Object.fromEntries(
    Object.entries(asked.auxiliary).map(([name, text]) => [checkNetworkName(name, 'pool.auxiliary'), reservable(text, prefix, `pool.auxiliary[${name}]`)]),
  )
  return planOf({ id, space, prefix: formatPrefix(prefix), ranges, gateway, excluded, auxiliary, createdAt, provisionalHost: asked.provisionalHost })
}

/** What follows from a definition that has been checked. */
export function planOf(pool: Pool): PoolPlan {
  const prefix = parsePrefix(pool.prefix)
  const ranges = pool.ranges.length > 0 ? pool.ranges.map(({ first, last }) => parseRange(first, last)) : [rangeOf(prefix)]
  return { pool, prefix, dynamic: RangeSet.of(prefix.family, ranges).subtract(setAside(pool, prefix)) }
}

/** Ids sort and read well, and are safe as part of a key: `blue.10.1.0.0_16`. */
export function poolIdOf(space: string, prefix: Prefix): string {
  return `${space}.${formatPrefix(prefix).replace('/', '_')}`
}

/** The prefix in the id of a pool of this space. */
export function prefixOfId(space: string, poolId: string): Prefix {
  return parsePrefix(poolId.slice(space.length + 1).replace('_', '/'))
}

export function overlapping(space: string, prefix: Prefix, poolIds: readonly string[]): string | undefined {
  return poolIds.find((id) => overlaps(prefixOfId(space, id), prefix))
}

/** The first field in which the pool that is there is not what was asked; what was not said does not count. */
export function differsIn(asked: Pool, there: Pool): 'ranges' | 'gateway' | 'excluded' | 'auxiliary' | undefined {
  if (asked.ranges.length > 0 && JSON.stringify(asked.ranges) !== JSON.stringify(there.ranges)) return 'ranges'
  if (asked.gateway !== '' && asked.gateway !== there.gateway) return 'gateway'
  if (asked.excluded.some((one) => !there.excluded.includes(one))) return 'excluded'
  if (Object.entries(asked.auxiliary).some(([name, address]) => there.auxiliary[name] !== address)) return 'auxiliary'
  return undefined
}

/** Why nobody may claim an address of the prefix, as the end of a sentence; undefined when it may be claimed. */
function barredBecause({ pool, prefix }: PoolPlan, ip: Ip): string | undefined {
  if (unassignable(prefix).some(({ value }) => value === ip.value)) {
    return prefix.family === 6 ? 'is the subnet-router anycast address' : ip.value === prefix.value ? 'is the network address' : 'is the broadcast address'
  }
  const text = formatIp(ip)
  if (text === pool.gateway) return 'is its gateway'
  const name = Object.keys(pool.auxiliary).find((key) => pool.auxiliary[key] === text)
  if (name !== undefined) return `is set aside as ${name}`
  const hole = pool.excluded.find((one) => (one.includes('/') ? contains(parsePrefix(one), ip) : one === text))
  return hole === undefined ? undefined : `is excluded by ${hole}`
}

/** Throws address-taken when nobody may claim this address of the pool. */
export function checkAssignable(plan: PoolPlan, address: string, field: string): void {
  const barred = barredBecause(plan, parseIp(address))
  if (barred !== undefined) throw addressTaken(address, plan.pool.id, barred, field)
}

/** An address set aside for the network: canonical, inside the prefix, and one that an interface may have. */
export function reservable(text: string, prefix: Prefix, field: string): string {
  const ip = parsed(field, () => parseIp(text))
  inside(ip, prefix, field)
  if (unassignable(prefix).some(({ value }) => value === ip.value)) {
    throw invalid(
      field,
      `${text} is ${prefix.family === 4 ? 'the network or broadcast address' : 'the subnet-router anycast address'} of ${formatPrefix(prefix)}`,
      'choose another address of the prefix',
    )
  }
  return formatIp(ip)
}

/** Where the network itself may have its gateway, lowest first: anywhere in the prefix that is not set aside otherwise. */
export function gatewayCandidates({ pool, prefix }: PoolPlan): RangeSet {
  return RangeSet.of(prefix.family, [rangeOf(prefix)]).subtract(setAside({ ...pool, gateway: '' }, prefix))
}

function inside(what: Ip | Prefix, prefix: Prefix, field: string): void {
  if (contains(prefix, what)) return
  throw invalid(
    field,
    `${field} ${'length' in what ? formatPrefix(what) : formatIp(what)} is outside ${formatPrefix(prefix)}`,
    `give addresses from ${formatIp(firstOf(prefix))} to ${formatIp(lastOf(prefix))}`,
  )
}

function setAside(pool: Pool, prefix: Prefix): IpRange[] {
  const texts = [...pool.excluded, ...Object.values(pool.auxiliary), ...(pool.gateway === '' ? [] : [pool.gateway])]
  return [...unassignable(prefix).map(rangeOf), ...texts.map((text) => rangeOf(text.includes('/') ? parsePrefix(text) : parseIp(text)))]
}
