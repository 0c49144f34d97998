/**
 * Runs AVA and reports for people and for CI: progress while it works, every failure in full as it happens, what was
 * skipped and why, and as last line "N passed, N failed". Arguments go to AVA (file names, --match); without any, the tests
 * in guests with an emulated SR-IOV card follow the others, where such guests can be had.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { startWatchdog } from './watchdog.ts'

const progressMs = 10_000
/** A line of progress is repeated so often when nothing has changed. */
const repeatMs = 60_000
/** The longest test may take ten minutes. */
const quietMs = Number(process.env['HEDDLE_TEST_QUIET_MS'] ?? 12 * 60_000)
const startedMs = performance.now()
/** Its tests need what `prepare.ts` fetches; it ends with 75 (sysexits.h) and the reason where that cannot be had. */
const guests = 'ava.sriov-vm.config.js'
const exitUnavailable = 75
let passed = 0
let failed = 0
const skipped: string[] = []
/** Lines of the failure being read: AVA writes a YAML block and log lines after `not ok`. */
let open: { readonly title: string; readonly lines: string[]; readonly kind: 'failure' | 'skip' | 'pass' } | undefined

let running: ChildProcess | undefined
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    interrupted = true
    running?.kill(signal)
  })
}
let saidLast = { text: '', atMs: performance.now() }
const progress = setInterval(() => {
  const text = `${passed} passed, ${failed} failed so far`
  if (text === saidLast.text && performance.now() - saidLast.atMs < repeatMs) return
  saidLast = { text, atMs: performance.now() }
  say(text)
}, progressMs)

const given = process.argv.slice(2)
let code = 0
for (const suite of given.length > 0 ? [given] : [[], ['--config', guests]]) {
  if (interrupted) break
  const reason = suite.includes(guests) ? await whyNoGuests() : ''
  if (reason !== '') skipped.push(`the tests in guests with an emulated SR-IOV card: ${reason}`)
  else code = Math.max(code, await runAva(suite))
}
clearInterval(progress)

if (skipped.length > 0) process.stdout.write(`\nskipped:\n${skipped.map((line) => `  ${line}\n`).join('')}`)
// AVA's own verdict counts too: it fails for what is no test (no file matched, a crash before the first test).
if (code !== 0 && failed === 0) {
  process.stdout.write(`\nAVA ended with exit code ${code} although no test failed\n`)
  failed = 1
}
say('done')
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exitCode = failed === 0 && code === 0 ? 0 : 1

async function runAva(args: readonly string[]): Promise<number> {
  const ava = spawn('node_modules/.bin/ava', ['--tap', ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  running = ava
  const ended = exitOf(ava)
  const watchdog = startWatchdog({ pid: ava.pid ?? 0, quietMs, say })
  for await (const line of createInterface({ input: ava.stdout })) {
    watchdog.heard()
    read(line)
  }
  closeOpen()
  const exit = await ended
  watchdog.stop()
  return exit
}

/** Empty when they can be had. */
async function whyNoGuests(): Promise<string> {
  const prepare = spawn(process.execPath, ['test/sriov-vm/rig/prepare.ts'], { stdio: ['ignore', 'pipe', 'inherit'] })
  running = prepare
  const ended = exitOf(prepare)
  let said = ''
  for await (const line of createInterface({ input: prepare.stdout })) said = line
  const exit = await ended
  if (exit === exitUnavailable) return said
  if (exit !== 0) {
    failed++
    process.stdout.write(`\nFAILED to prepare guests: test/sriov-vm/rig/prepare.ts ended with exit code ${exit}\n`)
    return 'they could not be prepared'
  }
  return ''
}

function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => child.once('close', (exit, signal) => resolve(signal === null ? (exit ?? 1) : 1)))
}

function read(line: string): void {
  const match = /^(not ok|ok) \d+ - (.*?)(?: # (SKIP|TODO)(.*))?$/.exec(line)
  if (match === null) {
    if (!/^(TAP version|1\.\.|# (tests|pass|fail|skip|todo))/.test(line)) open?.lines.push(line)
    return
  }
  closeOpen()
  const [, verdict, title = '', directive] = match
  const kind = directive === undefined ? (verdict === 'ok' ? 'pass' : 'failure') : 'skip'
  open = { title, lines: [], kind }
}

function closeOpen(): void {
  if (open === undefined) return
  const { title, lines, kind } = open
  const logged = lines.flatMap((line) => /^\s*#\s?(.*)$/.exec(line)?.[1] ?? [])
  // A test that cannot run on this machine passes at once and says why in a log line "skipped: <reason>".
  const reason = logged.find((line) => line.trim().startsWith('skipped:'))
  open = undefined
  if (kind === 'failure') {
    failed++
    process.stdout.write(`\nFAILED ${title}\n${lines.map((line) => `  ${line}\n`).join('')}`)
  } else if (kind === 'skip' || reason !== undefined) {
    skipped.push(`${title}: ${reason?.trim().slice('skipped:'.length).trim() ?? 'test.skip'}`)
  } else {
    passed++
  }
}

function say(text: string): void {
  process.stdout.write(`[${((performance.now() - startedMs) / 1000).toFixed(0).padStart(4)} s] ${text}\n`)
}
