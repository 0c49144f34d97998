/**
 * Which of the free devices a container should get (GetPreferredAllocation): on one NUMA node if any has enough, and there
 * by the pool's policy. The same question has the same answer.
 */
import { invalid } from '@heddle/core'
import type { Resource } from './devices.ts'

export interface Preference {
  readonly available: readonly string[]
  readonly mustInclude: readonly string[]
  readonly size: number
}

interface Candidate {
  readonly id: string
  readonly numaNode: number
  readonly pf: string
}

/** At most `size` devices, those that must be included first. Fails with invalid-argument when these are more. */
export function prefer({ offers, policy }: Pick<Resource, 'offers' | 'policy'>, { available, mustInclude, size }: Preference): string[] {
  if (mustInclude.length > size) {
    throw invalid('must_include_deviceIDs', `${mustInclude.length} devices must be among ${size}`, 'ask for at least as many devices')
  }
  const candidate = (id: string): Candidate => ({ id, numaNode: offers.get(id)?.vf.numaNode ?? -1, pf: offers.get(id)?.vf.pf ?? '' })
  const chosen = mustInclude.map(candidate)
  const free = available.filter((id) => !mustInclude.includes(id) && offers.has(id)).map(candidate)
  for (const node of nodesInOrder(free, chosen, size - chosen.length, policy)) {
    const left = new Set(free.filter(({ numaNode }) => numaNode === node))
    while (chosen.length < size && left.size > 0) {
      const next = nextOf([...left], chosen, policy)
      left.delete(next)
      chosen.push(next)
    }
  }
  return chosen.map(({ id }) => id)
}

/** Nodes of what must be included, then those that have enough for all, then the largest. */
function nodesInOrder(free: readonly Candidate[], chosen: readonly Candidate[], missing: number, policy: Resource['policy']): number[] {
  const count = (among: readonly Candidate[], node: number) => among.filter(({ numaNode }) => numaNode === node).length
  const fits = (node: number) => count(free, node) >= missing
  return [...new Set(free.map(({ numaNode }) => numaNode))].sort((a, b) => {
    const included = count(chosen, b) - count(chosen, a)
    if (included !== 0) return included
    if (fits(a) !== fits(b)) return fits(a) ? -1 : 1
    // Packing leaves the larger node whole for who needs it.
    const larger = count(free, b) - count(free, a)
    return (policy === 'pack' && fits(a) ? -larger : larger) || a - b
  })
}

function nextOf(left: readonly Candidate[], chosen: readonly Candidate[], policy: Resource['policy']): Candidate {
  const of = (among: readonly Candidate[], { pf }: Candidate) => among.filter((one) => one.pf === pf).length
  const sign = policy === 'pack' ? 1 : -1
  const [first] = [...left].sort(
    (a, b) => sign * (of(chosen, b) - of(chosen, a)) || sign * (of(left, a) - of(left, b)) || (a.pf === b.pf ? compare(a.id, b.id) : compare(a.pf, b.pf)),
  )
  if (first === undefined) throw new RangeError('nothing is left to choose')
  return first
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)
