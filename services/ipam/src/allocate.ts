/**
 * Claims for an owner: candidates from memory, one transaction for all of them, the next candidates when another was
 * faster. Nothing is answered from memory: a claim was committed, what an owner holds was read, and a pool is called
 * exhausted only after a listing that began after the request.
 */
import type { Claim, Want } from '@heddle/contract'
import { type Call, HeddleError, raceCall } from '@heddle/core'
import { contains, formatIp, type Ip, parseIp } from '@heddle/net'
import type { Compare, Known, Write } from '@heddle/store'
import { answered, type Held, heldOtherwise, nothingHeld } from './domain/held.ts'
import { checkAssignable } from './domain/pool.ts'
import type { Pick, PoolState } from './domain/pool-state.ts'
import { claimKey, claimRef, ownerKey, poolKey } from './keys.ts'
import { decodeClaim, encodeClaim, encodeOwner } from './records.ts'
import { addressTaken, heldBy, outsidePool, ownerHolds, poolExhausted, poolUnknown } from './refusals.ts'
import type { IpamRepo } from './repo.ts'

export interface AllocateParts {
  readonly repo: IpamRepo
  /** 0 to 1. */
  readonly random: () => number
}

export interface Asked {
  readonly owner: string
  readonly host: string
  readonly provisional: boolean
  /** Addresses are canonical. */
  readonly wants: readonly Want[]
}

/** One want and the address being tried for it. */
interface Candidate {
  readonly state: PoolState
  readonly definition: NonNullable<PoolState['definition']>
  readonly address: string
  readonly field: string
  readonly pick: Pick | undefined
  readonly dynamic: boolean
}

/** Claims a bound owner can hold: a transaction of etcd takes 128 operations. */
const maxHeld = 32

/** One claim a want, in their order. */
export async function allocate(parts: AllocateParts, asked: Asked, call: Call): Promise<Claim[]> {
  const { repo } = parts
  let held = repo.owners.has(asked.owner) ? await repo.held(asked.owner, call) : nothingHeld
  for (;;) {
    call.signal.throwIfAborted()
    const answers = answered(asked.wants, held)
    const open = asked.wants.flatMap((want, index) => (answers[index] === undefined ? [{ want, field: `wants[${index}]` }] : []))
    if (open.length === 0) return answers as Claim[]
    const other = heldOtherwise(asked.wants, answers, held)
    if (other !== undefined) throw ownerHolds(other.claim, asked.wants[other.want]?.address ?? '', `wants[${other.want}].address`)
    if (held.refs.length + open.length > maxHeld) throw tooMany(asked.owner, held.refs.length)
    const candidates = await choose(repo, open, call)
    try {
      const claims = candidates.map((candidate) => claimOf(asked, candidate, repo.clock.timestamp()))
      const { when, write } = transactionFor(asked.owner, held, candidates, claims)
      const committed = await repo.commit({ when, write, otherwiseRead: when.map(({ key }) => key) }, call)
      if (committed.succeeded) {
        const made = claims.map((claim) => ({ ...claim, revision: committed.revision }))
        return answers.map((answer) => answer ?? (made.shift() as Claim))
      }
      if (ownerChanged(committed.found, asked.owner, held)) held = await repo.held(asked.owner, call)
      else for (const candidate of candidates) judge(candidate, committed.found, parts.random)
    } finally {
      for (const { state, pick } of candidates) if (pick !== undefined) state.settle(pick)
    }
  }
}

/** A candidate for every want, or the failure that there is none; waits for picks of other calls that may come back. */
async function choose(repo: IpamRepo, open: readonly { readonly want: Want; readonly field: string }[], call: Call): Promise<Candidate[]> {
  let refreshed = false
  let confirmed = false
  for (;;) {
    call.signal.throwIfAborted()
    const wanted: { want: Want; field: string; states: PoolState[] }[] = []
    for (const { want, field } of open) wanted.push({ want, field, states: await statesOf(repo, want, field, call) })
    let chosen: ReturnType<typeof tryChoose>
    try {
      chosen = tryChoose(wanted)
    } catch (error) {
      // Refused by the pools as they are remembered: they may have been made anew.
      if (confirmed) throw error
      for (const { states, field } of wanted) await confirmPools(repo, states, field, call)
      confirmed = true
      continue
    }
    if (Array.isArray(chosen)) return chosen
    const { states, field } = chosen.without
    if (states.some((state) => state.picking)) await raceCall(Promise.race(states.map((state) => state.changed())), call)
    else if (!refreshed) {
      await Promise.all(states.map((state) => repo.refresh(state.id, call)))
      refreshed = true
    } else
      throw poolExhausted(
        states.map((state) => ({ id: state.id, size: state.definition?.plan.dynamic.size ?? 0n, claimed: state.claims.size })),
        `${field}.poolIds`,
      )
  }
}

async function statesOf(repo: IpamRepo, want: Want, field: string, call: Call): Promise<PoolState[]> {
  const states: PoolState[] = []
  for (const id of want.poolIds) {
    const state = repo.pool(id) ?? (await repo.findPool(id, call))
    if (state !== undefined) states.push(state)
  }
  if (states.length === 0) throw poolUnknown(want.poolIds, `${field}.poolIds`)
  return states
}

/** Brings what is remembered of them up to date. Fails with pool-unknown. */
async function confirmPools(repo: IpamRepo, states: readonly PoolState[], field: string, call: Call): Promise<void> {
  const keys = states.map(({ id }) => poolKey(id))
  const { result: known } = await repo.decide({ keys: () => keys, decide: (known) => ({ write: [], result: known }) }, call)
  for (const { id } of states) if (!known.has(poolKey(id))) throw poolUnknown([id], `${field}.poolIds`)
}

/** All or nothing, without waiting. Static wants first, so that no dynamic one takes their address. */
function tryChoose(
  wanted: readonly { readonly want: Want; readonly field: string; readonly states: PoolState[] }[],
): Candidate[] | { readonly without: { readonly field: string; readonly states: PoolState[] } } {
  const chosen = new Map<Want, Candidate>()
  try {
    for (const entry of wanted) if (entry.want.address !== '') chosen.set(entry.want, chooseStatic(entry))
    for (const entry of wanted) {
      if (entry.want.address !== '') continue
      const candidate = chooseDynamic(entry)
      if (candidate === undefined) {
        giveBack(chosen.values())
        return { without: entry }
      }
      chosen.set(entry.want, candidate)
    }
  } catch (error) {
    giveBack(chosen.values())
    throw error
  }
  return wanted.map(({ want }) => chosen.get(want) as Candidate)
}

function chooseStatic({ want, field, states }: { readonly want: Want; readonly field: string; readonly states: PoolState[] }): Candidate {
  const ip = parseIp(want.address)
  const state = states.find(({ definition }) => definition !== undefined && contains(definition.plan.prefix, ip))
  if (state?.definition === undefined) {
    throw outsidePool(
      want.address,
      states.map(({ id, definition }) => ({ id, prefix: definition?.plan.pool.prefix ?? id })),
      `${field}.address`,
    )
  }
  const { definition } = state
  checkAssignable(definition.plan, want.address, `${field}.address`)
  return { state, definition, address: want.address, field, pick: state.pickStatic(ip.value), dynamic: false }
}

function chooseDynamic({ field, states }: { readonly field: string; readonly states: PoolState[] }): Candidate | undefined {
  for (const state of states) {
    const pick = state.pick()
    const { definition } = state
    if (pick === undefined || definition === undefined) continue
    const ip: Ip = { family: definition.plan.prefix.family, value: pick.value }
    return { state, definition, address: formatIp(ip), field, pick, dynamic: true }
  }
  return undefined
}

function giveBack(candidates: Iterable<Candidate>): void {
  for (const { state, pick } of candidates) if (pick !== undefined) state.settle(pick)
}

function claimOf(asked: Asked, { definition, address }: Candidate, claimedAt: string): Claim {
  const { pool, prefix } = definition.plan
  return {
    poolId: pool.id,
    address,
    prefixLength: prefix.length,
    owner: asked.owner,
    host: asked.host,
    provisional: asked.provisional,
    claimedAt,
    revision: 0n,
  }
}

/** The pools are as they were when the candidates were chosen, the addresses are free, the owner holds what we know of. */
function transactionFor(owner: string, held: Held, candidates: readonly Candidate[], claims: readonly Claim[]): { when: Compare[]; write: Write[] } {
  const when: Compare[] = [
    held.record === undefined ? { key: ownerKey(owner), is: 'absent' } : { key: ownerKey(owner), is: 'at', modRevision: held.record.modRevision },
  ]
  const write: Write[] = []
  const refs = [...held.refs]
  for (const { key, modRevision } of new Set(candidates.map(({ definition }) => definition.record))) when.push({ key, is: 'at', modRevision })
  for (const claim of claims) {
    const ref = claimRef(claim.poolId, claim.address)
    refs.push(ref)
    when.push({ key: claimKey(ref), is: 'absent' })
    write.push({ put: claimKey(ref), value: encodeClaim(claim) })
  }
  write.push({ put: ownerKey(owner), value: encodeOwner(refs) })
  return { when, write }
}

function ownerChanged(found: Known, owner: string, held: Held): boolean {
  return found.get(ownerKey(owner))?.modRevision !== held.record?.modRevision
}

/** Why the transaction did not hold, as far as it is about this candidate. Throws what is final. */
function judge({ state, definition, address, field, pick, dynamic }: Candidate, found: Known, random: () => number): void {
  const { pool } = definition.plan
  if (!found.has(poolKey(pool.id))) throw poolUnknown([pool.id], `${field}.poolIds`)
  const holder = found.get(claimKey(claimRef(pool.id, address)))
  if (holder === undefined) return
  if (!dynamic) throw addressTaken(address, pool.id, heldBy(decodeClaim(holder)), `${field}.address`)
  if (pick !== undefined) state.evade(pick, random)
}

function tooMany(owner: string, held: number): HeddleError {
  return new HeddleError('invalid-argument', `owner ${owner} holds ${held} addresses already`, {
    field: 'wants',
    remedy: `claim at most ${maxHeld} addresses for one owner`,
  })
}
