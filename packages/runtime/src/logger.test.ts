import test from 'ava'
import { createLogger } from './logger.ts'

function logger(pretty: boolean) {
  const lines: string[] = []
  return { lines, logger: createLogger({ name: 'ipam', host: 'h1', log: { level: 'info', pretty }, sink: { write: (line: string) => void lines.push(line) } }) }
}

test('a line is JSON with its service, host, time and error', (t) => {
  const { lines, logger: log } = logger(false)
  log.debug('hidden')
  log.warn({ err: new Error('why'), pool: 'p1' }, 'it failed')
  t.is(lines.length, 1)
  t.like(JSON.parse(lines[0] ?? ''), { level: 40, service: 'ipam', host: 'h1', msg: 'it failed', pool: 'p1', err: { message: 'why' } })
  t.regex(JSON.parse(lines[0] ?? '').time, /^\d{4}-.*Z$/)
})

test('a pretty line reads well and keeps the stack', (t) => {
  const { lines, logger: log } = logger(true)
  log.error({ err: new Error('why'), pool: 'p1', count: 3 }, 'it failed')
  t.regex(lines[0] ?? '', /^\d\d:\d\d:\d\d\.\d{3} ERROR ipam {2}it failed {2}pool=p1 {2}count=3\n {2}Error: why\n.*at /)
})
