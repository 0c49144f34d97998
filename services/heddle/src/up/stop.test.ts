import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startFaultProxy, startNats } from '@heddle/testkit'
import test from 'ava'

test('a process told to end while it waits for an etcd that says nothing ends in its own way', async (t) => {
  const nats = await startNats()
  const etcd = await startFaultProxy({ target: 'http://127.0.0.1:1' })
  etcd.blackHole()
  const dir = mkdtempSync(join(tmpdir(), 'heddle-up-'))
  t.teardown(async () => {
    await etcd.close()
    await nats.stop()
    rmSync(dir, { recursive: true })
  })
  const main = new URL('../cli/main.ts', import.meta.url).pathname
  const args = [main, 'up', '--services', 'brains', '--nats', nats.url, '--etcd', etcd.url, '--set', `runDir=${dir}`, '--set', 'log.level=debug']
  // Well above the grace of a stop, well below the patience of a start.
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: 40_000, killSignal: 'SIGKILL' })
  const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal })))
  let log = ''
  const starting = new Promise<void>((resolve) => {
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      log += chunk
      if (log.includes('telemetry started')) resolve()
    })
  })
  await Promise.race([starting, ended])
  child.kill('SIGTERM')
  t.deepEqual(await ended, { code: 0, signal: null }, log)
})
