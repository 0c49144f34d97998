/**
 * Claims that nobody will use any more. One whose owner is no endpoint is marked, once networks has barred the owner from
 * recording it (Fence): the hands of its host put the VF back and release it. Only one whose VF is gone is freed here. Compares,
 * never replays; every change holds only for the claim that was judged.
 */
import type { Client } from '@heddle/bus'
import type { NetworksDefinition, VfClaim } from '@heddle/contract'
import { allPages, type Call } from '@heddle/core'
import { isLost } from './domain/inventory.ts'
import { keys } from './keys.ts'
import { encodeClaim } from './records.ts'
import { releaseOwner, releaseReservation } from './release.ts'
import type { VfRepo } from './repo.ts'

export interface SweepLimits {
  readonly graceMs: number
}

export interface Swept {
  /** Claims marked, for the hands to put their VFs back. */
  releasing: number
  /** Claims freed because their VFs are gone. */
  freed: number
}

type Networks = Pick<Client<typeof NetworksDefinition>, 'listEndpoints' | 'fence'>

/** Owners in one Fence request. */
const fenceChunk = 256

export class ClaimSweep {
  readonly #repo: VfRepo
  readonly #networks: Networks
  readonly #limits: SweepLimits
  /** Since when a claim has been without its VF, by key; another revision is another claim. */
  #lost: ReadonlyMap<string, { readonly revision: bigint; readonly sinceMs: number }> = new Map()

  constructor(repo: VfRepo, networks: Networks, limits: SweepLimits) {
    this.#repo = repo
    this.#networks = networks
    this.#limits = limits
  }

  /** What fails for one host is thrown when all else is done. */
  async round(call: Call): Promise<Swept> {
    const now = this.#repo.clock.monotonicMs()
    const suspects = new Map<string, VfClaim[]>()
    const longLost: VfClaim[] = []
    const lost = new Map<string, { revision: bigint; sinceMs: number }>()
    for (const { claim, seenMs } of this.#repo.claims()) {
      if (this.#isLost(claim)) {
        const key = keys.claim(claim.host, claim.pci)
        const before = this.#lost.get(key)
        const sinceMs = before?.revision === claim.revision ? before.sinceMs : now
        lost.set(key, { revision: claim.revision, sinceMs })
        if (now - sinceMs >= this.#limits.graceMs && (claim.owner === '' || claim.releasing)) longLost.push(claim)
      }
      if (claim.owner === '' || claim.releasing || now - seenMs < this.#limits.graceMs) continue
      const ofHost = suspects.get(claim.host) ?? []
      suspects.set(claim.host, ofHost)
      ofHost.push(claim)
    }
    this.#lost = lost
    const swept: Swept = { releasing: 0, freed: 0 }
    for (const claim of longLost) if (await this.#free(claim, call)) swept.freed++
    const failures: unknown[] = []
    for (const [host, claims] of suspects) {
      await this.#sweepHost(host, claims, swept, call).catch((error: unknown) => {
        call.signal.throwIfAborted()
        failures.push(error)
      })
    }
    if (failures.length > 0) throw failures[0]
    return swept
  }

  async #sweepHost(host: string, claims: readonly VfClaim[], swept: Swept, call: Call): Promise<void> {
    const endpoints = await allPages(
      (pageToken) => this.#networks.listEndpoints({ host, pageToken }, call),
      (page) => page.endpoints,
    )
    const recorded = new Set(endpoints.map(({ id }) => id))
    const suspects = claims.filter(({ owner }) => !recorded.has(owner))
    for (let from = 0; from < suspects.length; from += fenceChunk) {
      const chunk = suspects.slice(from, from + fenceChunk)
      const owners = chunk.map(({ owner, revision }) => ({ owner, claimRevision: revision }))
      const fenced = new Set((await this.#networks.fence({ owners }, call)).fencedOwners)
      for (const claim of chunk) {
        if (!fenced.has(claim.owner)) continue
        if (this.#isLost(claim)) swept.freed += (await this.#free(claim, call)) ? 1 : 0
        else swept.releasing += (await this.#mark(claim, call)) ? 1 : 0
      }
    }
  }

  #isLost(claim: VfClaim): boolean {
    return isLost(claim, this.#repo.inventory(claim.host))
  }

  #mark(claim: VfClaim, call: Call): Promise<boolean> {
    const key = keys.claim(claim.host, claim.pci)
    return this.#repo.commit(
      { when: [{ key, is: 'at', modRevision: claim.revision }], write: [{ put: key, value: encodeClaim({ ...claim, releasing: true }) }] },
      call,
    )
  }

  async #free(claim: VfClaim, call: Call): Promise<boolean> {
    const { owner, host, pci, revision } = claim
    const freed = owner === '' ? await releaseReservation(this.#repo, host, pci, revision, call) : await releaseOwner(this.#repo, owner, revision, call)
    return freed !== undefined
  }
}
