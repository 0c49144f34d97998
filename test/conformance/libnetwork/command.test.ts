// The command as a user runs it, on Heddle in front of its real parts: every rule, for networks of both usual kinds, in both scopes.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { attempt, createUnderlay, type HeddleProcess, LabScope, labDirectory, startHeddle } from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'
import { root } from '../../sources.ts'
import type { Verdict } from '../report.ts'
import { rules, ruleTable } from './rules/index.ts'

const scope = new LabScope()
const command = [process.execPath, join(root, 'test/conformance/libnetwork/main.ts')]
const hosts = new Map<string, { readonly heddle: HeddleProcess; readonly netns: string }>()

test.before(async () => {
  const dir = labDirectory(scope)
  const underlay = createUnderlay({ hosts: 2 })
  scope.defer('underlay', () => underlay.remove())
  await Promise.all(
    ['local', 'global'].map(async (name, index) => {
      const netns = underlay.hosts[index]?.path ?? ''
      const config = { wiring: { underlay: { interface: 'eth0' } }, gateway: { docker: { scope: name } } }
      hosts.set(name, { netns, heddle: await startHeddle(scope, { host: name, netns, dir: join(dir, name), config }) })
    }),
  )
})
test.after.always(() => scope.close())

async function prove(name: string, more: readonly string[]) {
  const { heddle, netns } = hosts.get(name) ?? (undefined as never)
  const socket = ['--socket', join(heddle.pluginDir, 'heddle.sock'), '--links']
  const { code, stdout } = await attempt(['nsenter', `--net=${netns}`, ...command, ...socket, ...more], { timeoutMs: 120_000 })
  return { code, stdout, heddle }
}

async function passes(t: ExecutionContext, name: string, more: readonly string[], skipped: (id: string) => boolean): Promise<void> {
  const { code, stdout, heddle } = await prove(name, ['--json', ...more])
  const { rules: verdicts, ...counts } = JSON.parse(stdout) as { rules: Verdict[]; passed: number; failed: number; skipped: number }
  t.deepEqual(
    verdicts.filter(({ outcome, id }) => outcome !== (skipped(id) ? 'skip' : 'ok')),
    [],
  )
  t.is(code, 0)
  t.is(counts.passed + counts.skipped, rules.length)
  for (const what of ['network', 'endpoint']) t.deepEqual(await heddle.json([what, 'ls']), [], `${what} left`)
}

test.serial('overlay networks of local scope keep every rule; those of a swarm are not for them', (t) =>
  passes(t, 'local', [], (id) => id.startsWith('SWARM-')),
)
test.serial('bridge networks of global scope keep every rule', (t) => passes(t, 'global', ['--kind', 'bridge'], () => false))

test('the documentation has every rule', (t) => {
  t.true(readFileSync(join(root, 'docs/conformance-libnetwork.md'), 'utf8').endsWith(ruleTable()), 'print it anew with --rules')
})

test.serial('a line is told for each rule and their numbers at the end, of those that are asked for', async (t) => {
  const { code, stdout } = await prove('local', ['--only', 'CAP-', '--only', 'SWARM-1'])
  t.is(code, 0)
  const lines = stdout.trimEnd().split('\n')
  t.regex(lines[0] ?? '', /^ok {4}CAP-1 {2}\(remote\.md, Set capability\) {2}the scope is /)
  t.regex(stdout, /^skip {2}SWARM-1 {2}\(.*\) .*\n {6}the scope of the driver is local/m)
  t.is(lines.at(-1), '3 passed, 0 failed, 1 skipped')
})

test.serial('what cannot be begun is told with exit code 2, and a plugin that is not there fails', async (t) => {
  const bad: [string[], RegExp][] = [
    [[], /--socket is missing/],
    [['--socket', '/nowhere.sock'], /Plugin\.Activate: .*ENOENT/],
    [['--socket', '/nowhere.sock', '--only', 'XYZ'], /no rule begins with XYZ/],
    [['--socket', '/nowhere.sock', '--opt', 'kind'], /kind is not NAME=VALUE/],
  ]
  for (const [args, words] of bad) {
    const { code, stderr } = await attempt([...command, ...args])
    t.is(code, 2, args.join(' '))
    t.regex(stderr, words)
  }
})
