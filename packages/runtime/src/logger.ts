/** Logs: JSON lines on stderr, written synchronously so that the last line before an exit is not lost. */
import { writeSync } from 'node:fs'
import type { Call } from '@heddle/core'
import { trace } from '@opentelemetry/api'
import { type DestinationStream, destination, type Logger, pino } from 'pino'

export interface LogConfig {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'
  /** One readable line an entry instead of JSON. */
  readonly pretty: boolean
}

export interface LoggerOptions {
  readonly name: string
  readonly host: string
  readonly log: LogConfig
  /** Where lines go instead of stderr. */
  readonly sink?: DestinationStream
}

export function createLogger({ name, host, log, sink }: LoggerOptions): Logger {
  const output = sink ?? (log.pretty ? { write: (line: string) => void writeSync(2, line) } : destination({ dest: 2, sync: true }))
  const stream: DestinationStream = log.pretty ? { write: (line) => output.write(prettyLine(line)) } : output
  return pino({ level: log.level, base: { service: name, host }, timestamp: pino.stdTimeFunctions.isoTime }, stream)
}

/** What ties a line to its call: `logger.child(callBindings(call))`, or spread into one line. */
export function callBindings(call: Call): { traceId?: string; spanId?: string; key?: string } {
  const span = trace.getSpanContext(call.context)
  return { ...(span === undefined ? {} : { traceId: span.traceId, spanId: span.spanId }), ...(call.key === '' ? {} : { key: call.key }) }
}

const hidden = new Set(['level', 'time', 'msg', 'service', 'host', 'err'])

/** `12:34:56.789 WARN  gateway  message  key=value`, then the stack of an error. */
function prettyLine(json: string): string {
  const entry = JSON.parse(json) as Record<string, unknown> & { level: number; time: string }
  const rest = Object.entries(entry).filter(([key]) => !hidden.has(key))
  const pairs = rest.map(([key, value]) => `  ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
  const error = entry['err'] as { stack?: string; message?: string } | undefined
  const level = (pino.levels.labels[entry.level] ?? '').toUpperCase().padEnd(5)
  const tail = error === undefined ? '' : `\n  ${error.stack ?? error.message ?? ''}`
  return `${entry.time.slice(11, 23)} ${level} ${String(entry['service'])}  ${String(entry['msg'] ?? '')}${pairs.join('')}${tail}\n`
}
