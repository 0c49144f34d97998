/** Hears the launcher on `cni.sock`: one request a connection. A caller that hangs up cancels its call, which undoes itself. */
import { createServer, type Server, type Socket } from 'node:net'
import { HeddleError } from '@heddle/core'
import { CallsUnderWay, listenUnix, pluginCall, traceRefusal } from '../door.ts'
import type { FlowParts } from '../flows/parts.ts'
import { type CniConfig, parseConfig, versionIn } from './config.ts'
import { type CniEnvironment, parseEnvironment, traceHeadersOf } from './environment.ts'
import { type CniAnswer, failureAnswer } from './failure.ts'
import { type CniRequest, encodeAnswer, FrameReader } from './frame.ts'
import { status } from './status.ts'
import { add, check, del, endpointIdOf, gc } from './verbs.ts'
import { checkVersion, cniVersions, commandSince, isAtLeast, newestVersion } from './versions.ts'

export interface CniServerOptions {
  readonly path: string
  readonly timeoutMs: number
  /** The meta-plugins' own: see device-info.ts. */
  readonly deviceInfoDir: string
}

const idleTimeoutMs = 30_000

export class CniServer {
  readonly #parts: FlowParts
  readonly #options: CniServerOptions
  readonly #server: Server
  readonly #open = new Set<Socket>()
  readonly #calls = new CallsUnderWay()

  constructor(parts: FlowParts, options: CniServerOptions) {
    this.#parts = parts
    this.#options = options
    this.#server = createServer((socket) => this.#serve(socket))
  }

  async start(): Promise<void> {
    await listenUnix(this.#server, this.#options.path)
  }

  /** Hears nobody new, and waits until those under way are answered, the slow ones with a failure, or the signal aborts. */
  async stop(signal: AbortSignal): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    const stopDraining = this.#calls.drain(this.#parts.clock)
    const cut = () => {
      for (const socket of this.#open) socket.destroy()
    }
    if (signal.aborted) cut()
    signal.addEventListener('abort', cut, { once: true })
    await closed
    stopDraining()
    signal.removeEventListener('abort', cut)
  }

  #serve(socket: Socket): void {
    const reader = new FrameReader()
    const gone = this.#calls.begin()
    let asked = false
    this.#open.add(socket)
    // A launcher sends everything at once; whoever does not is no launcher.
    socket.setTimeout(idleTimeoutMs, () => !asked && socket.destroy())
    gone.signal.addEventListener('abort', () => !asked && socket.destroy(), { once: true })
    socket.on('error', () => {})
    socket.once('close', () => {
      this.#open.delete(socket)
      this.#calls.end(gone)
      if (!socket.writableEnded) gone.abort(new HeddleError('cancelled', 'the CNI runtime ended its call'))
    })
    socket.on('data', (chunk: Buffer) => {
      if (asked) return
      try {
        const request = reader.push(chunk)
        if (request === undefined) return
        asked = true
        void this.answer(request, gone.signal).then(({ exitCode, stdout }) => socket.end(encodeAnswer(exitCode, stdout)))
      } catch (error) {
        asked = true
        socket.end(encodeAnswer(1, failureAnswer(error, newestVersion).stdout))
      }
    })
  }

  /** Never rejects. */
  async answer({ env, stdin }: CniRequest, signal: AbortSignal): Promise<CniAnswer> {
    const command = env.get('CNI_COMMAND') ?? ''
    if (command === 'VERSION') return succeed({ cniVersion: versionAsked(stdin), supportedVersions: cniVersions })
    let version: string = newestVersion
    let understood = false
    try {
      version = checkVersion(stdin.trim() === '' ? newestVersion : versionIn(stdin))
      const environment = parseEnvironment(env)
      const config = parseConfig(stdin)
      understood = true
      return await this.#run(environment, config, signal)
    } catch (error) {
      if (!understood) await traceRefusal(this.#parts, `cni ${command.slice(0, 40)}`, error, traceHeadersOf(env))
      return failureAnswer(error, version)
    }
  }

  async #run(env: CniEnvironment, config: CniConfig, signal: AbortSignal): Promise<CniAnswer> {
    const { command } = env
    const since = commandSince[command]
    if (since !== undefined && !isAtLeast(config.version, since)) {
      throw new HeddleError('incompatible-cni-version', `${command} needs cniVersion ${since}, the configuration has ${config.version}`, {
        field: 'cniVersion',
        remedy: `set cniVersion to ${newestVersion}`,
      })
    }
    const endpointId = env.containerId === '' ? '' : endpointIdOf(env, config.name)
    const attributes = {
      'heddle.network': config.name,
      ...(endpointId === ''
        ? {}
        : { 'heddle.endpoint': endpointId, 'cni.container_id': env.containerId, 'cni.ifname': env.interfaceName, 'cni.netns': env.netns }),
    }
    const options = {
      name: `cni ${command}`,
      attributes,
      timeoutMs: this.#options.timeoutMs,
      key: endpointId || `cni-${command}-${config.name}`,
      signal,
      trace: env.trace,
    }
    return pluginCall(this.#parts, options, async (call) => {
      switch (command) {
        case 'ADD':
          return succeed(await add(this.#parts, env, config, this.#options.deviceInfoDir, call))
        case 'STATUS': {
          const failure = await status(this.#parts, config, call)
          return failure === undefined ? nothing : failureAnswer(failure.error, config.version, failure.code)
        }
        case 'DEL':
          await del(this.#parts, env, config, this.#options.deviceInfoDir, call)
          return nothing
        case 'CHECK':
          await check(this.#parts, env, config, call)
          return nothing
        case 'GC':
          await gc(this.#parts, config, call)
          return nothing
        case 'VERSION':
          return succeed({ cniVersion: config.version, supportedVersions: cniVersions })
      }
    })
  }
}

const nothing: CniAnswer = { exitCode: 0, stdout: '' }

function succeed(result: Record<string, unknown>): CniAnswer {
  return { exitCode: 0, stdout: JSON.stringify(result) }
}

/** VERSION answers in the version it is asked in, and to anybody who asks. */
function versionAsked(stdin: string): string {
  try {
    return checkVersion(versionIn(stdin) || newestVersion)
  } catch {
    return newestVersion
  }
}
