import { execFileSync } from 'node:child_process'
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { WriterThreads } from './writer.ts'

const folder = mkdtempSync(join(tmpdir(), `hdsys-${process.pid}-`))
test.after.always(() => rmSync(folder, { recursive: true, force: true }))

test('what is written replaces what was there, in order', async (t) => {
  const file = join(folder, 'value')
  writeFileSync(file, 'something longer\n')
  const { write } = new WriterThreads()
  for (const value of ['4', '0', '12']) await write(file, value)
  t.is(readFileSync(file, 'utf8'), '12')
})

test('a file that is not there is not made: its errno is told', async (t) => {
  const { write } = new WriterThreads()
  await t.throwsAsync(write(join(folder, 'absent'), '1'), { code: 'ENOENT' })
  await t.throwsAsync(write(folder, '1'), { code: 'EISDIR' })
  await t.throwsAsync(readFile(join(folder, 'absent')), { code: 'ENOENT' })
})

test('writes that hang keep neither other writes nor the reads of the process waiting', async (t) => {
  const file = join(folder, 'free')
  writeFileSync(file, '')
  const { write } = new WriterThreads()
  // Opening a pipe that nobody reads waits, as a driver does that never comes back. More than libuv has threads.
  const pipes = Array.from({ length: 6 }, (_, index) => join(folder, `pipe${index}`))
  for (const pipe of pipes) execFileSync('mkfifo', [pipe])
  const hung = pipes.map((pipe) => write(pipe, 'late'))
  await write(file, 'through')
  t.is(await readFile(file, 'utf8'), 'through')
  for (const pipe of pipes) openSync(pipe, 'r+')
  await Promise.all(hung)
})
