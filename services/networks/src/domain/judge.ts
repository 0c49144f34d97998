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
  /** How long the interface of a wired endpoint may wait on its host in one go, seen by nobody in a sandbox. */
  readonly waitingGraceMs: number
}

/** `waiting`: on the host, where dockerd takes it from and brings it back to. One that is forgotten there is in nobody's sandbox. */
export type Presence = 'in use' | 'waiting'

/** What is remembered of one record from round to round. */
export interface Observation {
  /** Another revision is another record. */
  readonly revision: bigint
  readonly firstSeenMs: number
  /** Rounds in a row in which its host answered and did not have it in use, and the first of them. */
  readonly missing: number
  readonly missingSinceMs: number
}

export interface Verdict {
  readonly delete: readonly Endpoint[]
  readonly observations: ReadonlyMap<string, Observation>
}

/** `attached`: what each host has, by endpoint id; a host that did not answer is not in it, and nothing of it is deleted. */
export function judge(
  endpoints: readonly Endpoint[],
  attached: ReadonlyMap<string, ReadonlyMap<string, Presence>>,
  before: ReadonlyMap<string, Observation>,
  nowMs: number,
  rules: JudgeRules,
): Verdict {
  const observations = new Map<string, Observation>()
  const condemned: Endpoint[] = []
  for (const endpoint of endpoints) {
    const known = before.get(endpoint.id)
    const same = known?.revision === endpoint.revision ? known : { revision: endpoint.revision, firstSeenMs: nowMs, missing: 0, missingSinceMs: nowMs }
    const there = attached.get(endpoint.host)
    const presence = there?.get(endpoint.id)
    const missing = there === undefined || presence === 'in use' ? 0 : same.missing + 1
    const missingSinceMs = missing <= 1 ? nowMs : same.missingSinceMs
    observations.set(endpoint.id, { ...same, missing, missingSinceMs })
    if (missing >= 2 && isOverdue(endpoint, presence, nowMs - same.firstSeenMs, nowMs - missingSinceMs, rules)) condemned.push(endpoint)
  }
  return { delete: condemned, observations }
}

function isOverdue({ state }: Endpoint, presence: Presence | undefined, ageMs: number, missingMs: number, rules: JudgeRules): boolean {
  if (state === 'reserved') return ageMs >= rules.reservedGraceMs
  return presence === 'waiting' ? missingMs >= rules.waitingGraceMs : ageMs >= rules.graceMs
}
