/**
 * A server that belongs to this process: it dies with it (PR_SET_PDEATHSIG, prctl(2)), is started again with growing
 * pauses when it dies by itself, and is stopped after everything that uses it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type Clock, HeddleError, sleep } from '@heddle/core'
import type { Runtime } from '@heddle/runtime'

export interface ChildSpec {
  readonly name: string
  readonly command: readonly string[]
  /** Logged on its standard error when it serves. */
  readonly ready: RegExp
  /** Debian's package, for the remedy when the program is missing. */
  readonly debianPackage: string
}

const startTimeoutMs = 30_000
const stopGraceMs = 5_000
const firstPauseMs = 100
const longestPauseMs = 5_000
/** Having run so long, its next death starts with the shortest pause again. */
const settledMs = 30_000
const tailLength = 4_096

export class EmbeddedServer {
  readonly #spec: ChildSpec
  readonly #logger: Runtime['logger']
  readonly #clock: Clock
  readonly #stopping = new AbortController()
  #child: ChildProcess | undefined
  #supervision: Promise<void> | undefined

  constructor(spec: ChildSpec, logger: Runtime['logger'], clock: Clock) {
    this.#spec = spec
    this.#logger = logger
    this.#clock = clock
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** Resolves when it serves; rejects when its first start fails, with the end of what it said. */
  async start(signal: AbortSignal): Promise<void> {
    const stopOnAbort = () => this.#stopping.abort(signal.reason)
    signal.addEventListener('abort', stopOnAbort, { once: true })
    try {
      const { exited } = await this.#launch()
      this.#supervision = this.#supervise(exited)
    } finally {
      signal.removeEventListener('abort', stopOnAbort)
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new HeddleError('cancelled', 'the process stops'))
    const child = this.#child
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      const force = setTimeout(() => child.kill('SIGKILL'), stopGraceMs)
      await exited
      clearTimeout(force)
    }
    await this.#supervision
  }

  async #supervise(firstExit: Promise<string>): Promise<void> {
    const { signal } = this.#stopping
    let exited = firstExit
    let pauseMs = firstPauseMs
    let startedMs = this.#clock.monotonicMs()
    for (;;) {
      const how = await exited
      if (signal.aborted) return
      if (this.#clock.monotonicMs() - startedMs > settledMs) pauseMs = firstPauseMs
      this.#logger.error({ server: this.#spec.name, how, pauseMs }, 'an embedded server ended; starting it again')
      try {
        await sleep(this.#clock, pauseMs, signal)
      } catch {
        return
      }
      pauseMs = Math.min(pauseMs * 2, longestPauseMs)
      startedMs = this.#clock.monotonicMs()
      try {
        exited = (await this.#launch()).exited
      } catch (error) {
        exited = Promise.resolve(HeddleError.from(error).message)
      }
    }
  }

  /** Resolves when the server serves; `exited` then tells how it ends. */
  async #launch(): Promise<{ readonly exited: Promise<string> }> {
    const { signal } = this.#stopping
    signal.throwIfAborted()
    const { name, command, ready } = this.#spec
    // A session of its own: Ctrl-C is for this process, which stops its servers after its services.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], { stdio: ['ignore', 'ignore', 'pipe'], detached: true })
    this.#child = child
    let tail = ''
    const serving = Promise.withResolvers<void>()
    const exit = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message))
      child.once('close', (code, by) => resolve(`${by ?? `exit code ${code}`}: ${tail.trim().slice(-500)}`))
    })
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      tail = (tail + chunk).slice(-tailLength)
      if (ready.test(tail)) serving.resolve()
    })
    void exit.then((how) =>
      serving.reject(new HeddleError('unavailable', `${name} ended (${how}) before it served: ${tail.trim()}`, { remedy: this.#remedy(tail) })),
    )
    const abort = () => serving.reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
    const late = this.#clock.after(startTimeoutMs, () =>
      serving.reject(new HeddleError('deadline-exceeded', `${name} did not serve within ${startTimeoutMs} ms: ${tail.trim()}`)),
    )
    try {
      await serving.promise
      this.#logger.info({ server: name, pid: child.pid }, 'an embedded server serves')
      return { exited: exit }
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    } finally {
      late()
      signal.removeEventListener('abort', abort)
    }
  }

  #remedy(tail: string): string {
    if (/address already in use/.test(tail)) return 'another program has its port: give it another one (embedded.natsPort, embedded.etcdPort)'
    return `is ${this.#spec.debianPackage} installed? Or use servers of your own: --nats and --etcd`
  }
}
