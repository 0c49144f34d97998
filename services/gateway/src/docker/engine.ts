/**
 * Docker's own API, for what Docker does not tell its drivers. Never asked within a plugin call: Docker holds locks while it
 * waits for an answer, and would wait for itself.
 */
import { type IncomingMessage, request } from 'node:http'
import { HeddleError } from '@heddle/core'

export interface Container {
  readonly Id: string
  /** With a leading `/`. */
  readonly Name: string
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, { readonly EndpointID: string; readonly Aliases: readonly string[] | null }>> }
}

const answerTimeoutMs = 10_000

export async function runningContainers(socketPath: string, signal: AbortSignal): Promise<string[]> {
  const containers = (await ask(socketPath, '/containers/json', signal)) as { Id: string }[]
  return containers.map(({ Id }) => Id)
}

export async function inspectContainer(socketPath: string, id: string, signal: AbortSignal): Promise<Container> {
  return (await ask(socketPath, `/containers/${id}/json`, signal)) as Container
}

/** Yields `''` once Docker listens, and then the id of each container that may have got an endpoint or a name, until Docker goes. */
export async function* changedContainers(socketPath: string, signal: AbortSignal): AsyncGenerator<string> {
  const filters = { type: ['container', 'network'], event: ['start', 'rename', 'connect'] }
  let rest = ''
  for await (const part of get(socketPath, `/events?filters=${encodeURIComponent(JSON.stringify(filters))}`, signal)) {
    if (part === '') yield ''
    const lines = `${rest}${part}`.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const { Type, Actor } = JSON.parse(line) as { Type: string; Actor: { ID: string; Attributes?: { container?: string } } }
      const id = Type === 'network' ? Actor.Attributes?.container : Actor.ID
      if (id !== undefined) yield id
    }
  }
}

async function ask(socketPath: string, path: string, signal: AbortSignal): Promise<unknown> {
  let text = ''
  for await (const part of get(socketPath, path, AbortSignal.any([signal, AbortSignal.timeout(answerTimeoutMs)]))) text += part
  return JSON.parse(text)
}

/** Yields `''` with the header, then the text as it comes. Fails with unavailable. */
async function* get(socketPath: string, path: string, signal: AbortSignal): AsyncGenerator<string> {
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request({ socketPath, path, signal, headers: { host: 'docker' } }, resolve)
        .once('error', reject)
        .end()
    })
    if (response.statusCode !== 200) throw new Error(`${path.split('?', 1)[0]}: ${response.statusCode}`)
    yield ''
    for await (const part of response.setEncoding('utf8')) yield part as string
  } catch (error) {
    const remedy = 'see the log of dockerd'
    throw new HeddleError('unavailable', `Docker does not answer on ${socketPath}: ${(error as Error).message}`, { cause: error, remedy })
  }
}
