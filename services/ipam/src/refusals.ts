/** What ipam refuses, each with the field at fault, the numbers and what to do about it. */
import type { Claim, Pool } from '@heddle/contract'
import { HeddleError, invalid } from '@heddle/core'
import { AddressError } from '@heddle/net'

/** Runs a parser; what it cannot read becomes invalid-argument at this field. */
export function parsed<T>(field: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (error instanceof AddressError) throw invalid(field, `${field} ${error.message}`, 'correct it and try again')
    throw error
  }
}

export function poolUnknown(poolIds: readonly string[], field: string): HeddleError {
  return new HeddleError('pool-unknown', `there is no pool ${poolIds.join(' or ')}`, {
    field,
    remedy: 'list the pools there are with "heddle pool ls", or create the network again',
  })
}

export function poolOverlaps(asked: Pool, there: string, how: string): HeddleError {
  return new HeddleError('pool-overlaps', `pool ${asked.prefix} of space ${asked.space} ${how} ${there}`, {
    field: 'pool.prefix',
    remedy: 'choose another prefix, or use or delete the pool that is there',
    details: { pool: there },
  })
}

export function poolInUse(poolId: string, claims: number, example: Claim): HeddleError {
  return new HeddleError(
    'pool-in-use',
    `pool ${poolId} has ${claims} claimed address${claims === 1 ? '' : 'es'}, among them ${example.address} of ${example.owner}`,
    {
      field: 'id',
      remedy: 'remove the containers that hold them first',
      details: { pool: poolId, claims: String(claims) },
    },
  )
}

export function poolExhausted(pools: readonly { readonly id: string; readonly size: bigint; readonly claimed: number }[], field: string): HeddleError {
  const numbers = pools.map(({ id, size, claimed }) => `${id} (${claimed} claims, ${size} addresses for dynamic claims)`).join(', ')
  return new HeddleError('pool-exhausted', `no address is free in pool ${numbers}`, {
    field,
    remedy: 'remove containers that are no longer needed, widen the range, or add a pool to the network',
    details: { pools: pools.map((pool) => pool.id).join(',') },
  })
}

export function addressTaken(address: string, poolId: string, holder: string, field: string): HeddleError {
  return new HeddleError('address-taken', `address ${address} of pool ${poolId} ${holder}`, {
    field,
    remedy: 'ask for another address, or for none and get a free one',
    details: { pool: poolId, address },
  })
}

export function heldBy(claim: Claim): string {
  if (claim.owner === '') return 'has a record that cannot be read'
  return `is held by ${claim.owner}${claim.host === '' ? '' : ` on host ${claim.host}`} since ${claim.claimedAt}`
}

export function outsidePool(address: string, pools: readonly { readonly id: string; readonly prefix: string }[], field: string): HeddleError {
  return new HeddleError('address-outside-pool', `address ${address} is in none of the pools ${pools.map(({ prefix }) => prefix).join(', ')}`, {
    field,
    remedy: 'ask for an address inside one of them, or for none and get a free one',
    details: { address, pools: pools.map(({ id }) => id).join(',') },
  })
}

export function ownerHolds(claim: Claim, address: string, field: string): HeddleError {
  return new HeddleError('address-taken', `${claim.owner} holds ${claim.address} of pool ${claim.poolId} already, not ${address}`, {
    field,
    remedy: `release it first, or ask for ${claim.address}`,
    details: { pool: claim.poolId, address: claim.address },
  })
}
