/** Steps and the reads that follow them, in one turn: nothing of anybody else comes between. */
import { NETLINK_ROUTE } from '../rtnl/constants.ts'
import { dumpLinks, getLink } from '../rtnl/link-build.ts'
import { readLink } from '../rtnl/link-parse.ts'
import { readVfs } from '../rtnl/vf.ts'
import type { LinkInfo, Question, Seen, Step, StepOutcome } from '../types.ts'
import { toFailure } from './failures.ts'
import type { Namespaces, Netns } from './namespaces.ts'
import { ProgramFailure, runProgram } from './program.ts'

export interface Looked {
  readonly outcomes: readonly StepOutcome[]
  readonly seen: readonly Seen[]
}

export function look(namespaces: Namespaces, steps: readonly Step[], questions: readonly Question[]): Looked {
  // Each namespace is opened once.
  return namespaces.use((open) => {
    const outcomes = runProgram({ use: (body) => body(open) }, steps)
    try {
      return { outcomes, seen: questions.map((question) => see(open(question.ns), question)) }
    } catch (error) {
      throw new ProgramFailure(toFailure(error, steps.length), outcomes)
    }
  })
}

function see(ns: Netns, { name, vfs = false }: Question): Seen {
  if (name === undefined) return { links: every(ns), vfs: [] }
  const found = ns.route.get(
    (writer, sequence) => getLink(writer, sequence, name, vfs),
    (reader, message) => ({ links: [readLink(reader, message)], vfs: vfs ? readVfs(reader, message) : [] }),
  )
  return found ?? { links: [], vfs: [] }
}

/** Of a socket of its own: a dump that is given up would be in the way of the next. */
function every(ns: Netns): LinkInfo[] {
  const socket = ns.open(NETLINK_ROUTE)
  try {
    const dump = socket.dump(dumpLinks, readLink)
    for (;;) {
      const step = dump.next()
      if (step.done === true) return step.value
    }
  } finally {
    socket.close()
  }
}
