/** Which VNI claims have outlived their network, judged by what this process has itself seen on its own monotonic clock. */

export interface VniClaim {
  readonly networkId: string
  readonly revision: bigint
}

export interface Observation {
  /** Another revision is another claim. */
  readonly revision: bigint
  readonly firstMissedMs: number
}

/** A claim comes before its network, so one without is left alone until it has been without for the grace. */
export function judgeClaims(
  claims: readonly VniClaim[],
  networkIds: ReadonlySet<string>,
  before: ReadonlyMap<string, Observation>,
  nowMs: number,
  graceMs: number,
): { readonly free: readonly VniClaim[]; readonly observations: ReadonlyMap<string, Observation> } {
  const observations = new Map<string, Observation>()
  const free: VniClaim[] = []
  for (const claim of claims) {
    if (networkIds.has(claim.networkId)) continue
    const known = before.get(claim.networkId)
    if (known?.revision !== claim.revision) {
      observations.set(claim.networkId, { revision: claim.revision, firstMissedMs: nowMs })
      continue
    }
    observations.set(claim.networkId, known)
    if (nowMs - known.firstMissedMs >= graceMs) free.push(claim)
  }
  return { free, observations }
}
