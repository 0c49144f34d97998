import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { HeddleError, systemClock } from '@heddle/core'
import test from 'ava'
import { EmbeddedServer } from './child.ts'

const lines: string[] = []
const logger = { info: () => {}, error: (_: unknown, message: string) => lines.push(message) } as any
const never = new AbortController().signal

function server(script: string): EmbeddedServer {
  return new EmbeddedServer({ name: 'test server', command: ['sh', '-c', script], ready: /ready/, debianPackage: 'test-package' }, logger, systemClock)
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await delay(10)
}

test('a server that dies is started again', async (t) => {
  const child = server('echo ready >&2; exec sleep 100')
  t.teardown(() => child.stop())
  await child.start(never)
  const first = child.pid ?? 0
  process.kill(first, 'SIGKILL')
  await until(() => child.pid !== first && child.pid !== undefined)
  t.not(child.pid, first)
  t.true(lines.some((line) => line.includes('starting it again')))
})

test('a first start that fails says what the server said and what to do', async (t) => {
  const child = server('echo "cannot read the disk" >&2; exit 3')
  const error = await t.throwsAsync(child.start(never), { instanceOf: HeddleError })
  t.regex(error?.message ?? '', /exit code 3.*cannot read the disk/s)
  t.regex(error?.remedy ?? '', /test-package/)
  await child.stop()
})

test('a server asked to stop ends in its own way and is not started again', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-child-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const note = join(dir, 'ended')
  const child = server(`trap 'echo bye > ${note}; exit 0' TERM; echo ready >&2; while :; do sleep 0.05; done`)
  await child.start(never)
  const { pid = 0 } = child
  await child.stop()
  t.true(existsSync(note))
  t.is(readFileSync(note, 'utf8'), 'bye\n')
  t.is(child.pid, pid)
  t.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
})

test('stopping while it starts ends the wait', async (t) => {
  const child = server('exec sleep 100')
  const abort = new AbortController()
  const starting = child.start(abort.signal)
  abort.abort(new HeddleError('cancelled', 'enough'))
  await t.throwsAsync(starting, { message: 'enough' })
  await child.stop()
  t.throws(() => process.kill(child.pid ?? 0, 0), { code: 'ESRCH' })
})
