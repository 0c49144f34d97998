/** ipam as far as the gateway can see it, in memory: for tests of the doors and flows. */
import type { Handlers } from '@heddle/bus'
import { type Claim, type IpamDefinition, Pool } from '@heddle/contract'
import { HeddleError } from '@heddle/core'
import { contains, firstUsable, formatIp, overlaps, parseIp, parsePrefix, sizeOf, unassignable } from '@heddle/net'

export class FakeIpam {
  readonly pools = new Map<string, Pool>()
  /** By `<pool id> <address>`. */
  readonly claims = new Map<string, Claim>()
  #revision = 100n

  readonly handlers: Handlers<typeof IpamDefinition> = {
    createPool: async ({ pool }) => {
      if (pool === undefined) throw new HeddleError('invalid-argument', 'no pool')
      const id = `${pool.space}.${pool.prefix.replace('/', '_')}`
      const there = this.pools.get(id)
      if (there !== undefined) {
        if (pool.provisionalHost === '') there.provisionalHost = ''
        return { pool: there, created: false }
      }
      const other = [...this.pools.values()].find((one) => one.space === pool.space && overlaps(parsePrefix(one.prefix), parsePrefix(pool.prefix)))
      if (other !== undefined) throw new HeddleError('pool-overlaps', `overlaps ${other.id}`)
      const made = Pool.fromPartial({ ...pool, id })
      this.pools.set(id, made)
      return { pool: made, created: true }
    },
    listPools: async ({ id, space }) => ({
      pools: [...this.pools.values()]
        .filter((pool) => (id === '' || pool.id === id) && (space === '' || pool.space === space))
        .map((pool) => ({ pool, claimed: BigInt(this.#of(pool.id).length), free: this.#size(pool) - BigInt(this.#of(pool.id).length) })),
    }),
    deletePool: async ({ id, purgeProvisional }) => {
      const claims = this.#of(id)
      if (claims.some((claim) => !claim.provisional || !purgeProvisional)) throw new HeddleError('pool-in-use', `pool ${id} has claims`)
      for (const claim of claims) this.claims.delete(`${claim.poolId} ${claim.address}`)
      return { existed: this.pools.delete(id) }
    },
    reserve: async ({ poolId, address, auxiliaryName }) => {
      const pool = this.#pool(poolId)
      const prefix = parsePrefix(pool.prefix)
      if (auxiliaryName !== '') pool.auxiliary[auxiliaryName] = address
      else if (pool.gateway === '') pool.gateway = address || formatIp(firstUsable(prefix))
      else if (address !== '' && address !== pool.gateway) throw new HeddleError('invalid-argument', `the gateway is ${pool.gateway}`)
      return { address: auxiliaryName === '' ? pool.gateway : address, prefixLength: prefix.length }
    },
    allocate: async ({ owner, host, wants, provisional }) => {
      if (wants.length === 0) throw new HeddleError('invalid-argument', 'wants has 0 entries')
      const allocations = wants.map(({ poolIds, address }) => {
        const mine = [...this.claims.values()].find(
          (claim) => claim.owner === owner && poolIds.includes(claim.poolId) && (address === '' || claim.address === address),
        )
        if (mine !== undefined) return { claim: mine, gateway: this.#pool(mine.poolId).gateway }
        const pool = poolIds.map((id) => this.#pool(id)).find((one) => address === '' || contains(parsePrefix(one.prefix), parseIp(address)))
        if (pool === undefined) throw new HeddleError('address-outside-pool', `${address} is outside`)
        return { claim: this.#claim(pool, address || this.#free(pool), owner, host, provisional), gateway: pool.gateway }
      })
      return { allocations }
    },
    adopt: async ({ owner, host, addresses }) => ({
      allocations: addresses.map(({ poolIds, address }) => {
        const pool = poolIds.map((id) => this.#pool(id)).find((one) => contains(parsePrefix(one.prefix), parseIp(address)))
        if (pool === undefined) throw new HeddleError('address-outside-pool', `${address} is outside`)
        const key = `${pool.id} ${address}`
        if (this.claims.get(key)?.provisional === true) this.claims.delete(key)
        const mine = this.claims.get(key)
        return { claim: mine?.owner === owner ? mine : this.#claim(pool, address, owner, host, false), gateway: '' }
      }),
    }),
    release: async ({ owner, poolId, address, host }) => {
      const gone = [...this.claims].filter(([, claim]) =>
        owner !== '' ? claim.owner === owner : claim.poolId === poolId && claim.address === address && claim.host === host && claim.provisional,
      )
      for (const [key] of gone) this.claims.delete(key)
      return { released: gone.length }
    },
    listClaims: async ({ poolId, owner, host }) => ({
      claims: [...this.claims.values()].filter(
        (claim) =>
          [poolId, claim.poolId].includes(claim.poolId) &&
          (poolId === '' || claim.poolId === poolId) &&
          (owner === '' || claim.owner === owner) &&
          (host === '' || claim.host === host),
      ),
    }),
  }

  #pool(id: string): Pool {
    const pool = this.pools.get(id)
    if (pool === undefined) throw new HeddleError('pool-unknown', `there is no pool ${id}`)
    return pool
  }

  #of(poolId: string): Claim[] {
    return [...this.claims.values()].filter((claim) => claim.poolId === poolId)
  }

  #size(pool: Pool): bigint {
    return sizeOf(parsePrefix(pool.prefix)) - BigInt(unassignable(parsePrefix(pool.prefix)).length) - (pool.gateway === '' ? 0n : 1n)
  }

  #isFree(pool: Pool, address: string): boolean {
    return pool.gateway !== address && !Object.values(pool.auxiliary).includes(address) && !this.claims.has(`${pool.id} ${address}`)
  }

  #free(pool: Pool): string {
    const prefix = parsePrefix(pool.prefix)
    const barred = new Set(unassignable(prefix).map((ip) => ip.value))
    for (let value = prefix.value; value < prefix.value + (sizeOf(prefix) < 1024n ? sizeOf(prefix) : 1024n); value++) {
      const address = formatIp({ family: prefix.family, value })
      const isOffered = pool.ranges.length === 0 || pool.ranges.some(({ first, last }) => parseIp(first).value <= value && value <= parseIp(last).value)
      if (isOffered && !barred.has(value) && this.#isFree(pool, address)) return address
    }
    throw new HeddleError('pool-exhausted', `no address is free in pool ${pool.id}`, { remedy: 'remove containers' })
  }

  #claim(pool: Pool, address: string, owner: string, host: string, provisional: boolean): Claim {
    if (!this.#isFree(pool, address)) throw new HeddleError('address-taken', `address ${address} is taken`, { remedy: 'ask for another address' })
    const claim = {
      poolId: pool.id,
      address,
      prefixLength: parsePrefix(pool.prefix).length,
      owner,
      host,
      provisional,
      claimedAt: '',
      revision: this.#revision++,
    }
    this.claims.set(`${pool.id} ${address}`, claim)
    return claim
  }
}
