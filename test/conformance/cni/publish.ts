/** `npm run conformance`: puts our plugin and the reference plugins through the suite and writes docs/conformance.md. */
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { run, withLab } from '@heddle/testkit'
import { count, judge, summaryOf, type Verdict } from '../report.ts'
import { type OurKind, startOurs } from './ours.ts'
import { rival, rivals } from './rivals.ts'
import { rules } from './rules/index.ts'
import { Subject, type SubjectOptions } from './subject.ts'

interface Column {
  readonly name: string
  readonly verdicts: readonly Verdict[]
}

const page = resolve(import.meta.dirname, '../../../docs/conformance.md')
const ourKinds: readonly OurKind[] = ['bridge', 'overlay', 'macvlan', 'host-device']
const marks = { ok: 'ok', FAIL: '**FAIL**', skip: '–' } as const

const columns = await withLab(async ({ scope, dir }) => {
  const ours = await startOurs(scope, dir)
  const subjects: (readonly [name: string, options: SubjectOptions])[] = [
    ...ourKinds.map((kind) => [`Heddle, ${kind}`, ours.options(kind)] as const),
    ...rivals.map((name) => [`\`${name}\``, rival(name, dir)] as const),
  ]
  const all: Column[] = []
  for (const [name, options] of subjects) {
    const verdicts = await judge(rules, await Subject.open(scope, options))
    process.stderr.write(`${name}: ${summaryOf(verdicts)}\n`)
    all.push({ name, verdicts })
  }
  return all
})
const version = (await run(['dpkg-query', '--show', 'containernetworking-plugins'])).trim().split('\t').at(-1)
const [intro = ''] = readFileSync(page, 'utf8').split('<!-- generated -->')
writeFileSync(
  page,
  `${intro}<!-- generated -->\n\n${table(columns)}\n\nThe reference plugins are those of Debian's package containernetworking-plugins ${version}.\n\n${failures(columns)}`,
)
process.exitCode = columns.slice(0, ourKinds.length).some(({ verdicts }) => count(verdicts).failed > 0) ? 1 : 0

function table(all: readonly Column[]): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const outcomes = rules.map(({ id, text, section }, index) => [
    id,
    `${text} (${section})`,
    ...all.map(({ verdicts }) => marks[verdicts[index]?.outcome ?? 'skip']),
  ])
  const sums = ['', 'passed, failed, not tried', ...all.map(({ verdicts }) => Object.values(count(verdicts)).join(', '))]
  const head = ['rule', 'what', ...all.map(({ name }) => name)]
  return [row(head), row(head.map(() => '---')), ...outcomes.map(row), row(sums)].join('\n')
}

/** Each with its reason, and what was not tried by reason. */
function failures(all: readonly Column[]): string {
  const sections = all.map(({ name, verdicts }) => {
    const failed = verdicts.filter(({ outcome }) => outcome === 'FAIL').map(({ id, reason }) => `- ${id} fails: ${lasting(reason)}`)
    const skipped = Map.groupBy(
      verdicts.filter(({ outcome }) => outcome === 'skip'),
      ({ reason }) => lasting(reason),
    )
    const reasons = [...skipped].map(([reason, of]) => `- not tried, because ${reason}: ${of.map(({ id }) => id).join(', ')}`)
    return [`### ${name}`, '', ...failed, ...reasons, ...(failed.length + reasons.length === 0 ? ['Every rule passes.'] : [])].join('\n')
  })
  return `${sections.join('\n\n')}\n`
}

/** Without what differs from run to run. */
function lasting(reason: string): string {
  const text = reason
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/hdconf-\d+-\w+/g, 'sandbox')
    .replaceAll(/veth[0-9a-f]{8}/g, 'vethX')
    .replaceAll(/([0-9a-f]{2}:){5}[0-9a-f]{2}/g, 'MAC')
    .replaceAll(/\b10\.98\.0\.\d+/g, 'ADDRESS')
    .replaceAll('|', '/')
  return text.length > 240 ? `${text.slice(0, 240)}...` : text
}
