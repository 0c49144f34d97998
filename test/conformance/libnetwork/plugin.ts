/** A plugin as dockerd sees it: HTTP POST on its socket, and what counts as success and as refusal (moby, pkg/plugins/client.go). */
import { randomBytes } from 'node:crypto'
import { Agent, request } from 'node:http'
import { Broken, expect } from '../report.ts'

export interface Answer {
  readonly status: number
  readonly text: string
  /** Parsed; undefined when it is not JSON. */
  readonly json: any
  /** Whether the plugin keeps the connection for the next request. */
  readonly kept: boolean
}

export interface Sent {
  readonly verb?: string
  /** Absent: no body, as with methods that take none. */
  readonly text?: string
  readonly headers?: Readonly<Record<string, string>>
}

export class Plugin {
  readonly #place: { readonly socketPath: string } | { readonly host: string; readonly port: number }
  readonly #timeoutMs: number
  readonly #agent = new Agent({ keepAlive: true })

  /** `address`: path of a unix socket, or `http://host:port`. */
  constructor(address: string, timeoutMs: number) {
    const url = address.startsWith('/') || !URL.canParse(address) ? undefined : new URL(address)
    this.#place = url === undefined ? { socketPath: address.replace(/^unix:\/\//, '') } : { host: url.hostname, port: Number(url.port) }
    this.#timeoutMs = timeoutMs
  }

  /** Rejects when there is no answer in time: dockerd itself would wait for ever. */
  send(method: string, { verb = 'POST', text, headers = {} }: Sent): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const length = text === undefined ? { 'content-length': '0' } : { 'content-length': String(Buffer.byteLength(text)) }
    const accept = { host: 'plugin.moby.localhost', accept: 'application/vnd.docker.plugins.v1.2+json' }
    const sent = request(
      { ...this.#place, agent: this.#agent, method: verb, path: `/${method}`, headers: { ...accept, ...length, ...headers } },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.once('error', reject)
        response.once('end', () => {
          const body = Buffer.concat(chunks).toString()
          resolve({ status: response.statusCode ?? 0, text: body, json: parsed(body), kept: response.headers.connection !== 'close' })
        })
      },
    )
    sent.setTimeout(this.#timeoutMs, () => sent.destroy(new Broken(`${method} was not answered within ${this.#timeoutMs} ms`)))
    sent.once('error', (error) => reject(error instanceof Broken ? error : new Broken(`${method}: ${error.message}`)))
    sent.end(text)
    return promise
  }

  /** As Go writes it: one object and a line feed. */
  call(method: string, body?: object): Promise<Answer> {
    return this.send(method, body === undefined ? {} : { text: `${JSON.stringify(body)}\n` })
  }

  /** The answer to a call that has to succeed; `{}` for null. */
  async ok(method: string, body?: object): Promise<any> {
    const answer = await this.call(method, body)
    const refusal = refusalOf(method, answer)
    if (refusal !== undefined) throw new Broken(`${method}: ${refusal}`)
    expect(answer.json !== undefined && typeof answer.json === 'object', `${method} answers ${brief(answer.text)}, which is no JSON object`)
    return answer.json ?? {}
  }

  /** The words of a call that has to be refused. */
  async refused(method: string, body: object, why: string): Promise<string> {
    return this.refusedText(method, { text: `${JSON.stringify(body)}\n` }, why)
  }

  async refusedText(method: string, sent: Sent, why: string): Promise<string> {
    const answer = await this.send(method, sent)
    const refusal = refusalOf(method, answer)
    if (refusal === undefined) throw new Broken(`${method} succeeds ${why}: ${brief(answer.text)}`)
    return refusal
  }

  close(): void {
    this.#agent.destroy()
  }
}

/** What Docker would make of it: undefined for success. Success is 200 alone; a 200 can still hold an error, in a key that depends on the driver. */
export function refusalOf(method: string, { status, json, text }: Answer): string | undefined {
  const key = method.startsWith('IpamDriver.') ? 'Error' : 'Err'
  if (status === 200) return json?.[key] || undefined
  return json?.Err || text.trim() || `status ${status} without a word`
}

export function brief(text: string): string {
  return text.trim().length > 200 ? `${text.trim().slice(0, 200)}...` : text.trim()
}

/** As Docker makes them: 32 random bytes in hex. */
export function newId(): string {
  return randomBytes(32).toString('hex')
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
