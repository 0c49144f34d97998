/** A directory, what was made in it, and the end of both, whether the laboratory ends well, badly or by Ctrl-C. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { removeLeftovers } from '../leftovers.ts'
import { LabScope } from './scope.ts'

export interface Lab {
  readonly scope: LabScope
  /** Absolute path, short enough for unix sockets (108 bytes, unix(7)). */
  readonly dir: string
  /** Aborts when the user wants to stop. */
  readonly signal: AbortSignal
}

/** The end of a laboratory that was interrupted, or of which something stayed. */
export class LabError extends Error {
  readonly interrupted: boolean
  /** What could not be undone, each with its reason; nothing when all of it was. */
  readonly remained: readonly string[]

  constructor(failure: unknown, interrupted: boolean, remained: readonly string[]) {
    super([...(failure === undefined ? [] : [failure instanceof Error ? failure.message : String(failure)]), ...remained].join('\n'), { cause: failure })
    this.interrupted = interrupted
    this.remained = remained
  }
}

/** A directory that goes with the laboratory, or with the next one when this process is killed. */
export function labDirectory(scope: LabScope): string {
  removeLeftovers()
  const dir = mkdtempSync(join(tmpdir(), `hdlab-${process.pid}-`))
  scope.defer('temporary files', () => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** Runs `body` and undoes everything it registered. Rejects with its failure, and with a LabError when there is more to say. */
export async function withLab<T>(body: (lab: Lab) => Promise<T>, onUndo: (what: string) => void = () => {}): Promise<T> {
  const scope = new LabScope()
  const dir = labDirectory(scope)
  const interrupt = new AbortController()
  const interrupted = Promise.withResolvers<never>()
  interrupted.promise.catch(() => {})
  const onSignal = (signal: NodeJS.Signals) => {
    const error = new Error(`interrupted by ${signal}`)
    interrupt.abort(error)
    interrupted.reject(error)
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.on(signal, onSignal)
  const work = body({ scope, dir, signal: interrupt.signal })
  const ended = await Promise.race([work, interrupted.promise]).then(
    (value) => ({ value, failed: false as const }),
    (error: unknown) => ({ error, failed: true as const }),
  )
  // A signal that comes later changes nothing: all is being undone already.
  const cut = ended.failed && interrupt.signal.aborted
  // What the body still does fails by itself, once what it works on is gone.
  work.catch(() => {})
  const remained = await scope.close(onUndo).then(
    () => [],
    (error: unknown) => (error instanceof AggregateError ? error.errors : [error]).map((each) => (each instanceof Error ? each.message : String(each))),
  )
  for (const signal of signals) process.off(signal, onSignal)
  if (cut || remained.length > 0) throw new LabError(cut ? interrupt.signal.reason : ended.failed ? ended.error : undefined, cut, remained)
  if (ended.failed) throw ended.error
  return ended.value
}
