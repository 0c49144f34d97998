/**
 * Hears the launcher on `cni.sock`: one request a connection. A caller that hangs up cancels its call, and an ADD undoes
 * itself; what takes away goes on, because a runtime that gave up waiting may not ask again.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { type Call, HeddleError } from '@heddle/core'
import { CallsUnderWay, listenUnix, pluginCall, traceRefusal } from '../door.ts'
import type { FlowParts } from '../flows/parts.ts'
import { check } from './check.ts'
import { type CniConfig, parseConfig, versionIn } from './config.ts'
import { delegateFor, type IpamDelegate } from './delegate.ts'
import { type CniEnvironment, parseEnvironment, traceHeadersOf } from './environment.ts'
import { type CniAnswer, failureAnswer, notReady } from './failure.ts'
import { type CniRequest, encodeAnswer, FrameReader } from './frame.ts'
import { gc } from './gc.ts'
import { endpointIdOf } from './identity.ts'
import { addAddresses, checkAddresses, delAddresses } from './ipam-verbs.ts'
import { Launcher } from './launcher.ts'
import { type StatusFailure, status } from './status.ts'
import { add, del } from './verbs.ts'
import { checkVersion, cniVersions, commandSince, isAtLeast, newestVersion } from './versions.ts'

export interface CniServerOptions {
  readonly path: string
  readonly timeoutMs: number
  /** The meta-plugins' own: see device-info.ts. */
  readonly deviceInfoDir: string
}

const idleTimeoutMs = 30_000
const goesOn: ReadonlySet<string> = new Set(['DEL', 'GC'])

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
    const launcher = new Launcher(socket)
    const gone = this.#calls.begin()
    let asked = false
    let mayEnd = true
    this.#open.add(socket)
    // A launcher sends everything at once; whoever does not is no launcher.
    socket.setTimeout(idleTimeoutMs, () => !asked && socket.destroy())
    gone.signal.addEventListener('abort', () => !asked && socket.destroy(), { once: true })
    socket.on('error', () => {})
    socket.once('close', () => {
      this.#open.delete(socket)
      this.#calls.end(gone)
      launcher.left()
      if (mayEnd) gone.abort(new HeddleError('cancelled', 'the CNI runtime ended its call'))
    })
    socket.on('data', (chunk: Buffer) => {
      try {
        if (asked) return launcher.hear(chunk)
        const request = reader.push(chunk)
        if (request === undefined) return
        asked = true
        mayEnd = !goesOn.has(request.env.get('CNI_COMMAND') ?? '')
        void this.answer(request, launcher, gone.signal).then(({ exitCode, stdout }) => {
          mayEnd = false
          socket.end(encodeAnswer(exitCode, stdout))
        })
      } catch (error) {
        asked = true
        socket.end(encodeAnswer(1, failureAnswer(error, newestVersion).stdout))
      }
    })
  }

  /** Never rejects. */
  async answer({ env, stdin }: CniRequest, launcher: Launcher, signal: AbortSignal): Promise<CniAnswer> {
    const command = env.get('CNI_COMMAND') ?? ''
    if (command === 'VERSION') return succeed({ cniVersion: versionAsked(stdin), supportedVersions: cniVersions })
    let version: string = newestVersion
    let understood = false
    let delegate: IpamDelegate | undefined
    try {
      version = checkVersion(stdin.trim() === '' ? newestVersion : versionIn(stdin))
      const given = parseEnvironment(env)
      const config = parseConfig(stdin)
      const environment = { ...given, interfaceName: config.interfaceName || given.interfaceName }
      delegate = delegateFor(environment, config, launcher)
      understood = true
      return await this.#run(environment, config, delegate, signal)
    } catch (error) {
      // The launcher waits for the answer, so before it.
      if (command === 'ADD') await delegate?.takeBack()
      if (!understood) await traceRefusal(this.#parts, `cni ${command.slice(0, 40)}`, error, traceHeadersOf(env))
      return failureAnswer(error, version)
    }
  }

  async #run(env: CniEnvironment, config: CniConfig, delegate: IpamDelegate | undefined, signal: AbortSignal): Promise<CniAnswer> {
    const { command } = env
    const since = commandSince[command]
    if (since !== undefined && !isAtLeast(config.version, since)) {
      throw new HeddleError('incompatible-cni-version', `${command} needs cniVersion ${since}, the configuration has ${config.version}`, {
        field: 'cniVersion',
        remedy: `set cniVersion to ${newestVersion}`,
      })
    }
    const endpointId = env.containerId === '' ? '' : endpointIdOf(env, config)
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
    const parts = this.#parts
    const asked = { env, config, delegate, deviceInfoDir: this.#options.deviceInfoDir }
    const { isIpam } = config
    return pluginCall(parts, options, async (call) => {
      switch (command) {
        case 'ADD':
          return succeed(await (isIpam ? addAddresses : add)(parts, asked, call))
        case 'STATUS': {
          const failure = (await status(parts, config, call)) ?? (await lackOf(delegate, call))
          return failure === undefined ? nothing : failureAnswer(failure.error, config.version, failure.code)
        }
        case 'DEL':
          await (isIpam ? delAddresses : del)(parts, asked, call)
          return nothing
        case 'CHECK':
          await (isIpam ? checkAddresses : check)(parts, asked, call)
          return nothing
        case 'GC':
          await gc(parts, config, delegate, call)
          return nothing
        case 'VERSION':
          return succeed({ cniVersion: config.version, supportedVersions: cniVersions })
      }
    })
  }
}

async function lackOf(delegate: IpamDelegate | undefined, call: Call): Promise<StatusFailure | undefined> {
  try {
    await delegate?.forward('STATUS', call)
    return undefined
  } catch (error) {
    return { code: notReady, error: HeddleError.from(error) }
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
