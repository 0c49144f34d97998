import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { listenUnix } from './door.ts'

const dir = mkdtempSync(join(tmpdir(), 'heddle-door-'))
test.after.always(() => rmSync(dir, { recursive: true, force: true }))

test('the directory is made for its owner alone, and the socket too', async (t) => {
  const path = join(dir, 'deep/er/heddle.sock')
  const server = createServer()
  await listenUnix(server, path)
  t.is(statSync(path).mode & 0o777, 0o600)
  t.is(statSync(join(dir, 'deep/er')).mode & 0o777, 0o700)
  server.close()
})

test('a socket left by a crash is replaced, a live one is not', async (t) => {
  const path = join(dir, 'left.sock')
  const crash = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  t.throws(() => execFileSync(process.execPath, ['-e', crash], { stdio: 'pipe' }))
  t.true(statSync(path).isSocket())
  const server = createServer()
  await listenUnix(server, path)
  await t.throwsAsync(listenUnix(createServer(), path), { message: /another process is listening/ })
  server.close()
})

test('a file that is no socket is not removed', async (t) => {
  const path = join(dir, 'precious')
  writeFileSync(path, 'x')
  await t.throwsAsync(listenUnix(createServer(), path))
  t.is(statSync(path).size, 1)
})
