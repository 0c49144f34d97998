/** Commands of the machine's own tools, for laboratories only: output as text, failures with what the tool said. */
import { execFile } from 'node:child_process'

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

/** Runs a command to its end whatever its exit code; rejects only when it cannot be started or is cut off. */
export function attempt(command: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const [file, ...args] = command as [string, ...string[]]
  return new Promise((resolve, reject) => {
    const child = execFile(
      file,
      args,
      { timeout: options.timeoutMs ?? 60_000, killSignal: 'SIGKILL', maxBuffer: 64 << 20, env: { ...process.env, ...options.env } },
      (error, stdout, stderr) => {
        if (error === null) resolve({ code: 0, stdout, stderr })
        else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr })
        else
          reject(
            new Error(`${command.join(' ')}: ${error.killed ? `cut off after ${options.timeoutMs ?? 60_000} ms` : error.message}\n${stdout}${stderr}`, {
              cause: error,
            }),
          )
      },
    )
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.input ?? '')
  })
}

/** Runs a command and answers its standard output; rejects with both outputs when its exit code is not 0. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await attempt(command, options)
  if (code !== 0) throw new Error(`${command.join(' ')}: exit code ${code}\n${stdout}${stderr}`.trimEnd())
  return stdout
}
