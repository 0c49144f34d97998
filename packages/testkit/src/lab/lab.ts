/** A directory, what was made in it, and the end of both, whether the laboratory ends well, badly or by Ctrl-C. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LabScope } from './scope.ts'

export interface Lab {
  readonly scope: LabScope
  /** Absolute path, short enough for unix sockets (108 bytes, unix(7)). */
  readonly dir: string
  /** Aborts when the user wants to stop. */
  readonly signal: AbortSignal
}

/** Runs `body` and undoes everything it registered. Rejects with its failure, or with `interrupted` when a signal came. */
export async function withLab<T>(body: (lab: Lab) => Promise<T>, onUndo: (what: string) => void = () => {}): Promise<T> {
  const scope = new LabScope()
  const dir = mkdtempSync(join(tmpdir(), 'hdlab-'))
  scope.defer('temporary files', () => rmSync(dir, { recursive: true, force: true }))
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
  try {
    return await Promise.race([work, interrupted.promise])
  } finally {
    // What the body still does fails by itself, once what it works on is gone.
    work.catch(() => {})
    try {
      await scope.close(onUndo)
    } finally {
      for (const signal of signals) process.off(signal, onSignal)
    }
  }
}
