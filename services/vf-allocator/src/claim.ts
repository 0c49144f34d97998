/**
 * Claims of VFs: a candidate from memory, one transaction for it, the next candidate when another was faster. The
 * transaction holds only while the VF is nobody's, the owner has none, its PF is not held, and the host's inventory and the
 * pool are as they were decided on. Claims do not change the inventory, so those of one host do not disturb each other.
 */
import type { VfClaim } from '@heddle/contract'
import { type Call, type HeddleError, raceCall } from '@heddle/core'
import type { Known, Question, Write } from '@heddle/store'
import { choose, type HostView, isMeant, obstacleTo, type Wanted } from './domain/choose.ts'
import { isLost } from './domain/inventory.ts'
import { keys } from './keys.ts'
import { decodeClaim, decodeOwner, decodePool, encodeClaim, freed, inventoryIn, type OwnerRecord } from './records.ts'
import { givenUp, hostWithout, nearUnknown, noneFree, notThisOne, ownerHolds, poolUnknown } from './refusals.ts'
import type { VfRepo } from './repo.ts'
import type { Asked } from './validate.ts'

export interface ClaimParts {
  readonly repo: VfRepo
  /** 0 to 1. */
  readonly random: () => number
}

/** Fails with vf-exhausted, vf-unknown, vf-in-use, vf-quarantined, vf-pool-unknown, pf-unknown, claim-fenced. */
export async function claimVf({ repo, random }: ClaimParts, asked: Asked, call: Call): Promise<VfClaim> {
  let fresh = false
  let tries = 0
  for (;;) {
    call.signal.throwIfAborted()
    const apartAt = asked.apart ? await refreshApart(repo, asked.host, call) : undefined
    const candidate =
      asked.pci || (tries === 0 ? repo.ofOwner(asked.owner)?.pci : undefined) || (await candidateOf(repo, asked, tries === 0 ? () => 0 : random, call))
    if (candidate === undefined) {
      if (repo.picks.any(asked.host)) await raceCall(repo.picks.changed(), call)
      else if (fresh) throw await refused(repo, asked, call)
      else {
        await repo.refresh(asked.host, call)
        fresh = true
        tries = 0
      }
      continue
    }
    const done = repo.picks.take(asked.host, candidate)
    try {
      const { result, revision } = await repo.decide(takeVf(repo, asked, candidate, apartAt, call.clock.timestamp()), call)
      if (result !== undefined) return result.revision === 0n ? { ...result, revision } : result
    } finally {
      done()
    }
    tries++
  }
}

async function candidateOf(repo: VfRepo, asked: Asked, random: () => number, call: Call): Promise<string | undefined> {
  const view = repo.view(asked.host)
  if (view === undefined) return undefined
  const wanted = await wantedOf(repo, asked, call)
  const isPicked = (pci: string) => repo.picks.has(asked.host, pci)
  // The first try takes the lowest; after a meeting with another replica they should not meet again.
  return choose(view, wanted, isPicked, (count) => Math.floor(random() * count))?.pci
}

async function wantedOf(repo: VfRepo, asked: Asked, call: Call): Promise<Wanted> {
  const pool = asked.pool === '' ? undefined : await repo.pool(asked.pool, call)
  if (asked.pool !== '' && pool === undefined) throw poolUnknown(asked.pool)
  return { ...asked, pool }
}

async function refused(repo: VfRepo, asked: Asked, call: Call): Promise<HeddleError> {
  const view = repo.view(asked.host)
  if (view === undefined) return hostWithout(asked.host)
  if (asked.near !== '' && !asked.near.startsWith('node:') && !view.inventory.vfs.has(asked.near) && !view.inventory.pfs.has(asked.near))
    return nearUnknown(asked.host, asked.near)
  return noneFree(asked.host, view, await wantedOf(repo, asked, call))
}

/**
 * The claims of the host as they are after this began, and at which revision claims of this kind were then: whoever commits
 * one changes it, so of two at once the second decides again.
 */
async function refreshApart(repo: VfRepo, host: string, call: Call): Promise<bigint> {
  const at = (await repo.read(keys.apart(host), call))?.modRevision ?? 0n
  await repo.claimsNow(host, call)
  return at
}

/** The claim, with revision 0 when it is written now; undefined: it could not be had, decide for another one. */
function takeVf(repo: VfRepo, asked: Asked, pci: string, apartAt: bigint | undefined, now: string): Question<VfClaim | undefined> {
  const { owner, host } = asked
  const at = { host: keys.host(host), claim: keys.claim(host, pci), owner: keys.owner(owner), pool: asked.pool === '' ? undefined : keys.pool(asked.pool) }
  const holdKey = (known: Known) => {
    const pf = inventoryIn(known, at.host)?.vfs.get(pci)?.pf
    return pf === undefined ? undefined : keys.hold(host, pf)
  }
  const apartKey = apartAt === undefined ? undefined : keys.apart(host)
  return {
    keys: (known) => {
      const held = decodeOwner(known.get(at.owner))
      const all = [at.host, at.claim, at.owner, at.pool, holdKey(known), apartKey, held && keys.claim(held.host, held.pci)]
      return [...new Set(all.filter((key) => key !== undefined))]
    },
    decide: (known) => {
      const inventory = inventoryIn(known, at.host)
      const old = claimHeld(known, owner)
      if (old !== undefined) {
        if (old.host !== host) throw ownerHolds(old, asked)
        if (!isLost(old, inventory)) {
          if (asked.pci !== '' && asked.pci !== old.pci) throw ownerHolds(old, asked)
          if (old.releasing) throw givenUp(old)
          return { write: [], result: old }
        }
      }
      if (inventory === undefined) throw hostWithout(host)
      const pool = at.pool === undefined ? undefined : known.get(at.pool)
      if (at.pool !== undefined && pool === undefined) throw poolUnknown(asked.pool)
      if (apartKey !== undefined && (known.get(apartKey)?.modRevision ?? 0n) !== apartAt) return { write: [], result: undefined }
      const there = known.get(at.claim)
      const view: HostView = {
        inventory,
        get claims() {
          return repo.view(host)?.claims ?? []
        },
        claimOf: (other) => (other !== pci ? repo.claimOf(host, other) : there && decodeClaim(there)),
        isHeld: () => known.has(holdKey(known) ?? ''),
      }
      const wanted: Wanted = { ...asked, pool: pool && decodePool(pool) }
      const vf = inventory.vfs.get(pci)
      if (vf === undefined || !isMeant(vf, view, wanted) || obstacleTo(vf, view, wanted) !== undefined) {
        if (asked.pci !== '') throw notThisOne(host, pci, view, wanted)
        return { write: [], result: undefined }
      }
      const reservedBy = there === undefined ? '' : decodeClaim(there).reservedBy
      const { networkId, group } = asked
      const claim: VfClaim = { host, pci, owner, reservedBy, networkId, group, releasing: false, createdAt: now, revision: 0n, generation: vf.generation }
      const write: Write[] = [
        { put: at.claim, value: encodeClaim(claim) },
        { put: at.owner, value: JSON.stringify({ host, pci } satisfies OwnerRecord) },
      ]
      if (old !== undefined && old.pci !== pci) write.push(freed(old, now))
      if (apartKey !== undefined) write.push({ put: apartKey, value: JSON.stringify({ owner, at: now }) })
      return { write, result: claim }
    },
  }
}

function claimHeld(known: Known, owner: string): VfClaim | undefined {
  const held = decodeOwner(known.get(keys.owner(owner)))
  const record = held && known.get(keys.claim(held.host, held.pci))
  const claim = record && decodeClaim(record)
  return claim?.owner === owner ? claim : undefined
}
