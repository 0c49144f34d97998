import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { version } from './version.ts'

test('the version printed is that of the workspace', (t) => {
  t.is(version, JSON.parse(readFileSync(join(import.meta.dirname, '../../../package.json'), 'utf8')).version)
})
