// The table of traps names a test for each, and each test it names is there.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { root } from '../../sources.ts'

const rows = readFileSync(join(import.meta.dirname, 'README.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| ') && line.includes('.test.ts`'))
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .map(([, number = '', , title = '', file = '']) => ({ number, title, path: file.replaceAll('`', '') }))

test('every trap has a test, and every test of the table exists under its title', (t) => {
  t.deepEqual(
    rows.map(({ number }) => number).filter((number) => number !== ''),
    Array.from({ length: 32 }, (_, index) => `T${index + 1}`),
  )
  for (const { title, path } of rows) t.true(readFileSync(join(root, path), 'utf8').includes(title), `${path} has no test "${title}"`)
})
