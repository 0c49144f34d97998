/** Spans of a program's steps. Table entries that left in one send share their time, and one span. */
import { type Call, recordSpan } from '@heddle/core'
import type { Reply } from './protocol.ts'
import type { Step, StepOutcome } from './types.ts'

export function recordStepSpans(call: Call, steps: readonly Step[], outcomes: readonly StepOutcome[]): void {
  for (let first = 0; first < outcomes.length; ) {
    const step = steps[first]
    const outcome = outcomes[first]
    if (step === undefined || outcome === undefined) return
    let next = first + 1
    while (steps[next]?.op === step.op && outcomes[next]?.startMs === outcome.startMs) next++
    recordSpan(call, `netlink ${step.op}`, outcome.startMs, outcome.endMs, {
      ...attributes(step),
      ...(next - first > 1 ? { 'heddle.entries': next - first } : {}),
      ...(outcome.tolerated === undefined ? {} : { 'heddle.tolerated': outcome.tolerated }),
    })
    first = next
  }
}

/** The step that ended a program: from the end of those before it. */
export function recordFailedStep(call: Call, steps: readonly Step[], reply: Extract<Reply, { failure: unknown }>, message: string): void {
  const index = 'index' in reply.failure ? reply.failure.index : 0
  const step = steps[index]
  if (step !== undefined) recordSpan(call, `netlink ${step.op}`, reply.outcomes?.at(-1)?.endMs ?? reply.startMs, reply.endMs, attributes(step), message)
}

function attributes(step: Step): Record<string, string | number> {
  return {
    'heddle.netns': step.ns === 'own' ? 'own' : step.ns.path,
    ...('name' in step ? { 'heddle.link': step.name } : {}),
    ...('vf' in step ? { 'heddle.vf': step.vf } : {}),
  }
}
