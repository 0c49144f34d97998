/** The rules of a conformance suite: how they are run one after the other, printed, counted and turned into an exit code. */

export interface Rule<Subject> {
  /** Stable, e.g. `NET-CREATE-2`: named in reports and by `--only`. */
  readonly id: string
  /** Where the specification says it, e.g. `remote.md, Join`. */
  readonly section: string
  /** A sentence about the subject that is true when the rule passes. */
  readonly text: string
  /** Rejects when the rule is broken, with what was seen; with `Skipped` when it cannot be tried on this subject. */
  readonly prove: (subject: Subject) => Promise<unknown>
}

export type Outcome = 'ok' | 'FAIL' | 'skip'

export interface Verdict {
  readonly id: string
  readonly section: string
  readonly text: string
  readonly outcome: Outcome
  /** What was seen instead, or why it was not tried; empty when the rule passes. */
  readonly reason: string
}

/** The rule says nothing about this subject, with the reason. */
export class Skipped extends Error {}

/** The rule is broken: what was seen instead. */
export class Broken extends Error {}

export function skip(reason: string): never {
  throw new Skipped(reason)
}

/** Rejects the rule unless `condition` holds. */
export function expect(condition: boolean, seen: string): asserts condition {
  if (!condition) throw new Broken(seen)
}

/**
 * Runs the rules in order, each whatever became of the others, and tells each verdict at once. Whatever a rule rejects
 * with is its reason: nothing that a subject does may end the suite.
 */
export async function judge<Subject>(rules: readonly Rule<Subject>[], subject: Subject, onVerdict: (verdict: Verdict) => void = () => {}): Promise<Verdict[]> {
  const verdicts: Verdict[] = []
  for (const { id, section, text, prove } of rules) {
    const [outcome, reason] = await prove(subject).then(
      (): [Outcome, string] => ['ok', ''],
      (error: unknown): [Outcome, string] => [error instanceof Skipped ? 'skip' : 'FAIL', error instanceof Error ? error.message : String(error)],
    )
    const verdict = { id, section, text, outcome, reason }
    verdicts.push(verdict)
    onVerdict(verdict)
  }
  return verdicts
}

export function count(verdicts: readonly Verdict[]): { readonly passed: number; readonly failed: number; readonly skipped: number } {
  const of = (outcome: Outcome) => verdicts.filter((verdict) => verdict.outcome === outcome).length
  return { passed: of('ok'), failed: of('FAIL'), skipped: of('skip') }
}

/** `ok    NET-CREATE-2  (remote.md, CreateNetwork)  text`, and a second line with the reason unless it passed. */
export function lineOf({ id, section, text, outcome, reason }: Verdict): string {
  const line = `${outcome.padEnd(4)}  ${id}  (${section})  ${text}`
  return reason === '' ? line : `${line}\n      ${reason.trim().replaceAll('\n', '\n      ')}`
}

export function summaryOf(verdicts: readonly Verdict[]): string {
  const { passed, failed, skipped } = count(verdicts)
  return `${passed} passed, ${failed} failed, ${skipped} skipped`
}

/**
 * Runs the rules and prints them: a line each and a summary, or with `json` one document `{subject, passed, failed,
 * skipped, rules: [{id, section, text, outcome, reason}]}`. Answers the exit code: 0 when none failed, else 1.
 */
export async function report<Subject>(rules: readonly Rule<Subject>[], subject: Subject, { json, name }: { json: boolean; name: string }): Promise<number> {
  const print = (text: string) => process.stdout.write(`${text}\n`)
  const verdicts = await judge(rules, subject, (verdict) => {
    if (!json) print(lineOf(verdict))
  })
  print(json ? JSON.stringify({ subject: name, ...count(verdicts), rules: verdicts }, null, 2) : summaryOf(verdicts))
  return count(verdicts).failed === 0 ? 0 : 1
}

/** The rules whose id begins with one of `prefixes` (of `--only`); all of them when there is none. Fails when one names nothing. */
export function chosen<Subject>(rules: readonly Rule<Subject>[], prefixes: readonly string[]): readonly Rule<Subject>[] {
  const idle = prefixes.find((prefix) => !rules.some((rule) => rule.id.startsWith(prefix)))
  if (idle !== undefined) throw new Error(`no rule begins with ${idle}; there are ${rules.map((rule) => rule.id).join(', ')}`)
  return prefixes.length === 0 ? rules : rules.filter((rule) => prefixes.some((prefix) => rule.id.startsWith(prefix)))
}
