/**
 * A server process of a test: started on a random free port with a directory of its own, stopped, killed and restarted on
 * the same port and data. It dies with the test process (PR_SET_PDEATHSIG, prctl(2)), however that ends.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Writable } from 'node:stream'

export interface ServerOptions {
  /** Address to listen on; 127.0.0.1 when absent. */
  readonly address?: string
  /** Path of the network namespace to run in (`/run/netns/x`, `/proc/<pid>/ns/net`). */
  readonly netns?: string
  /** A fixed port instead of a random free one. */
  readonly port?: number
  /** Further arguments, after ours. */
  readonly args?: readonly string[]
}

export interface ServerHandle {
  readonly port: number
  /** `nats://address:port` or `http://address:port`. */
  readonly url: string
  /** Of the running process; of the last one when none runs. */
  readonly pid: number
  readonly dataDir: string
  /** The end of what it logged. */
  log(): string
  /** Ends it gracefully and removes its data. */
  stop(): Promise<void>
  /** SIGKILL; the data stay. Resolves when the process is gone. */
  kill(): Promise<void>
  /** Kills it if it runs and starts it again on the same port and data. Resolves when it is ready. */
  restart(): Promise<void>
}

export interface DaemonSpec {
  readonly name: string
  readonly scheme: 'nats' | 'http'
  readonly command: (port: number, address: string, dataDir: string) => readonly string[]
  /** Logged when it serves. */
  readonly ready: RegExp
}

const collision = /address already in use/
const startTimeoutMs = 30_000

export async function startDaemon(spec: DaemonSpec, options: ServerOptions): Promise<ServerHandle> {
  const address = options.address ?? '127.0.0.1'
  for (let attempt = 1; ; attempt++) {
    const dataDir = mkdtempSync(join(tmpdir(), `heddle-${spec.name}-`))
    const janitor = removeAfterUs(dataDir)
    const discard = () => {
      rmSync(dataDir, { recursive: true, force: true })
      janitor.end()
    }
    const port = options.port ?? randomPort()
    const launch = () => startProcess(spec, [...spec.command(port, address, dataDir), ...(options.args ?? [])], options.netns)
    try {
      let running = await launch()
      const kill = () => terminate(running.child, 'SIGKILL')
      return {
        port,
        url: `${spec.scheme}://${address.includes(':') ? `[${address}]` : address}:${port}`,
        dataDir,
        get pid() {
          return running.child.pid ?? 0
        },
        log: () => running.log(),
        kill,
        async restart() {
          await kill()
          running = await launch()
        },
        async stop() {
          await terminate(running.child, 'SIGTERM')
          discard()
        },
      }
    } catch (error) {
      discard()
      if (options.port !== undefined || attempt >= 10 || !collision.test(String(error))) throw error
    }
  }
}

/** Removes a directory when this process has ended, in whatever way: a shell waits for its end of a pipe to close. */
function removeAfterUs(directory: string): Writable {
  const script = `trap '' INT TERM HUP; read -r _; sleep 0.3; rm -rf "$0"`
  const shell = spawn('sh', ['-c', script, directory], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  shell.unref()
  ;(shell.stdin as unknown as { unref(): void }).unref()
  return shell.stdin
}

/** Below the kernel's ephemeral ports (ip_local_port_range), so that no outgoing connection takes it while the server is down. */
export function randomPort(): number {
  return 12_000 + Math.floor(Math.random() * 20_000)
}

async function startProcess(spec: DaemonSpec, command: readonly string[], netns: string | undefined) {
  const enter = netns === undefined ? [] : ['nsenter', `--net=${netns}`]
  const [file, ...args] = [...enter, 'setpriv', '--pdeathsig', 'KILL', ...command] as [string, ...string[]]
  const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let tail = ''
  const ready = Promise.withResolvers<void>()
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    tail = (tail + chunk).slice(-16_384)
    if (spec.ready.test(tail)) ready.resolve()
  })
  child.once('error', ready.reject)
  child.once('close', (code, signal) => ready.reject(new Error(`${spec.name} ended (${signal ?? code}) before it was ready: ${tail}`)))
  const timer = setTimeout(() => ready.reject(new Error(`${spec.name} was not ready within ${startTimeoutMs} ms: ${tail}`)), startTimeoutMs)
  try {
    await ready.promise
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  } finally {
    clearTimeout(timer)
  }
  // A test file ends when its tests have, whether or not it stopped its servers.
  child.unref()
  ;(child.stderr as unknown as { unref(): void }).unref()
  return { child, log: () => tail }
}

async function terminate(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.ref()
  child.kill(signal)
  const force = setTimeout(() => child.kill('SIGKILL'), 5_000)
  await exited
  clearTimeout(force)
}
