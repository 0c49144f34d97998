/** Commands of the machine's own tools, for laboratories only: output as text, failures with what the tool said. */
import { spawn } from 'node:child_process'

export interface RunOptions {
  /** SIGKILL after this long. Default 60 s. */
  readonly timeoutMs?: number
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
}

export interface RunResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a command to its end whatever its exit code; rejects only when it cannot be started or is cut off. In a session of
 * its own: Ctrl-C is for the laboratory, and must not end the command that cleans up.
 */
export function attempt(command: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const [file, ...args] = command as [string, ...string[]]
  const { timeoutMs = 60_000, input = '' } = options
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { detached: true, stdio: 'pipe', env: { ...process.env, ...options.env } })
    const output = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (chunk: string) => {
        output[name] += chunk
      })
    }
    const fail = (why: string, cause?: unknown) => reject(new Error(`${command.join(' ')}: ${why}\n${output.stdout}${output.stderr}`, { cause }))
    const limit = setTimeout(() => {
      fail(`cut off after ${timeoutMs} ms`)
      killGroup(child.pid)
      // What left the group may hold the output open.
      for (const stream of [child.stdout, child.stderr]) stream.destroy()
    }, timeoutMs)
    child.once('error', (error) => {
      clearTimeout(limit)
      fail(error.message, error)
    })
    child.once('close', (code, signal) => {
      clearTimeout(limit)
      if (code === null) fail(`ended by ${signal}`)
      else resolve({ code, ...output })
    })
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}

function killGroup(leader: number | undefined): void {
  try {
    if (leader !== undefined) process.kill(-leader, 'SIGKILL')
  } catch {
    // It ended meanwhile.
  }
}

/** Runs a command and answers its standard output; rejects with both outputs when its exit code is not 0. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await attempt(command, options)
  if (code !== 0) throw new Error(`${command.join(' ')}: exit code ${code}\n${stdout}${stderr}`.trimEnd())
  return stdout
}
