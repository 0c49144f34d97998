/** What becomes of claims after they were made: adopted by the endpoint they were made for, released, freed by the sweep. */
import type { AdoptAddress, Claim } from '@heddle/contract'
import type { Call } from '@heddle/core'
import { contains, parseIp } from '@heddle/net'
import type { Known, StoredRecord, Write } from '@heddle/store'
import { keysOfOwner } from './domain/held.ts'
import { checkAssignable, type PoolPlan, planOf } from './domain/pool.ts'
import { claimKey, claimRef, ownerKey, poolKey } from './keys.ts'
import { decodeClaim, decodeOwner, decodePool, encodeClaim, encodeOwner } from './records.ts'
import { addressTaken, heldBy, outsidePool, poolUnknown } from './refusals.ts'
import type { IpamRepo } from './repo.ts'

export interface Adopted {
  readonly owner: string
  readonly host: string
  /** Addresses are canonical. */
  readonly addresses: readonly AdoptAddress[]
}

/**
 * Makes the addresses the owner's: provisional claims of the same host change hands, free addresses are claimed, what it
 * holds already stays. All or nothing. Fails with address-taken, address-outside-pool, pool-unknown.
 */
export async function adopt(repo: IpamRepo, asked: Adopted, call: Call): Promise<Claim[]> {
  const claimedAt = repo.clock.timestamp()
  const keys = (known: Known): string[] => {
    const all = new Set(keysOfOwner(asked.owner, known))
    for (const { poolIds, address } of asked.addresses) {
      for (const id of poolIds) all.add(poolKey(id))
      const plan = planFor(poolIds, address, known)
      if (plan === undefined) continue
      const key = claimKey(claimRef(plan.pool.id, address))
      all.add(key)
      const record = known.get(key)
      if (record !== undefined) all.add(ownerKey(decodeClaim(record).owner))
    }
    return [...all]
  }
  const { result, revision } = await repo.decide({ keys, decide: (known) => planAdoption(asked, known, claimedAt) }, call)
  return result.map((claim) => (claim.revision === 0n ? { ...claim, revision } : claim))
}

/** Revision 0 marks the claims that are written now. */
function planAdoption({ owner, host, addresses }: Adopted, known: Known, claimedAt: string): { write: Write[]; result: Claim[] } {
  const write: Write[] = []
  const owners = new Map<string, Set<string>>()
  const refsOf = (name: string) => {
    const refs = owners.get(name) ?? new Set(decodeOwner(known.get(ownerKey(name))))
    owners.set(name, refs)
    return refs
  }
  const result = addresses.map(({ poolIds, address }, index): Claim => {
    const field = `addresses[${index}]`
    const plan = planFor(poolIds, address, known) ?? noPlan(poolIds, address, known, field)
    const ref = claimRef(plan.pool.id, address)
    const record = known.get(claimKey(ref))
    const claim = record && decodeClaim(record)
    if (claim?.owner === owner) return claim
    if (claim === undefined) checkAssignable(plan, address, `${field}.address`)
    else if (!claim.provisional || claim.host !== host) throw addressTaken(address, plan.pool.id, heldBy(claim), `${field}.address`)
    else refsOf(claim.owner).delete(ref)
    refsOf(owner).add(ref)
    const mine: Claim = { poolId: plan.pool.id, address, prefixLength: plan.prefix.length, owner, host, provisional: false, claimedAt, revision: 0n }
    write.push({ put: claimKey(ref), value: encodeClaim(mine) })
    return mine
  })
  for (const [name, refs] of owners) write.push(ownerWrite(name, [...refs]))
  return { write, result }
}

function planFor(poolIds: readonly string[], address: string, known: Known): PoolPlan | undefined {
  return plansOf(poolIds, known).find(({ prefix }) => contains(prefix, parseIp(address)))
}

function plansOf(poolIds: readonly string[], known: Known): PoolPlan[] {
  return poolIds.flatMap((id) => known.get(poolKey(id)) ?? []).map((record) => planOf(decodePool(record)))
}

function noPlan(poolIds: readonly string[], address: string, known: Known, field: string): never {
  const plans = plansOf(poolIds, known)
  if (plans.length === 0) throw poolUnknown(poolIds, `${field}.poolIds`)
  throw outsidePool(
    address,
    plans.map(({ pool }) => pool),
    `${field}.address`,
  )
}

/**
 * Frees every claim of an owner; `unlessAfter`: only if none was made or changed after that revision. Answers how many.
 * A claim that the owner's record does not list, but memory knows, is freed with them: nobody else would ever find it.
 */
export async function releaseOwner(repo: IpamRepo, owner: string, unlessAfter: bigint | undefined, call: Call): Promise<number> {
  const remembered = (repo.owners.get(owner) ?? []).map(({ ref }) => claimKey(ref))
  const { result } = await repo.decide(
    {
      keys: (known) => [...new Set([...keysOfOwner(owner, known), ...remembered])],
      decide: (known) => {
        const listed = keysOfOwner(owner, known).filter((key) => known.has(key))
        const unlisted = remembered.filter((key) => {
          const record = known.get(key)
          return record !== undefined && !listed.includes(key) && decodeClaim(record).owner === owner
        })
        const keys = [...listed, ...unlisted]
        const newer = (key: string) => unlessAfter !== undefined && (known.get(key) as StoredRecord).modRevision > unlessAfter
        if (keys.length === 0 || keys.some(newer)) return { write: [], result: 0 }
        return { write: keys.map((key) => ({ delete: key })), result: keys.filter((key) => key !== ownerKey(owner)).length }
      },
    },
    call,
  )
  return result
}

/** Frees one claim if it is provisional and `which` agrees. */
export async function releaseProvisional(repo: IpamRepo, ref: string, which: (claim: Claim) => boolean, call: Call): Promise<number> {
  const key = claimKey(ref)
  const { result } = await repo.decide(
    {
      keys: (known) => {
        const record = known.get(key)
        return record === undefined ? [key] : [key, ownerKey(decodeClaim(record).owner)]
      },
      decide: (known) => {
        const record = known.get(key)
        const claim = record && decodeClaim(record)
        if (claim === undefined || !claim.provisional || !which(claim)) return { write: [], result: 0 }
        const others = decodeOwner(known.get(ownerKey(claim.owner))).filter((other) => other !== ref)
        return { write: [{ delete: key }, ownerWrite(claim.owner, others)], result: 1 }
      },
    },
    call,
  )
  return result
}

function ownerWrite(owner: string, refs: readonly string[]): Write {
  return refs.length === 0 ? { delete: ownerKey(owner) } : { put: ownerKey(owner), value: encodeOwner(refs) }
}
