/**
 * A real containerd in a host's network namespace. `ctr` is a CNI runtime here: it reads /etc/cni/net.d and runs
 * /opt/cni/bin, both fixed in it, which are `confDir` and `binDir` of the laboratory by private mounts. So is its CRI,
 * where it is asked for.
 */
import { closeSync, existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type CriOptions, criConfig, shareNamespaces } from './cri-config.ts'
import { privately } from './privately.ts'
import { type Program, startProgram, stopWithNamespace } from './processes.ts'
import type { LabScope } from './scope.ts'
import { attempt, type RunOptions, type RunResult, run } from './shell.ts'

export interface ContainerdOptions {
  readonly netns: string
  /** Its files; must exist. */
  readonly dir: string
  /** CNI network configurations; the first in lexical order is taken. */
  readonly confDir: string
  /** CNI plugins. */
  readonly binDir: string
  /** Also serves the CRI. */
  readonly cri?: CriOptions
}

export interface CtrContainer {
  readonly id: string
  /** Runs a command inside the container; answers its standard output. */
  exec(command: readonly string[], options?: RunOptions): Promise<string>
  tryExec(command: readonly string[], options?: RunOptions): Promise<RunResult>
  /** Kills its process; resolves when ctr has detached it from its network (CNI DEL) and forgotten it. */
  remove(): Promise<void>
}

export interface Containerd {
  /** Another one after `restart`. */
  readonly program: Program
  readonly socket: string
  /** Answers standard output. */
  ctr(args: readonly string[], options?: RunOptions): Promise<string>
  /** `ctr run --cni`; resolves when its process runs and its network is attached (CNI ADD succeeded). */
  runWithCni(id: string, image: string, command: readonly string[]): Promise<CtrContainer>
  /** SIGKILL, and a new one in the same place; its shims and their containers go on meanwhile. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export async function startContainerd(scope: LabScope, options: ContainerdOptions): Promise<Containerd> {
  const socket = join(options.dir, 'containerd.sock')
  // With the CRI its state is where the hands can look: sandboxes are namespaces mounted below it.
  const state = options.cri === undefined ? '/run/containerd' : join(options.dir, 'state')
  for (const dir of [options.confDir, options.binDir]) mkdirSync(dir, { recursive: true })
  const shared = options.cri === undefined ? undefined : await shareNamespaces(scope, state, options.binDir)
  const config = join(options.dir, 'config.toml')
  writeFileSync(
    config,
    `version = 2
root = ${JSON.stringify(join(options.dir, 'root'))}
state = ${JSON.stringify(state)}
${options.cri === undefined ? 'disabled_plugins = ["io.containerd.grpc.v1.cri"]' : ''}
[grpc]
  address = ${JSON.stringify(socket)}
[ttrpc]
  address = ${JSON.stringify(`${socket}.ttrpc`)}
[plugins."io.containerd.internal.v1.opt"]
  path = ${JSON.stringify(join(options.dir, 'opt'))}
${options.cri === undefined ? '' : criConfig(options.cri)}`,
  )
  const start = (inMounts: readonly string[]) =>
    startProgram(scope, {
      name: 'containerd',
      undo: stopWithNamespace,
      netns: options.netns,
      command: [...inMounts, 'containerd', '--config', config],
      logPath: join(options.dir, 'containerd.log'),
      ready: async () => existsSync(socket) && (await attempt(['ctr', '--address', socket, 'version'])).code === 0,
    })
  const binds = { '/etc/cni/net.d': options.confDir, '/opt/cni/bin': options.binDir }
  let program = await start(privately({ binds, ...(shared === undefined ? {} : { shared }) }, []))

  const inside = (args: readonly string[]) => ['nsenter', '--target', String(program.pid), '--mount', '--net', 'ctr', '--address', socket, ...args]
  const ctr = (args: readonly string[], more?: RunOptions) => run(inside(args), more)

  let execs = 0
  return {
    get program() {
      return program
    },
    socket,
    ctr,
    async restart() {
      // Held open: its mounts would go with the last process in them.
      const mounts = openSync(`/proc/${program.pid}/ns/mnt`, 'r')
      try {
        await program.kill('SIGKILL')
        program = await start(['nsenter', `--mount=/proc/${process.pid}/fd/${mounts}`])
      } finally {
        closeSync(mounts)
      }
    },
    stop: () => stopWithNamespace(program),
    async runWithCni(id, image, command) {
      // In the foreground: a detached `ctr run` never calls CNI DEL. Its snapshotter is chosen by ctr.
      const runner = await startProgram(scope, {
        name: `ctr run ${id}`,
        command: inside(['run', '--rm', '--cni', image, id, ...command]),
        logPath: join(options.dir, `ctr-${id}.log`),
      })
      // ctr starts the task after the network is attached, so a process that runs is a process with a network.
      while (runner.running && !(await statusOf(ctr, id)).includes('RUNNING')) await delay(15)
      if (!runner.running) throw new Error(`ctr run ${id} ended (${await runner.ended}): ${runner.log().trim()}`)
      const exec = (inner: readonly string[]) => inside(['task', 'exec', '--exec-id', `x${++execs}`, id, ...inner])
      return {
        id,
        exec: (inner, more) => run(exec(inner), more),
        tryExec: (inner, more) => attempt(exec(inner), more),
        async remove() {
          await ctr(['task', 'kill', '--signal', 'SIGKILL', id])
          await runner.ended
          if (/level=(error|fatal)|^ctr: /m.test(runner.log())) throw new Error(`ctr run ${id}: ${runner.log().trim()}`)
        },
      }
    },
  }
}

async function statusOf(ctr: (args: readonly string[]) => Promise<string>, id: string): Promise<string> {
  const tasks = await ctr(['task', 'ls'])
  return tasks.split('\n').find((line) => line.split(/\s+/)[0] === id) ?? ''
}
