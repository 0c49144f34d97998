/** dockerd's side of the plugin protocol: POST on a unix socket, one connection kept for ever. */
import { Agent, request } from 'undici'

export interface PluginAnswer {
  readonly status: number
  readonly contentType: string
  /** Parsed; undefined when it is not JSON. */
  readonly json: any
}

export interface PluginClient {
  /** `NetworkDriver.Join`; without a body none is sent, as for methods that have no request. */
  call(method: string, body?: unknown): Promise<PluginAnswer>
  /** Any verb and text, for what dockerd would never send. */
  raw(method: string, options: { readonly verb?: string; readonly text?: string }): Promise<PluginAnswer>
  close(): Promise<void>
}

export function pluginClient(socketPath: string): PluginClient {
  // dockerd never closes its connection, nor gives up on an answer.
  const dispatcher = new Agent({
    connect: { socketPath },
    keepAliveTimeout: 600_000,
    keepAliveMaxTimeout: 600_000,
    bodyTimeout: 0,
    headersTimeout: 0,
    connections: 8,
  })
  const send = async (method: string, verb: string, text: string | undefined): Promise<PluginAnswer> => {
    const { statusCode, headers, body } = await request(`http://plugin.moby.localhost/${method}`, {
      dispatcher,
      method: verb as 'POST',
      headers: { accept: 'application/vnd.docker.plugins.v1.2+json' },
      body: text ?? null,
    })
    const answered = await body.text()
    return { status: statusCode, contentType: String(headers['content-type'] ?? ''), json: parsed(answered) }
  }
  return {
    call: (method, body) => send(method, 'POST', body === undefined ? undefined : `${JSON.stringify(body)}\n`),
    raw: (method, { verb = 'POST', text }) => send(method, verb, text),
    close: () => dispatcher.close(),
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
