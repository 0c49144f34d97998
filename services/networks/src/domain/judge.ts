/**
 * Which endpoint records have outlived their interface. Judged by what this process has itself seen over several rounds on
 * its own monotonic clock: neither another machine's wall clock nor one missing answer may cost a container its network.
 */
import type { Endpoint } from '@heddle/contract'

export interface JudgeRules {
  /** A record this young may still be on its way to its interface, or from it. */
  readonly graceMs: number
  /** The same for `reserved`: Docker reserves when a container is created and wires when it starts. */
  readonly reservedGraceMs: number
}

/** What is remembered of one record from round to round. */
export interface Observation {
  /** Another revision is another record. */
  readonly revision: bigint
  readonly firstSeenMs: number
  /** Rounds in a row in which its host answered and did not have it. */
  readonly missing: number
}

export interface Verdict {
  readonly delete: readonly Endpoint[]
  readonly observations: ReadonlyMap<string, Observation>
}

/** `attached`: endpoint ids by host; a host that did not answer is not in it, and nothing of it is deleted. */
export function judge(
  endpoints: readonly Endpoint[],
  attached: ReadonlyMap<string, ReadonlySet<string>>,
  before: ReadonlyMap<string, Observation>,
  nowMs: number,
  rules: JudgeRules,
): Verdict {
  const observations = new Map<string, Observation>()
  const condemned: Endpoint[] = []
  for (const endpoint of endpoints) {
    const known = before.get(endpoint.id)
    const same = known?.revision === endpoint.revision ? known : { revision: endpoint.revision, firstSeenMs: nowMs, missing: 0 }
    const there = attached.get(endpoint.host)
    const missing = there === undefined || there.has(endpoint.id) ? 0 : same.missing + 1
    observations.set(endpoint.id, { ...same, missing })
    const graceMs = endpoint.state === 'reserved' ? rules.reservedGraceMs : rules.graceMs
    if (missing >= 2 && nowMs - same.firstSeenMs >= graceMs) condemned.push(endpoint)
  }
  return { delete: condemned, observations }
}
