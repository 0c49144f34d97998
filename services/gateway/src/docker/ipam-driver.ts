/**
 * IpamDriver. Docker reserves before it says for what: a pool is provisional until its network is created, an address
 * until its endpoint is. Releases always succeed; what they could not do, the sweeps do.
 */
import type { Claim, Network, Pool } from '@heddle/contract'
import { type Call, HeddleError, invalid, randomId } from '@heddle/core'
import { type Family, firstOf, formatIp, lastOf, parsePrefix } from '@heddle/net'
import { hostIpField, prefixField } from '../fields.ts'
import { briefly } from '../flows/briefly.ts'
import { createDefaultPool } from '../flows/default-pools.ts'
import { orUnknown } from '../flows/directory.ts'
import { later } from '../flows/later.ts'
import { deleteOrphanPool } from '../flows/network.ts'
import type { FlowParts } from '../flows/parts.ts'
import { familyOf } from '../flows/plan.ts'
import { together } from '../flows/undo.ts'
import { type Body, bodies } from './bodies.ts'
import type { KnownEndpoints } from './known-endpoints.ts'
import { parseIpamOptions } from './options.ts'
import { Overflow } from './overflow.ts'
import { constant, type Route, type RouteTrace, route } from './route.ts'
import { type DockerScope, poolSpaceOf } from './scope.ts'
import { isOfManager, SwarmAddresses } from './swarm-addresses.ts'

/** One for local and global networks: Docker then leaves it to us that no pool overlaps another. */
export const addressSpace = 'heddle'
const gatewayLabel = 'com.docker.network.gateway'
const requestTypeLabel = 'RequestAddressType'

export function ipamRoutes(parts: FlowParts, known: KnownEndpoints, scope: DockerScope): [string, Route][] {
  const driver = new IpamDriver(parts, known, scope)
  return [
    ['IpamDriver.GetCapabilities', constant({ RequiresMACAddress: false, RequiresRequestReplay: false })],
    ['IpamDriver.GetDefaultAddressSpaces', constant({ LocalDefaultAddressSpace: addressSpace, GlobalDefaultAddressSpace: addressSpace })],
    [
      'IpamDriver.RequestPool',
      route(
        bodies.requestPool,
        (body, call) => driver.requestPool(body, call),
        (body) => traceOf(`pool:${body.Pool}`, { 'heddle.pool': body.Pool }),
      ),
    ],
    ['IpamDriver.ReleasePool', route(bodies.pool, (body, call) => driver.releasePool(body, call), poolTrace)],
    ['IpamDriver.RequestAddress', route(bodies.requestAddress, (body, call) => driver.requestAddress(body, call), poolTrace)],
    ['IpamDriver.ReleaseAddress', route(bodies.releaseAddress, (body, call) => driver.releaseAddress(body, call), poolTrace)],
  ]
}

class IpamDriver {
  readonly #parts: FlowParts
  readonly #known: KnownEndpoints
  readonly #scope: DockerScope
  readonly #swarm: SwarmAddresses
  readonly #overflow: Overflow

  constructor(parts: FlowParts, known: KnownEndpoints, scope: DockerScope) {
    this.#parts = parts
    this.#known = known
    this.#scope = scope
    this.#swarm = new SwarmAddresses(parts)
    this.#overflow = new Overflow(parts)
  }

  /** With `--ipam-opt network=NAME` the pool is that network's; a network that is there gives one of its own. */
  async requestPool(body: Body<'requestPool'>, call: Call): Promise<object> {
    const { cluster } = this.#parts
    const name = parseIpamOptions(body.Options)
    const prefix = body.Pool === '' ? '' : prefixField(body.Pool, 'Pool')
    if (prefix === '' && body.SubPool !== '') throw invalid('SubPool', `${body.SubPool} is a part of no pool`, 'give --subnet with --ip-range')
    const family = prefix === '' ? (body.V6 ? 6 : 4) : familyOf(prefix)
    const network = name === '' ? undefined : (await orUnknown(cluster.networks.getNetwork({ name }, call)))?.network
    if (network !== undefined) return answer(await this.#joined(network, prefix, family, body.SubPool, call))
    const space = name || poolSpaceOf(this.#scope, cluster.host)
    if (prefix === '') return answer(await createDefaultPool(cluster, { space, family, provisionalHost: cluster.host }, call))
    const { pool, created } = await cluster.ipam.createPool(
      { pool: { space, prefix, ranges: rangesOf(body.SubPool, prefix), provisionalHost: cluster.host } },
      call,
    )
    if (pool === undefined) throw new HeddleError('internal', 'ipam answered no pool')
    // Two networks may not share the pool of one host; a repeated request finds its own, still provisional. The nodes of a
    // swarm share it, and the second network of a pool is refused when it is allocated.
    if (!created && name === '' && this.#scope === 'local' && pool.provisionalHost !== cluster.host) {
      throw new HeddleError('pool-overlaps', `subnet ${prefix} belongs to another Docker network of this host`, {
        field: 'Pool',
        remedy: 'choose another --subnet',
      })
    }
    return answer(pool)
  }

  /** The pool of a network stays until the network is deleted, which Docker says after this. */
  async releasePool({ PoolID }: Body<'pool'>, call: Call): Promise<object> {
    try {
      await briefly(call, this.#parts.releaseTimeoutMs, (inner) => deleteOrphanPool(this.#parts, PoolID, inner))
    } catch (error) {
      if (HeddleError.from(error).code !== 'invalid-argument')
        later(this.#parts, `release pool ${PoolID}`, (inner) => deleteOrphanPool(this.#parts, PoolID, inner))
    }
    return {}
  }

  async requestAddress(body: Body<'requestAddress'>, call: Call): Promise<object> {
    const { ipam } = this.#parts.cluster
    await this.#parts.endpoints.freed(call)
    const poolId = body.PoolID
    const address = body.Address === '' ? '' : hostIpField(body.Address, 'Address')
    if (body.Options[requestTypeLabel] === gatewayLabel) {
      const reserved = await ipam.reserve({ poolId, address }, call)
      return { Address: `${reserved.address}/${reserved.prefixLength}`, Data: {} }
    }
    if (this.#scope === 'global' && isOfManager(body.Options)) return addressOf(await this.#swarm.hold(poolId, address, call))
    try {
      return addressOf(await this.#claim([poolId], address, call))
    } catch (error) {
      if (address === '' && HeddleError.from(error).code === 'pool-exhausted') return addressOf(await this.#overflowing(poolId, error, call))
      if (address === '' || HeddleError.from(error).code !== 'address-taken') throw error
      const held = this.#scope === 'global' ? await this.#swarm.find(poolId, address, call) : undefined
      if (held !== undefined) return addressOf(held)
      const pool = (await ipam.listPools({ id: poolId }, call)).pools[0]?.pool
      if (pool === undefined || !isSetAside(pool, address)) throw error
      return { Address: `${address}/${parsePrefix(pool.prefix).length}`, Data: {} }
    }
  }

  async #claim(poolIds: readonly string[], address: string, call: Call): Promise<Claim> {
    const { host, ipam } = this.#parts.cluster
    const request = { owner: `docker:${host}:${randomId()}`, host, wants: [{ poolIds: [...poolIds], address }], provisional: true }
    const claim = (await ipam.allocate(request, call)).allocations[0]?.claim
    if (claim === undefined) throw new HeddleError('internal', 'ipam answered no claim')
    return claim
  }

  async #overflowing(poolId: string, exhausted: unknown, call: Call): Promise<Claim> {
    const others = await this.#overflow.beside(poolId, call)
    if (others.length === 0) throw exhausted
    const claim = await this.#claim(others, '', call)
    this.#overflow.learn(poolId, claim)
    return claim
  }

  /** Frees a provisional claim; an endpoint's went with the endpoint, a gateway goes with its pool. */
  async releaseAddress(body: Body<'releaseAddress'>, call: Call): Promise<object> {
    const { host, ipam } = this.#parts.cluster
    try {
      const address = hostIpField(body.Address, 'Address')
      const poolId = this.#overflow.take(body.PoolID, address)
      if (this.#known.takeSettled(poolId, address)) return {}
      await briefly(call, this.#parts.releaseTimeoutMs, (inner) =>
        together([ipam.release({ poolId, address, host }, inner), this.#scope === 'global' ? this.#swarm.free(body.PoolID, address, inner) : undefined]),
      )
    } catch (error) {
      this.#parts.logger.info(
        { pool: body.PoolID, address: body.Address, failure: HeddleError.from(error).message },
        'address not released now; the sweep does it',
      )
    }
    return {}
  }

  async #joined(network: Network, prefix: string, family: Family, subPool: string, call: Call): Promise<Pool> {
    const ref = network.pools.find((pool) => (prefix === '' ? familyOf(pool.prefix) === family : pool.prefix === prefix))
    if (ref === undefined) {
      const has = network.pools.map((pool) => pool.prefix).join(', ') || 'no pools'
      throw invalid(
        'Pool',
        `network ${network.name} has ${has}${prefix === '' ? ` and no IPv${family}` : `, not ${prefix}`}`,
        'leave --subnet out, or name one of its pools',
      )
    }
    const pool = (await this.#parts.cluster.ipam.listPools({ id: ref.poolId }, call)).pools[0]?.pool
    if (pool === undefined)
      throw new HeddleError('pool-unknown', `pool ${ref.poolId} of network ${network.name} is gone`, { remedy: 'delete the network and create it again' })
    if (subPool !== '' && JSON.stringify(rangesOf(subPool, pool.prefix)) !== JSON.stringify(pool.ranges)) {
      throw invalid('SubPool', `network ${network.name} has another address range`, 'leave --ip-range out to join it')
    }
    return pool
  }
}

function addressOf({ address, prefixLength }: Claim): object {
  return { Address: `${address}/${prefixLength}`, Data: {} }
}

/** Docker does not ask for a gateway that comes with the pool. */
function answer(pool: Pool): object {
  const gateway = pool.gateway === '' ? {} : { [gatewayLabel]: `${pool.gateway}/${parsePrefix(pool.prefix).length}` }
  return { PoolID: pool.id, Pool: pool.prefix, Data: gateway }
}

function rangesOf(subPool: string, prefix: string): Pool['ranges'] {
  if (subPool === '' || prefixField(subPool, 'SubPool') === prefix) return []
  const inner = parsePrefix(prefixField(subPool, 'SubPool'))
  return [{ first: formatIp(firstOf(inner)), last: formatIp(lastOf(inner)) }]
}

/** The same gateway and auxiliary addresses are asked for by every host whose Docker has the network. */
function isSetAside(pool: Pool, address: string): boolean {
  return pool.gateway === address || Object.values(pool.auxiliary).includes(address)
}

function poolTrace(body: { readonly PoolID: string; readonly Address?: string }): RouteTrace {
  return traceOf(`pool:${body.PoolID}`, { 'heddle.pool': body.PoolID, ...(body.Address ? { 'heddle.address': body.Address } : {}) })
}

function traceOf(key: string, attributes: RouteTrace['attributes']): RouteTrace {
  return { key, attributes }
}
