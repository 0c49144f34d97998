/** A Heddle process of a laboratory's host, and its command line as a user of that host has it. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Program, startProgram } from './processes.ts'
import type { LabScope } from './scope.ts'
import { attempt, type RunResult, run } from './shell.ts'

export interface HeddleOptions {
  /** Name of the host in the cluster. */
  readonly host: string
  /** Path of the network namespace that is the host; default: this process's. */
  readonly netns?: string
  /** Its files; made when missing. */
  readonly dir: string
  /** As `heddle up --services`; default all. */
  readonly services?: readonly string[]
  /** Servers of another process; default: embedded ones. */
  readonly nats?: readonly string[]
  readonly etcd?: readonly string[]
  /** The configuration file's further content, e.g. `{ gateway: { ... } }`. */
  readonly config?: Readonly<Record<string, unknown>>
}

export interface HeddleProcess {
  readonly host: string
  readonly program: Program
  readonly runDir: string
  /** Its TMPDIR: what it leaves there is seen, and goes with `dir`. */
  readonly tmpDir: string
  /** Where Docker's plugin socket is made. */
  readonly pluginDir: string
  readonly cniSocket: string
  /** As it said when it was ready. */
  readonly nats: readonly string[]
  readonly etcd: readonly string[]
  /** Resident memory in bytes (VmRSS, proc(5)). */
  residentBytes(): number
  /** `heddle <args>` against this process's gateway; answers standard output. */
  cli(args: readonly string[]): Promise<string>
  tryCli(args: readonly string[]): Promise<RunResult>
  /** The same with `--json`, parsed. */
  json(args: readonly string[]): Promise<any>
  stop(): Promise<void>
  kill(): Promise<void>
}

const repository = resolve(import.meta.dirname, '../../../..')

/** The bundle where one was made (LAB_BUNDLE=1), else the sources; run as its own first line says, by this Node. */
export function heddleCommand(): readonly string[] {
  const entry = join(repository, process.env['LAB_BUNDLE'] === '1' ? 'dist/heddle.js' : 'services/heddle/src/cli/main.ts')
  const words = /^#!\/usr\/bin\/env -S (.+)$/m.exec(readFileSync(entry, 'utf8'))?.[1]?.split(' ') ?? ['node']
  return ['env', ...words.map((word) => (word === 'node' ? process.execPath : word)), entry]
}

export async function startHeddle(scope: LabScope, options: HeddleOptions): Promise<HeddleProcess> {
  const runDir = join(options.dir, 'run')
  const pluginDir = join(options.dir, 'plugins')
  const tmpDir = join(options.dir, 'tmp')
  for (const path of [runDir, pluginDir, tmpDir]) mkdirSync(path, { recursive: true })
  const configFile = join(options.dir, 'heddle.json')
  const { gateway, ...further } = (options.config ?? {}) as { gateway?: { docker?: object } }
  writeFileSync(
    configFile,
    JSON.stringify({
      host: options.host,
      runDir,
      dataDir: join(options.dir, 'data'),
      services: options.services ?? ['all'],
      nats: { servers: options.nats ?? [] },
      etcd: { endpoints: options.etcd ?? [] },
      ...further,
      // Of Docker, no more is asked than a test says: the machine's own is none of its business.
      gateway: { dockerPluginDir: pluginDir, ...gateway, docker: { socket: '', ...gateway?.docker } },
    }),
  )
  scope.defer(`mounts of ${options.host}`, () => unmountBelow(options.dir))
  const logPath = join(options.dir, 'heddle.log')
  // A restart in the same directory: the ready line of the run before is not this one's.
  if (existsSync(logPath)) renameSync(logPath, join(options.dir, `heddle.${Date.now()}.log`))
  const program = await startProgram(scope, {
    name: `heddle of ${options.host}`,
    ...(options.netns === undefined ? {} : { netns: options.netns }),
    command: [...heddleCommand(), 'up', '--config', configFile],
    logPath,
    env: { HEDDLE_CONFIG: '', TMPDIR: tmpDir },
    ready: () => existsSync(logPath) && readyLine(logPath) !== undefined,
  })
  const ready = readyLine(logPath) ?? ''
  const urls = (name: string) => new RegExp(`\\b${name}=(\\S+)`).exec(ready)?.[1]?.split(',') ?? []
  const command = (args: readonly string[]) => [...heddleCommand(), '--socket', join(runDir, 'heddle.sock'), ...args]
  return {
    host: options.host,
    program,
    runDir,
    tmpDir,
    pluginDir,
    cniSocket: join(runDir, 'cni.sock'),
    nats: urls('nats'),
    etcd: urls('etcd'),
    residentBytes: () => Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${program.pid}/status`, 'utf8'))?.[1] ?? 0) * 1024,
    cli: (args) => run(command(args)),
    tryCli: (args) => attempt(command(args)),
    json: async (args) => JSON.parse(await run(command(['--json', ...args]))),
    stop: () => program.stop(),
    kill: () => program.kill('SIGKILL'),
  }
}

function readyLine(logPath: string): string | undefined {
  return /^heddle is ready .*$/m.exec(readFileSync(logPath, 'utf8'))?.[0]
}

/** The fabric namespace is a bind mount that outlives the process, as the containers' links do. */
export async function unmountBelow(dir: string): Promise<void> {
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${dir}/`))
  for (const path of mounts.reverse()) await run(['umount', '--lazy', path])
}
