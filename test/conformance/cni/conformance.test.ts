/** Our own plugin through the suite, on the real stack; and plugins that are wrong, which the suite must find. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { attempt, LabScope } from '@heddle/testkit'
import test from 'ava'
import { judge, lineOf } from '../report.ts'
import { faults } from './faults.ts'
import { type Ours, startOurs } from './ours.ts'
import { rules } from './rules/index.ts'
import { Subject } from './subject.ts'

const scope = new LabScope()
let dir: string
let ours: Ours

test.before(async () => {
  dir = mkdtempSync(join(tmpdir(), `hdconf-${process.pid}-`))
  scope.defer('files', () => rmSync(dir, { recursive: true, force: true }))
  ours = await startOurs(scope, dir)
})
test.after.always(() => scope.close())

// Such a network has no links on the host.
const hasNot = ['CHECK-HOST', 'CHECK-PORT', 'RESULT-INTERFACES-3']
for (const [kind, skipped] of [
  ['bridge', []],
  ['overlay', hasNot],
  ['macvlan', hasNot],
] as const) {
  test.serial(`our plugin passes every rule that says something of ${kind} networks`, async (t) => {
    const verdicts = await judge(rules, await Subject.open(scope, ours.options(kind)))
    t.deepEqual(verdicts.filter(({ outcome }) => outcome === 'FAIL').map(lineOf), [])
    t.deepEqual(
      verdicts.flatMap(({ outcome, id }) => (outcome === 'skip' ? [id] : [])),
      skipped,
    )
  })
}

test.serial('each rule finds a plugin that breaks it', async (t) => {
  const subject = await Subject.open(scope, ours.options('bridge'))
  for (const { what, breaks, start } of faults) {
    const broken = start()
    const verdicts = await judge(
      rules.filter(({ id }) => breaks.includes(id)),
      subject.with((call) => broken(call, subject.call)),
    )
    const missed = verdicts.filter(({ outcome }) => outcome !== 'FAIL').map(lineOf)
    t.deepEqual(missed, [], what)
  }
  const broken = new Set(faults.flatMap(({ breaks }) => breaks))
  t.deepEqual(
    rules.map(({ id }) => id).filter((id) => !broken.has(id)),
    [],
    'rules that no fault breaks',
  )
  t.deepEqual(
    [...broken].filter((id) => !rules.some((rule) => rule.id === id)),
    [],
    'rules that there are not',
  )
})

test('the published table has every rule as it is now', (t) => {
  const page = readFileSync(resolve(import.meta.dirname, '../../../docs/conformance.md'), 'utf8')
  const missing = rules.filter(({ id, text, section }) => !page.includes(`| ${id} | ${text} (${section}) |`)).map(({ id }) => id)
  t.deepEqual(missing, [], 'run `npm run conformance`')
})

test.serial('the command judges a plugin that is a script, names what it breaks, and ends with 1', async (t) => {
  const [plugin, config] = [join(dir, 'yes-man'), join(dir, 'yes-man.json')]
  writeFileSync(plugin, '#!/bin/sh\n[ "$CNI_COMMAND" = VERSION ] && echo \'{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}\' || echo yes\n')
  chmodSync(plugin, 0o755)
  writeFileSync(config, JSON.stringify({ cniVersion: '1.0.0', name: 'yes', type: 'yes-man' }))
  const command = (...args: string[]) => attempt([process.execPath, resolve(import.meta.dirname, 'main.ts'), '--plugin', plugin, '--config', config, ...args])
  const lines = await command('--only', 'VERSION', '--only', 'ADD-1', '--only', 'GC-2')
  t.is(lines.code, 1, lines.stderr)
  t.regex(lines.stdout, /^ok {4}VERSION-1 {2}\(section 2, VERSION\) {2}VERSION needs/m)
  t.regex(lines.stdout, /^FAIL {2}VERSION-3 {2}\(section 1, Version considerations\)/m)
  t.regex(lines.stdout, /^FAIL {2}ADD-1 {2}.*\n {6}there is no eth0 in the sandbox$/m)
  t.regex(lines.stdout, /^skip {2}GC-2 {2}.*\n {6}the plugin supports CNI up to 1\.0\.0; GC is of 1\.1\.0$/m)
  t.regex(lines.stdout, /\n3 passed, 3 failed, 1 skipped\n$/)
  const json = JSON.parse((await command('--only', 'VERSION-3', '--json')).stdout)
  t.like(json, { subject: plugin, passed: 0, failed: 1, skipped: 0 })
  t.like(json.rules[0], { id: 'VERSION-3', outcome: 'FAIL' })
  const unknown = await command('--only', 'NO-SUCH-RULE')
  t.is(unknown.code, 2)
  t.regex(unknown.stderr, /no rule begins with NO-SUCH-RULE/)
})
