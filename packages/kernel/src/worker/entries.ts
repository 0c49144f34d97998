/** Steps that put or remove one table entry; many of them leave in one send. */
import { deleteEntry, type Entry, replaceEntry } from '../rtnl/neighbour.ts'
import type { Operation } from '../types.ts'
import { Refused } from './failures.ts'
import type { Open } from './namespaces.ts'

export type EntryStep = Extract<Operation, { op: `neighbour.${string}` | `fdb.${string}` }>

export function isEntryStep(step: Operation): step is EntryStep {
  return step.op.startsWith('fdb.') || step.op.startsWith('neighbour.')
}

/** All go to the namespace of the first. A failure does not keep the others from being done. */
export function runEntries(open: Open, steps: readonly EntryStep[], onFailure: (index: number, failure: Refused) => void): void {
  const ns = steps[0]?.ns
  if (ns === undefined) return
  const socket = open(ns).route
  const indexes = new Map<string, number>()
  const linkIndex = (name: string) => {
    const index = indexes.get(name) ?? socket.indexOf(name)
    indexes.set(name, index)
    return index
  }
  const present: number[] = []
  for (const [index, step] of steps.entries()) {
    if (linkIndex(step.name) === 0) onFailure(index, new Refused('ENODEV', `there is no interface ${step.name}`))
    else present.push(index)
  }
  if (present.length === 0) return
  socket.batch(
    present.length,
    present.length - 1,
    (writer, sequence, flags, at) => {
      const step = steps[present[at] ?? 0] as EntryStep
      const write = step.op.endsWith('.replace') ? replaceEntry : deleteEntry
      write(writer, sequence, flags, entryOf(step, linkIndex(step.name)))
    },
    (at, failure) => onFailure(present[at] ?? 0, failure),
  )
}

function entryOf(step: EntryStep, linkIndex: number): Entry {
  switch (step.op) {
    case 'neighbour.replace':
      return { table: 'neighbour', linkIndex, mac: step.mac, address: step.address }
    case 'neighbour.delete':
      return { table: 'neighbour', linkIndex, address: step.address }
    case 'fdb.vxlan.replace':
    case 'fdb.vxlan.delete':
      return { table: 'vxlan', linkIndex, mac: step.mac, address: step.destination }
    case 'fdb.bridge.replace':
    case 'fdb.bridge.delete':
      return { table: 'bridge', linkIndex, mac: step.mac }
  }
}
