/**
 * Ends a test run that hangs. AVA's own idle timeout is for good disarmed when it fires during a longer `t.timeout()`
 * (8.0.1, lib/api.js, TimeoutTrigger), and a test process that never exits then holds the run for ever.
 */
import { readdirSync, readFileSync } from 'node:fs'

export interface Watchdog {
  /** Something came. */
  heard(): void
  stop(): void
}

export interface WatchdogOptions {
  /** AVA's process: its children are the test files that have not ended. */
  readonly pid: number
  /** So long without a sound, and the test files are ended; AVA names them and goes on. So long again, and AVA is ended. */
  readonly quietMs: number
  readonly say: (text: string) => void
}

export function startWatchdog({ pid, quietMs, say }: WatchdogOptions): Watchdog {
  let bitten = false
  const timer = setTimeout(() => {
    const files = childrenOf(pid)
    const everybody = files.flatMap((file) => withDescendants(file))
    say(`nothing was heard for ${Math.round(quietMs / 1000)} s; ending what still runs:`)
    for (const one of everybody) say(`  ${one} ${commandOf(one)}`)
    // AVA's report of a test file that was killed says which it was.
    for (const one of bitten || files.length === 0 ? [pid, ...everybody] : everybody) kill(one)
    bitten = true
    timer.refresh()
  }, quietMs)
  return {
    heard() {
      bitten = false
      timer.refresh()
    },
    stop: () => clearTimeout(timer),
  }
}

function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number))
  } catch {
    // It has ended.
    return []
  }
}

function withDescendants(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap((child) => withDescendants(child))]
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim().slice(0, 160)
  } catch {
    return '(ended)'
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}
