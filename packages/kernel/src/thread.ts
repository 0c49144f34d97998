/** The main thread's end of the netlink thread: requests and answers, notifications, and a new thread when it has died. */
import { close, closeSync, writeSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { HeddleError } from '@heddle/core'
import type { Command, Notice, Reply, Request, WatchNotice, WorkerSettings } from './protocol.ts'

/** Slots for descriptors open on the thread. */
const descriptorSlots = 255
const oneEvent = new Uint8Array(new BigUint64Array([1n]).buffer)
const closeGraceMs = 2000
/** A thread that lives as long as this counts as well; one that does not, twice in a row, is started again after a pause. */
const settledMs = 10_000
const firstPauseMs = 100
const maxPauseMs = 5000

export interface ThreadOptions {
  readonly own: string | undefined
  readonly residents: readonly string[]
  readonly workerUrl: URL
  readonly onNotice: (notice: WatchNotice) => void
  /** A new thread runs: what the old one watched must be asked for again. */
  readonly onRestart: (reason: Error) => void
}

interface Pending {
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: Error) => void
}

export class NetlinkThread {
  readonly #options: ThreadOptions
  readonly #pending = new Map<number, Pending>()
  readonly #onExit = () => this.#stopNow()
  /** Undefined after a thread died before it was ready: the next request tries again. */
  #running: Running | undefined
  /** Threads that died young since one that did not. */
  #deaths = 0
  #pause: NodeJS.Timeout | undefined
  #nextId = 1
  #closed = false

  constructor(options: ThreadOptions) {
    this.#options = options
    this.#running = this.#start()
    // A thread asleep in poll(2) would keep the process from ending.
    process.once('exit', this.#onExit)
  }

  /** The thread's own name for itself; for tests that end it. */
  get worker(): Worker | undefined {
    return this.#running?.worker
  }

  send(request: Request, expiresAtMs: number): Promise<Reply> {
    if (this.#closed) return Promise.reject(new HeddleError('unavailable', 'the kernel connection is closed'))
    if (this.#pause !== undefined) {
      return Promise.reject(
        new HeddleError('unavailable', 'the netlink thread has ended several times and is started again in a moment', { remedy: 'try again' }),
      )
    }
    const id = this.#nextId++
    this.#running ??= this.#start()
    const running = this.#running
    return new Promise((resolve, reject) => {
      if (this.#pending.size === 0) running.worker.ref()
      this.#pending.set(id, { resolve, reject })
      running.post({ id, expiresAtMs, request })
    })
  }

  /** Waits for deletions under way, then ends the thread. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#pause)
    process.removeListener('exit', this.#onExit)
    const running = this.#running
    if (running === undefined) return
    running.worker.ref()
    const ended = new Promise<void>((resolve) => running.worker.once('exit', () => resolve()))
    running.post({ id: 0, expiresAtMs: Number.POSITIVE_INFINITY, request: { kind: 'quit' } })
    const timer = setTimeout(() => this.#stopNow(), closeGraceMs)
    await ended
    clearTimeout(timer)
  }

  #stopNow(): void {
    if (this.#running === undefined) return
    this.#running.settings.control[0] = 1
    this.#running.wake()
  }

  #start(): Running {
    const running = new Running(this.#options)
    let crash: Error | undefined
    running.worker.on('message', (message: Reply | Notice) => {
      if ('id' in message) this.#answer(message)
      else if ('eventFd' in message) running.ready(message.eventFd)
      else if ('closeFd' in message) close(message.closeFd)
      else this.#options.onNotice(message)
    })
    running.worker.on('error', (error: Error) => {
      crash = error
    })
    running.worker.on('exit', (code) => this.#ended(running, crash ?? new Error(`exit code ${code}`)))
    return running
  }

  #answer(reply: Reply): void {
    const pending = this.#pending.get(reply.id)
    this.#pending.delete(reply.id)
    if (this.#pending.size === 0 && !this.#closed) this.#running?.worker.unref()
    pending?.resolve(reply)
  }

  #ended(running: Running, reason: Error): void {
    const wasReady = running.isReady
    running.closeDescriptors()
    const failed = [...this.#pending.values()]
    this.#pending.clear()
    this.#running = undefined
    const error = new HeddleError('unavailable', `the netlink thread ended: ${reason.message}`, {
      remedy: 'try again: a new one is started; what was under way may or may not be done',
      cause: reason,
    })
    for (const pending of failed) pending.reject(error)
    if (!wasReady || this.#closed) return
    this.#deaths = performance.now() - running.startedMs < settledMs ? this.#deaths + 1 : 0
    if (this.#deaths < 2) this.#restart(reason)
    else this.#pause = setTimeout(() => this.#restart(reason), Math.min(maxPauseMs, firstPauseMs * 2 ** (this.#deaths - 2))).unref()
  }

  #restart(reason: Error): void {
    this.#pause = undefined
    this.#running = this.#start()
    this.#options.onRestart(reason)
  }
}

/** One worker with its wake-up. */
class Running {
  readonly worker: Worker
  readonly settings: WorkerSettings
  readonly startedMs = performance.now()
  #eventFd = -1
  #outbox: Command[] = []

  constructor(options: ThreadOptions) {
    this.settings = {
      own: options.own,
      residents: options.residents,
      control: new Int32Array(new SharedArrayBuffer(4 * (descriptorSlots + 1))),
    }
    this.worker = new Worker(options.workerUrl, {
      name: 'netlink',
      workerData: this.settings,
      execArgv: [],
      // A small young generation keeps the thread near the 9 MiB that any thread costs.
      resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 128, stackSizeMb: 1, codeRangeSizeMb: 4 },
    })
    this.worker.unref()
  }

  get isReady(): boolean {
    return this.#eventFd >= 0
  }

  ready(eventFd: number): void {
    this.#eventFd = eventFd
    // For what was posted before the descriptor was known.
    this.wake()
  }

  /** After the current turn's callbacks, so that what is asked in one turn costs one message and wakes the thread once. */
  post(command: Command): void {
    if (this.#outbox.push(command) > 1) return
    setImmediate(() => {
      this.worker.postMessage(this.#outbox)
      this.#outbox = []
      this.wake()
    })
  }

  wake(): void {
    if (this.#eventFd >= 0) writeSync(this.#eventFd, oneEvent)
  }

  closeDescriptors(): void {
    this.#eventFd = -1
    for (const fd of this.settings.control.subarray(1)) {
      if (fd === 0) continue
      try {
        closeSync(fd)
      } catch {
        // Closed already.
      }
    }
  }
}
