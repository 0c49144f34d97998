/** The end of a host that is gone for good: nobody is left who could put its VFs back, and nobody to offer them to. */
import type { Call } from '@heddle/core'
import { unholdPf } from './holds.ts'
import { keys } from './keys.ts'
import { releaseOwner, releaseReservation } from './release.ts'
import type { VfRepo } from './repo.ts'

/** The inventory goes first, so that nobody claims here meanwhile. Answers how many claims were freed. */
export async function forgetHost(repo: VfRepo, host: string, call: Call): Promise<number> {
  const records = [keys.host(host), keys.apart(host)]
  await repo.decide({ keys: () => records, decide: (known) => ({ write: [...known.keys()].map((key) => ({ delete: key })), result: undefined }) }, call)
  const claims = await repo.claimsNow(host, call)
  for (const { owner, reservedBy, pci, revision } of claims) {
    if (owner !== '') await releaseOwner(repo, owner, revision, call)
    if (reservedBy !== '') await releaseReservation(repo, host, pci, undefined, call)
  }
  await repo.refresh(host, call)
  for (const pf of repo.heldPfs(host)) await unholdPf(repo, host, pf, call)
  return claims.length
}
