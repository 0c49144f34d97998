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

interface Thread {
  readonly worker: Worker
  pending?: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined
  end?: NodeJS.Timeout
}

export class WriterThreads {
  /** Those that write, hang or rest. */
  readonly #threads = new Set<Thread>()
  readonly #resting: Thread[] = []
  readonly #waiting: (() => void)[] = []

  readonly write: Write = async (path, value) => {
    const thread = await this.#take()
    try {
      await new Promise<void>((resolve, reject) => {
        thread.pending = { resolve, reject }
        thread.worker.postMessage({ path, value })
      })
    } finally {
      thread.pending = undefined
      if (this.#threads.has(thread)) this.#rest(thread)
      this.#waiting.shift()?.()
    }
  }

  async #take(): Promise<Thread> {
    for (;;) {
      const rested = this.#resting.pop()
      if (rested !== undefined) {
        clearTimeout(rested.end)
        rested.worker.ref()
        return rested
      }
      if (this.#threads.size < mostThreads) return this.#start()
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  #start(): Thread {
    const worker = new Worker(source, { eval: true, name: 'sysfs', execArgv: [], resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16 } })
    const thread: Thread = { worker }
    this.#threads.add(thread)
    worker.on('message', (failure: { readonly code: string; readonly message: string } | undefined) => {
      if (failure === undefined) thread.pending?.resolve()
      else thread.pending?.reject(Object.assign(new Error(failure.message), { code: failure.code }))
    })
    const ended = (error: Error) => {
      this.#threads.delete(thread)
      thread.pending?.reject(error)
    }
    worker.on('error', ended)
    worker.on('exit', () => ended(new Error('the thread that writes to sysfs has ended')))
    return thread
  }

  #rest(thread: Thread): void {
    thread.worker.unref()
    this.#resting.push(thread)
    thread.end = setTimeout(() => {
      this.#resting.splice(this.#resting.indexOf(thread), 1)
      this.#threads.delete(thread)
      void thread.worker.terminate()
    }, idleMs).unref()
  }
}
