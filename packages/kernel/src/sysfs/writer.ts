/**
 * Writes that may take seconds, or never end: each on a thread of its own. libuv's pool has four threads that all of the process
 * shares (files, DNS), and a driver asked for VFs keeps one for as long as it likes. Threads are made when there is something to
 * write and end soon after, so that a host where nothing is written pays nothing.
 */
import { Worker } from 'node:worker_threads'

/** A thread that hangs counts too; what comes then waits, as long as its call has time. */
const mostThreads = 8
const idleMs = 5000

/** Evaluated, so that a bundle needs no entry for six lines. The file must be there: nothing is created. */
const source = `
const { closeSync, constants, openSync, writeSync } = require('node:fs')
const { parentPort } = require('node:worker_threads')
parentPort.on('message', ({ path, value }) => {
  try {
    const fd = openSync(path, constants.O_WRONLY | constants.O_TRUNC)
    try { writeSync(fd, value) } finally { closeSync(fd) }
    parentPort.postMessage(undefined)
  } catch (error) {
    parentPort.postMessage({ code: error.code, message: error.message })
  }
})`

/** Rejects with an error that has `code`, the name of the errno. */
export type Write = (path: string, value: string) => Promise<void>

interface Rested {
  readonly worker: Worker
  readonly end: NodeJS.Timeout
}

export class WriterThreads {
  #threads = 0
  readonly #idle: Rested[] = []
  readonly #waiting: (() => void)[] = []

  readonly write: Write = async (path, value) => {
    const worker = await this.#take()
    let kept = false
    try {
      await new Promise<void>((resolve, reject) => {
        worker.once('message', (failure: { code: string; message: string } | undefined) => {
          kept = true
          if (failure === undefined) resolve()
          else reject(Object.assign(new Error(failure.message), { code: failure.code }))
        })
        worker.once('error', reject)
        worker.once('exit', () => reject(new Error('the thread that writes to sysfs has ended')))
        worker.postMessage({ path, value })
      })
    } finally {
      worker.removeAllListeners()
      if (kept) this.#rest(worker)
      else this.#threads--
      this.#waiting.shift()?.()
    }
  }

  async #take(): Promise<Worker> {
    for (;;) {
      const rested = this.#idle.pop()
      if (rested !== undefined) {
        clearTimeout(rested.end)
        rested.worker.ref()
        return rested.worker
      }
      if (this.#threads < mostThreads) {
        this.#threads++
        return new Worker(source, { eval: true, name: 'sysfs', execArgv: [], resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16 } })
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  #rest(worker: Worker): void {
    worker.unref()
    const rested: Rested = { worker, end: setTimeout(() => this.#end(rested), idleMs).unref() }
    this.#idle.push(rested)
  }

  #end(rested: Rested): void {
    this.#idle.splice(this.#idle.indexOf(rested), 1)
    this.#threads--
    void rested.worker.terminate()
  }
}
