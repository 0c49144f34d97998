/** Addresses set aside for the network itself: in the pool's own record, so whoever reserves or claims next sees them. */
import type { Pool } from '@heddle/contract'
import { type Call, HeddleError, invalid } from '@heddle/core'
import { formatIp } from '@heddle/net'
import { checkAssignable, gatewayCandidates, type PoolPlan, planOf, reservable } from './domain/pool.ts'
import { claimKey, claimRef, poolKey } from './keys.ts'
import { decodeClaim, decodePool, encodePool } from './records.ts'
import { addressTaken, heldBy, poolExhausted, poolUnknown } from './refusals.ts'
import type { IpamRepo } from './repo.ts'

export interface Reservation {
  readonly poolId: string
  /** Empty: any (gateway only). */
  readonly address: string
  /** Empty: the gateway. */
  readonly name: string
}

/** Sets an address aside in the pool's own record. Whoever asks for the same again, from whichever host, gets the same. */
export async function reserve(repo: IpamRepo, asked: Reservation, call: Call): Promise<{ address: string; prefixLength: number }> {
  const state = await repo.findPool(asked.poolId, call)
  if (state?.definition === undefined) throw poolUnknown([asked.poolId], 'poolId')
  const { plan } = state.definition
  const prefixLength = plan.prefix.length
  const known = asked.address === '' ? plan.pool.gateway : reservable(asked.address, plan.prefix, 'address')
  if (known !== '') return { address: await reserveAt(repo, asked, known, call), prefixLength }
  for (const value of gatewayCandidates(plan)) {
    if (state.claims.has(value)) continue
    try {
      return { address: await reserveAt(repo, asked, formatIp({ family: plan.prefix.family, value }), call), prefixLength }
    } catch (error) {
      if (!(HeddleError.is(error) && error.code === 'address-taken')) throw error
    }
  }
  throw poolExhausted([{ id: plan.pool.id, size: plan.dynamic.size, claimed: state.claims.size }], 'poolId')
}

/** The address that is set aside in the end: the candidate, or what was set aside before. */
async function reserveAt(repo: IpamRepo, asked: Reservation, candidate: string, call: Call): Promise<string> {
  const key = poolKey(asked.poolId)
  const claim = claimKey(claimRef(asked.poolId, candidate))
  const { result } = await repo.decide(
    {
      keys: () => [key, claim],
      decide: (known) => {
        const record = known.get(key)
        if (record === undefined) throw poolUnknown([asked.poolId], 'poolId')
        const plan = planOf(decodePool(record))
        const there = asked.name === '' ? plan.pool.gateway : (plan.pool.auxiliary[asked.name] ?? '')
        if (there !== '' && (asked.address === '' || there === candidate)) return { write: [], result: there }
        if (there !== '') throw otherReserved(asked, plan, there)
        const holder = known.get(claim)
        if (holder !== undefined) throw addressTaken(candidate, asked.poolId, heldBy(decodeClaim(holder)), 'address')
        // An excluded address is kept from containers, not from the network itself.
        checkAssignable({ ...plan, pool: { ...plan.pool, excluded: [] } }, candidate, 'address')
        return { write: [{ put: key, value: encodePool(withReservation(plan.pool, asked.name, candidate)) }], result: candidate }
      },
    },
    call,
  )
  return result
}

function withReservation(pool: Pool, name: string, address: string): Pool {
  return name === '' ? { ...pool, gateway: address } : { ...pool, auxiliary: { ...pool.auxiliary, [name]: address } }
}

function otherReserved({ name }: Reservation, { pool }: PoolPlan, there: string): HeddleError {
  const what = name === '' ? 'gateway' : `auxiliary address ${name}`
  return invalid('address', `the ${what} of pool ${pool.id} is ${there}`, `give ${there}, or leave the address out`)
}
