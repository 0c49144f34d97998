/**
 * A real dockerd in a host's network namespace, with data, sockets and /run of its own. It finds network plugins where
 * it always does, in /run/docker/plugins, which is `pluginDir` of the laboratory.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { privately } from './privately.ts'
import { type Program, startProgram, stopWithNamespace } from './processes.ts'
import type { LabScope } from './scope.ts'
import { attempt, type RunOptions, type RunResult, run } from './shell.ts'

export interface DockerdOptions {
  readonly netns: string
  /** Its files; must exist. */
  readonly dir: string
  /** Appears to it as /run/docker/plugins. */
  readonly pluginDir: string
  /** Further arguments of dockerd, e.g. for swarm mode. */
  readonly args?: readonly string[]
}

export interface Dockerd {
  /** The one that runs now. */
  readonly program: Program
  readonly socket: string
  readonly version: string
  readonly storageDriver: string
  /** The client of the daemon's package, spoken to in this daemon's API version; answers standard output. */
  docker(args: readonly string[], options?: RunOptions): Promise<string>
  /** The same, with the exit code as a result. */
  tryDocker(args: readonly string[], options?: RunOptions): Promise<RunResult>
  /** One request of the Engine API, e.g. `api('POST', '/networks/blue/connect', {...})`; rejects unless the status is 2xx. */
  api(method: string, path: string, body?: unknown): Promise<any>
  /** SIGKILL for the daemon alone, and for its containerd; containers run on. */
  kill(): Promise<void>
  /** Ends it unless it has ended, and starts it again on the same data, among the same mounts, where its containers are. */
  restart(args?: readonly string[]): Promise<void>
  /** SIGKILL for it and every process of its containers at once, as when the power fails. */
  halt(): Promise<void>
  /** Ends it and every process of its containers. */
  stop(): Promise<void>
}

/** A newer one that comes first in PATH would refuse what this daemon takes, as `--mac-address` of a network of the user's. */
const client = existsSync('/usr/bin/docker') ? '/usr/bin/docker' : 'docker'

export async function startDockerd(scope: LabScope, options: DockerdOptions): Promise<Dockerd> {
  const socket = join(options.dir, 'docker.sock')
  mkdirSync(options.pluginDir, { recursive: true })
  mkdirSync(join(options.dir, 'client'), { recursive: true })
  let failure: unknown
  // overlay2 is quick but refuses some file systems (an overlay itself); vfs copies and works on all.
  for (const storageDriver of ['overlay2', 'vfs']) {
    try {
      return await start(scope, options, socket, storageDriver)
    } catch (error) {
      failure = error
    }
  }
  throw failure
}

async function start(scope: LabScope, options: DockerdOptions, socket: string, storageDriver: string): Promise<Dockerd> {
  const config = join(options.dir, 'daemon.json')
  writeFileSync(config, '{}')
  const command = [
    'dockerd',
    ...['--config-file', config, '--host', `unix://${socket}`, '--data-root', join(options.dir, `data-${storageDriver}`)],
    ...['--exec-root', '/run/docker', '--pidfile', '/run/docker.pid', '--storage-driver', storageDriver],
    // No network of its own beyond what is asked for; cgroups without systemd, whose socket its /run does not have.
    ...['--bridge', 'none', '--exec-opt', 'native.cgroupdriver=cgroupfs', '--shutdown-timeout', '2'],
  ]
  // What holds the mounts together while no daemon runs.
  const mounts = await startProgram(scope, {
    name: 'mounts of dockerd',
    command: privately({ binds: { '/run/docker/plugins': options.pluginDir } }, ['sleep', 'infinity']),
    logPath: join(options.dir, 'dockerd.log'),
    ready: ({ pid }) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'sleep',
    undo: stopWithNamespace,
  })
  const stop = async (running: Program) => {
    // A process 1 that ignores SIGTERM would hold each container, and so dockerd, for ten seconds.
    for (const container of await request(socket, 'GET', '/containers/json').catch(() => [])) {
      await request(socket, 'POST', `/containers/${container.Id}/kill`).catch(() => {})
    }
    await running.stop()
    await stopWithNamespace(mounts)
  }
  const begin = (args: readonly string[]) => {
    // The answer of the daemon before it would be taken for this one's.
    rmSync(socket, { force: true })
    return startProgram(scope, {
      name: 'dockerd',
      netns: options.netns,
      command: ['nsenter', `--mount=/proc/${mounts.pid}/ns/mnt`, ...command, ...args],
      logPath: join(options.dir, 'dockerd.log'),
      ready: async () => existsSync(socket) && (await request(socket, 'GET', '/_ping').catch(() => undefined)) !== undefined,
      undo: stop,
    })
  }
  let program = await begin(options.args ?? [])
  const version = await request(socket, 'GET', '/version')
  const env = { DOCKER_HOST: `unix://${socket}`, DOCKER_API_VERSION: version.ApiVersion, DOCKER_CONFIG: join(options.dir, 'client') }
  return {
    get program() {
      return program
    },
    socket,
    version: version.Version,
    storageDriver,
    docker: (args, more) => run([client, ...args], { ...more, env: { ...env, ...more?.env } }),
    tryDocker: (args, more) => attempt([client, ...args], { ...more, env: { ...env, ...more?.env } }),
    api: (method, path, body) => request(socket, method, `/v${version.ApiVersion}${path}`, body),
    async kill() {
      await program.kill('SIGKILL')
      await forgetContainerd(`/proc/${mounts.pid}/root/run/docker/containerd/containerd.pid`)
    },
    async restart(args) {
      await program.stop()
      program = await begin(args ?? options.args ?? [])
    },
    async halt() {
      await program.kill('SIGKILL')
      await stopWithNamespace(mounts)
    },
    stop: () => stop(program),
  }
}

/** It ends with its dockerd (PR_SET_PDEATHSIG). Until somebody reaps it the next dockerd would take it for alive, and wait for it in vain. */
async function forgetContainerd(pidFile: string): Promise<void> {
  if (!existsSync(pidFile)) return
  const stat = `/proc/${readFileSync(pidFile, 'utf8').trim()}/stat`
  while (existsSync(stat) && !/\) Z /.test(readFileSync(stat, 'utf8'))) await delay(10)
  rmSync(pidFile)
}

function request(socketPath: string, method: string, path: string, body?: unknown): Promise<any> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(
      { socketPath, method, path, headers: body === undefined ? {} : { 'content-type': 'application/json' }, timeout: 120_000 },
      (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          text += chunk
        })
        response.on('end', () => {
          const status = response.statusCode ?? 0
          if (status < 200 || status > 299) return reject(new Error(`${method} ${path}: ${status} ${text.trim()}`))
          const json = response.headers['content-type']?.startsWith('application/json') === true && text !== ''
          resolve(json ? JSON.parse(text) : text)
        })
        response.on('error', reject)
      },
    )
    sent.on('timeout', () => sent.destroy(new Error(`${method} ${path}: no answer`)))
    sent.on('error', reject)
    sent.end(body === undefined ? undefined : JSON.stringify(body))
  })
}
