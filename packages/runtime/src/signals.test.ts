import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'

/** Runs `body` in a process of its own under runUntilSignal; `runtime` and `say` are in scope. */
function run(t: ExecutionContext, body: string) {
  const script = `
    import { createRuntime, runUntilSignal } from ${JSON.stringify(join(import.meta.dirname, 'index.ts'))}
    const say = (word) => process.stdout.write(word + '\\n')
    const runtime = createRuntime({ name: 'test', host: 'h1', version: '0.1.0', log: { level: 'info', pretty: false } })
    ${body}
    await runUntilSignal(runtime, { graceMs: 5000, onStarted: () => say('started') })`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  let said = ''
  let logged = ''
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (logged += chunk.toString()))
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, words: said.trim().split('\n'), logged }))
  const heard = async (word: string) => {
    while (!said.includes(word))
      await Promise.race([once(child.stdout, 'data'), ended.then(() => Promise.reject(new Error(`ended without saying ${word}: ${logged}`)))])
  }
  return { child, ended, heard }
}

const stopsSlowly = `runtime.hook({ name: 'slow', stop: () => { say('stopping'); return new Promise(() => { setInterval(() => {}, 1000) }) } })`

test('SIGTERM stops gracefully with exit code 0', async (t) => {
  const { child, ended, heard } = run(t, `runtime.hook({ name: 'part', stop: async () => { await new Promise((r) => setTimeout(r, 100)); say('stopped') } })`)
  await heard('started')
  child.kill('SIGTERM')
  const { code, words } = await ended
  t.is(code, 0)
  t.deepEqual(words, ['started', 'stopped'])
})

test('a second signal ends the process at once', async (t) => {
  const { child, ended, heard } = run(t, stopsSlowly)
  await heard('started')
  child.kill('SIGTERM')
  await heard('stopping')
  child.kill('SIGINT')
  t.is((await ended).code, 130)
})

test('a failed start is logged and exits with 1', async (t) => {
  const { code, logged } = await run(t, `runtime.hook({ name: 'part', start: async () => { throw new Error('port taken') } })`).ended
  t.is(code, 1)
  t.regex(logged, /port taken/)
})

test('an unhandled rejection is logged with its stack, what runs is stopped, the exit code is 1', async (t) => {
  const { code, words, logged } = await run(
    t,
    `runtime.hook({ name: 'part', start: async () => { setTimeout(() => Promise.reject(new Error('forgotten')), 50) }, stop: async () => say('stopped') })`,
  ).ended
  t.is(code, 1)
  t.deepEqual(words, ['started', 'stopped'])
  t.regex(logged, /unhandledRejection/)
  t.regex(logged, /forgotten.*at /)
})
