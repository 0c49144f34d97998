/**
 * A pool for a network that names none: a /24 of 10.128.0.0/9, or a /64 of a unique local prefix (RFC 4193, fd00::/8).
 * It avoids every pool of the cluster and every prefix this host has an address in.
 */
import { networkInterfaces } from 'node:os'
import type { Pool } from '@heddle/contract'
import { allPages, type Call, HeddleError, hashId } from '@heddle/core'
import { AddressError, type Family, formatPrefix, overlaps, type Prefix, parseAddressPrefix, parsePrefix } from '@heddle/net'
import type { Cluster } from '../cluster.ts'

const areas: Readonly<Record<Family, { readonly length: number; readonly count: bigint }>> = {
  4: { length: 24, count: 1n << 15n },
  6: { length: 64, count: 1n << 16n },
}
const maxCollisions = 8

export interface PoolWish {
  readonly space: string
  readonly family: Family
  /** See Pool.provisional_host. */
  readonly provisionalHost: string
}

/** Creates the pool. Fails with pool-exhausted when every candidate overlaps something. */
export async function createDefaultPool(cluster: Pick<Cluster, 'ipam'>, wish: PoolWish, call: Call): Promise<Pool> {
  const pools = await allPages(
    (pageToken) => cluster.ipam.listPools({ pageToken }, call),
    (page) => page.pools,
  )
  const taken = [...pools.flatMap(({ pool }) => (pool === undefined ? [] : [parsePrefix(pool.prefix)])), ...localPrefixes()]
  for (let collisions = 0; collisions < maxCollisions; collisions++) {
    const prefix = choosePrefix(wish.family, wish.space, taken)
    if (prefix === undefined) break
    try {
      const { pool, created } = await cluster.ipam.createPool(
        { pool: { space: wish.space, prefix: formatPrefix(prefix), provisionalHost: wish.provisionalHost } },
        call,
      )
      if (pool !== undefined && created) return pool
    } catch (error) {
      if (HeddleError.from(error).code !== 'pool-overlaps') throw error
    }
    taken.push(prefix)
  }
  throw new HeddleError('pool-exhausted', `no free default IPv${wish.family} pool is left`, { remedy: 'name a subnet (`--subnet`)' })
}

/** The first free candidate, beginning at a place that depends on the seed, so that two hosts seldom try the same. */
export function choosePrefix(family: Family, seed: string, taken: readonly Prefix[]): Prefix | undefined {
  const { length, count } = areas[family]
  const hash = BigInt(`0x${hashId('default-pool', seed)}`)
  const base = family === 4 ? 0x0a80_0000n : (0xfdn << 120n) | (((hash >> 16n) & ((1n << 40n) - 1n)) << 80n)
  const step = 1n << BigInt((family === 4 ? 32 : 128) - length)
  for (let offset = 0n; offset < count; offset++) {
    const prefix = { family, value: base + ((hash + offset) % count) * step, length }
    if (!taken.some((one) => overlaps(one, prefix))) return prefix
  }
  return undefined
}

function localPrefixes(): Prefix[] {
  return Object.values(networkInterfaces()).flatMap((addresses) =>
    (addresses ?? []).flatMap(({ cidr }) => {
      try {
        return cidr === null ? [] : [parseAddressPrefix(cidr).prefix]
      } catch (error) {
        if (error instanceof AddressError) return []
        throw error
      }
    }),
  )
}
