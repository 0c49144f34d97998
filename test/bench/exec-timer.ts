/** Builds and drives exec-timer.c: plugins timed as whole processes, as a container runtime sees them. */
import { execFileSync, spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

export interface Job {
  readonly id: string
  readonly executable: string
  /** File that becomes its standard input. */
  readonly stdin: string
  readonly env: Readonly<Record<string, string>>
}

export interface Timing {
  readonly perJobMs: readonly number[]
  readonly totalMs: number
}

export type ExecTimer = (jobs: readonly Job[], parallel: number) => Promise<Timing>

/** `netns`: path of the network namespace the plugins are started in. Rejects when a plugin fails. */
export function buildExecTimer(dir: string, netns: string): ExecTimer {
  const binary = join(dir, 'exec-timer')
  execFileSync('gcc', ['-O2', '-o', binary, join(import.meta.dirname, 'exec-timer.c')])
  return async (jobs, parallel) => {
    const child = spawn('nsenter', [`--net=${netns}`, binary, String(parallel)], { stdio: ['pipe', 'pipe', 'inherit'] })
    child.stdin.end(jobs.map((job) => [job.id, job.executable, job.stdin, ...Object.entries(job.env).map((pair) => pair.join('='))].join('\t')).join('\n'))
    const lines = (await text(child.stdout))
      .trim()
      .split('\n')
      .map((line) => line.split('\t'))
    const failed = lines.filter(([, code]) => code !== '0')
    if (failed.length > 0 || lines.length !== jobs.length + 1)
      throw new Error(`${failed.length} of ${jobs.length} plugin calls failed, the first: ${failed[0]?.join(' ') ?? 'none answered'}`)
    const microseconds = lines.map(([, , value]) => Number(value))
    return { perJobMs: microseconds.slice(0, -1).map((value) => value / 1000), totalMs: (microseconds.at(-1) ?? 0) / 1000 }
  }
}
