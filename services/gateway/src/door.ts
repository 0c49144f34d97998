/** What the dialects share: a plugin call with its own deadline and its own trace, and a unix socket to hear it on. */
import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs'
import { connect, type Server } from 'node:net'
import { dirname } from 'node:path'
import { type Call, type Clock, HeddleError, raceCall, rootContext, type TraceHeaders, withCall, withService, withSpan } from '@heddle/core'
import type { Attributes } from '@opentelemetry/api'
import type { FlowParts } from './flows/parts.ts'

export interface PluginCall {
  /** `cni ADD`, `docker NetworkDriver.Join`: the name of the root span. */
  readonly name: string
  readonly attributes: Attributes
  readonly timeoutMs: number
  /** The endpoint id where there is one. */
  readonly key: string
  /** The caller went away. */
  readonly signal: AbortSignal
  /** A trace to continue. */
  readonly trace?: Partial<TraceHeaders>
  /** Whether `heddle trace` is to list it; default true. */
  readonly kept?: boolean
}

const refusalTimeoutMs = 1000

/** Runs `body` as the root of a trace that this host's gateway keeps. Rejects at the deadline at the latest. */
export function pluginCall<T>(parts: Pick<FlowParts, 'cluster' | 'clock' | 'traces'>, options: PluginCall, body: (call: Call) => Promise<T>): Promise<T> {
  const context = withService(rootContext(parts.cluster.host, options.trace), 'gateway')
  return withCall({ timeoutMs: options.timeoutMs, key: options.key, signal: options.signal, context, clock: parts.clock }, (call) =>
    withSpan(call, options.name, options.attributes, (inner, span) => {
      if (options.kept !== false) parts.traces.expect(span.spanContext().traceId)
      return raceCall(body(inner), inner)
    }),
  )
}

/** A call that was refused before it began, as a trace of its own: whoever looks for why a call failed looks there. */
export async function traceRefusal(parts: Parameters<typeof pluginCall>[0], name: string, failure: unknown, trace: Partial<TraceHeaders> = {}): Promise<void> {
  const options = { name, attributes: {}, timeoutMs: refusalTimeoutMs, key: '', signal: new AbortController().signal, trace }
  await pluginCall(parts, options, () => Promise.reject(failure)).catch(() => {})
}

/** How long a door that stops lets its calls run. Normal ones are through by then; what is left of the grace is for undoing the others. */
const drainMs = 1000

/** A door's calls under way, each with the signal that ends it. */
export class CallsUnderWay {
  readonly #calls = new Set<AbortController>()

  /** Abort it when the caller goes away, `end` it when it is answered. */
  begin(): AbortController {
    const call = new AbortController()
    this.#calls.add(call)
    return call
  }

  end(call: AbortController): void {
    this.#calls.delete(call)
  }

  /** After a moment those still under way fail with `unavailable`; the returned function cancels. */
  drain(clock: Clock): () => void {
    return clock.after(drainMs, () => {
      for (const call of this.#calls) call.abort(new HeddleError('unavailable', 'the gateway is stopping', { remedy: 'try again when it has started again' }))
    })
  }
}

/** Listens with mode 0600. A socket file nobody answers on was left by a crash and is replaced; a live one is an error. */
export async function listenUnix(server: Server, path: string): Promise<void> {
  await claimSocketPath(path)
  await new Promise<void>((resolve, reject) => {
    const umask = process.umask(0o177)
    try {
      server.once('error', reject)
      // A unix socket is bound before listen() returns, so the mask need not outlive this turn.
      server.listen(path, () => {
        server.off('error', reject)
        resolve()
      })
    } finally {
      process.umask(umask)
    }
  })
  chmodSync(path, 0o600)
}

/** Whether somebody listens; `dead` is a file that nobody listens on. */
export function probeSocket(path: string): Promise<'live' | 'dead' | 'absent'> {
  return new Promise((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve('live')
    })
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ENOENT' ? 'absent' : 'dead'))
  })
}

/** Makes the directory (0700) and removes a dead socket. Fails with invalid-argument when somebody is listening or the file is none. */
export async function claimSocketPath(path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const state = await probeSocket(path)
  if (state === 'live') {
    throw new HeddleError('invalid-argument', `another process is listening on ${path}`, {
      field: 'runDir',
      remedy: 'stop the other gateway, or give this one another runDir',
    })
  }
  if (state === 'absent') return
  if (!lstatSync(path).isSocket()) {
    throw new HeddleError('invalid-argument', `${path} is there and is no socket`, {
      field: 'runDir',
      remedy: 'remove it, or give this gateway another runDir',
    })
  }
  rmSync(path, { force: true })
}
