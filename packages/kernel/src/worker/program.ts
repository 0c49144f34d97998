/** Runs a program of steps in order and ends at the first failure that is not tolerated. */
import type { Operation, Step, StepOutcome } from '../types.ts'
import { type EntryStep, isEntryStep, runEntries } from './entries.ts'
import { type Failure, Refused, SystemCallFailure, toFailure } from './failures.ts'
import type { Namespaces, Open } from './namespaces.ts'
import { runStep } from './steps.ts'
import { nowMs } from './time.ts'

/** Small enough that even a refusal for every message fits into the socket's buffer. */
const maxBatch = 256

/** A program's failure with the index of its step. */
export class ProgramFailure extends Error {
  readonly failure: Failure
  /** Of the steps before it. */
  readonly outcomes: readonly StepOutcome[]

  constructor(failure: Failure, outcomes: readonly StepOutcome[]) {
    super('program failed')
    this.failure = failure
    this.outcomes = outcomes
  }
}

export function runProgram(namespaces: Pick<Namespaces, 'use'>, steps: readonly Step[]): StepOutcome[] {
  const outcomes: StepOutcome[] = []
  return namespaces.use((open) => {
    while (outcomes.length < steps.length) {
      const first = outcomes.length
      const batch = entryRun(steps, first)
      try {
        if (batch.length > 0) outcomes.push(...runBatch(open, batch))
        else outcomes.push(runOne(open, steps[first] as Step))
      } catch (error) {
        const at = error instanceof BatchFailure ? first + error.index : first
        throw new ProgramFailure(toFailure(error instanceof BatchFailure ? error.refused : error, at), outcomes)
      }
    }
    return outcomes
  })
}

function runOne(open: Open, step: Step): StepOutcome {
  const startMs = nowMs()
  try {
    runStep(open, step)
    return { startMs, endMs: nowMs() }
  } catch (error) {
    if (tolerates(step, error)) return { startMs, endMs: nowMs(), tolerated: error.errno }
    throw error
  }
}

function runBatch(open: Open, steps: readonly EntryStep[]): StepOutcome[] {
  const startMs = nowMs()
  const tolerated = new Map<number, string>()
  let failure: BatchFailure | undefined
  runEntries(open, steps, (index, refused) => {
    if (tolerates(steps[index] as Step, refused)) tolerated.set(index, refused.errno)
    else if (failure === undefined || index < failure.index) failure = new BatchFailure(index, refused)
  })
  if (failure !== undefined) throw failure
  const endMs = nowMs()
  return steps.map((_, index) => {
    const errno = tolerated.get(index)
    return errno === undefined ? { startMs, endMs } : { startMs, endMs, tolerated: errno }
  })
}

/** The first entry of a batch that was refused. */
class BatchFailure extends Error {
  readonly index: number
  readonly refused: Refused

  constructor(index: number, refused: Refused) {
    super(refused.message)
    this.index = index
    this.refused = refused
  }
}

/** Table entries that stand together and go to one namespace: they leave in one send. */
function entryRun(steps: readonly Step[], first: number): EntryStep[] {
  const run: EntryStep[] = []
  for (let index = first; index < steps.length && run.length < maxBatch; index++) {
    const step = steps[index] as Operation
    if (!isEntryStep(step) || (run[0] !== undefined && !sameNamespace(run[0], step))) break
    run.push(step)
  }
  return run
}

function sameNamespace(a: Operation, b: Operation): boolean {
  return a.ns === b.ns || (a.ns !== 'own' && b.ns !== 'own' && a.ns.path === b.ns.path)
}

function tolerates(step: Step, error: unknown): error is Refused | SystemCallFailure {
  if (!(error instanceof Refused || error instanceof SystemCallFailure)) return false
  // A name taken inside the sandbox is never "it is there already": the sandbox holds something else.
  if (error instanceof Refused && error.part.end === 'peer') return false
  return step.tolerate?.includes(error.errno) ?? false
}
