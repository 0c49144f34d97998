// A test run that hangs is ended by scripts/tap-summary.ts, which says what hung.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import test, { type ExecutionContext } from 'ava'
import { startWatchdog } from '../scripts/watchdog.ts'

function guarded(t: ExecutionContext, command: string, quietMs = 300) {
  const run = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'] })
  const said: string[] = []
  const watchdog = startWatchdog({ pid: run.pid ?? 0, quietMs, say: (line) => said.push(line) })
  t.teardown(() => {
    watchdog.stop()
    run.kill('SIGKILL')
  })
  return { run, said, watchdog }
}

test('silence ends the children of the run with all of theirs, named, and the run goes on', async (t) => {
  const { run, said } = guarded(t, `sh -c 'sleep 301; exit 3'; echo "file ended with $?"; exit 1`)
  t.is(await text(run.stdout), 'file ended with 137\n')
  t.regex(said.join('\n'), /nothing was heard.*\n.* sh -c sleep 301.*\n.* sleep 301/)
})

test('a run that hangs by itself is ended', async (t) => {
  const { run } = guarded(t, 'exec sleep 302')
  t.deepEqual(await once(run, 'exit'), [null, 'SIGKILL'])
})

test('a run that is heard of is left alone', async (t) => {
  const { run, said, watchdog } = guarded(t, 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.1; echo .; done', 1_000)
  run.stdout.on('data', () => watchdog.heard())
  t.deepEqual(await once(run, 'exit'), [0, null])
  t.deepEqual(said, [])
})
