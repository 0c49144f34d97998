/**
 * Long-running programs of a laboratory. They die with this process (PR_SET_PDEATHSIG, prctl(2)); what they leave behind
 * on purpose (containerd's shims and their containers) is found by the mount namespace they share.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { LabScope } from './scope.ts'

export interface Program {
  readonly pid: number
  readonly logPath: string
  /** The end of what it wrote. */
  log(): string
  readonly running: boolean
  /** Resolves with its exit code, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>
  /** SIGTERM, and SIGKILL when it is still there after `graceMs`. */
  stop(graceMs?: number): Promise<void>
  kill(signal: NodeJS.Signals): Promise<void>
}

export interface ProgramOptions {
  readonly name: string
  readonly command: readonly string[]
  readonly logPath: string
  /** Path of the network namespace to start in. */
  readonly netns?: string
  readonly env?: Readonly<Record<string, string>>
  /** Polled until it answers true. */
  readonly ready?: (program: Program) => Promise<boolean> | boolean
  readonly readyTimeoutMs?: number
  /** How it is ended when the laboratory ends; default: `stop`. */
  readonly undo?: (program: Program) => Promise<void>
}

/** Registered with the scope as soon as it runs; resolves when it is ready. */
export async function startProgram(scope: LabScope, options: ProgramOptions): Promise<Program> {
  const enter = options.netns === undefined ? [] : ['nsenter', `--net=${options.netns}`]
  const [file, ...args] = [...enter, 'setpriv', '--pdeathsig', 'KILL', ...options.command] as [string, ...string[]]
  const descriptor = openSync(options.logPath, 'a')
  // A session of its own: Ctrl-C is for the laboratory, which then stops its programs in order.
  const child = spawn(file, args, { stdio: ['ignore', descriptor, descriptor], env: { ...process.env, ...options.env }, detached: true })
  closeSync(descriptor)
  const ended = new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal ?? code ?? 1))
  })
  const running = () => child.exitCode === null && child.signalCode === null && child.pid !== undefined
  const program: Program = {
    pid: child.pid ?? 0,
    logPath: options.logPath,
    log: () => readFileSync(options.logPath, 'utf8').slice(-8_192),
    get running() {
      return running()
    },
    ended,
    stop: (graceMs = 15_000) => terminate(child, 'SIGTERM', graceMs),
    kill: (signal) => terminate(child, signal, 5_000),
  }
  scope.defer(options.name, () => (options.undo === undefined ? program.stop() : options.undo(program)))
  const deadline = performance.now() + (options.readyTimeoutMs ?? 60_000)
  while (options.ready !== undefined && !(running() && (await options.ready(program)))) {
    if (!running()) throw new Error(`${options.name} ended (${await ended}) before it was ready:\n${program.log()}`)
    if (performance.now() > deadline) {
      await program.kill('SIGKILL')
      throw new Error(`${options.name} was not ready in time:\n${program.log()}`)
    }
    await delay(25)
  }
  return program
}

async function terminate(child: ChildProcess, signal: NodeJS.Signals, graceMs: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const exited = once(child, 'exit')
  child.kill(signal)
  const force = setTimeout(() => child.kill('SIGKILL'), graceMs)
  await exited
  clearTimeout(force)
}

/** Ends a program with a private mount namespace, and everything that lives in that namespace. */
export async function stopWithNamespace(program: Program): Promise<void> {
  const mounts = mountNamespaceOf(program.pid)
  await program.stop()
  if (mounts !== undefined && mounts !== mountNamespaceOf('self')) await killMountNamespace(mounts)
}

/** Inode text of a process's mount namespace, `mnt:[4026531841]`; undefined when it is gone. */
function mountNamespaceOf(pid: number | 'self'): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`)
  } catch {
    return undefined
  }
}

/** Kills every process of a private mount namespace and all their descendants (a container has mounts of its own). */
async function killMountNamespace(namespace: string): Promise<void> {
  if (namespace === mountNamespaceOf('self')) throw new Error('refusing to kill the processes of our own mount namespace')
  for (let round = 0; round < 100; round++) {
    const parents = parentsOfProcesses()
    const doomed = new Set([...parents.keys()].filter((pid) => mountNamespaceOf(pid) === namespace))
    if (doomed.size === 0) return
    for (let grown = true; grown; ) {
      grown = false
      for (const [pid, parent] of parents) {
        if (doomed.has(parent) && !doomed.has(pid)) {
          doomed.add(pid)
          grown = true
        }
      }
    }
    for (const pid of doomed) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It ended meanwhile.
      }
    }
    await delay(20)
  }
  throw new Error(`processes of the mount namespace ${namespace} could not be killed`)
}

function parentsOfProcesses(): Map<number, number> {
  const parents = new Map<number, number>()
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      // proc(5): the fields after the last ")" of the command name are state and parent.
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8')
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (state !== 'Z') parents.set(Number(entry), Number(parent))
    } catch {
      // It ended meanwhile.
    }
  }
  return parents
}
