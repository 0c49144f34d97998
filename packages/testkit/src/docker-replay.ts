/**
 * What dockerd says to a network plugin: written down from a real one, and said again where none can run. Between `Join` and
 * `Leave` dockerd also moves the interface into the container and out again; who replays does that himself.
 */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { type PluginAnswer, type PluginClient, pluginClient } from './docker.ts'

export interface PluginRequest {
  /** `NetworkDriver.Join`. */
  readonly method: string
  /** As parsed; absent when none was sent. */
  readonly body?: any
}

/** The requests that one command of Docker's makes, in their order. */
export interface RecordedCommand {
  readonly command: string
  readonly requests: readonly PluginRequest[]
}

export interface ReplayedRequest extends PluginRequest {
  readonly answer: PluginAnswer
}

export interface PluginRecorder {
  /** What was asked since the last time, in the order of arrival. */
  take(): PluginRequest[]
  close(): Promise<void>
}

/**
 * The commands of the driver `sriov`, as Docker 20.10 made them into requests: `docker network create -d sriov --internal
 * --opt pf_iface=eth0 --opt vlanid=100 vfnet`, `docker run --net=vfnet ...`, `docker rm --force`, `docker network rm vfnet`.
 */
export function recordedSriovCommands(): readonly RecordedCommand[] {
  return JSON.parse(readFileSync(sriovCommandsFile, 'utf8')) as RecordedCommand[]
}

export const sriovCommandsFile = join(import.meta.dirname, 'recorded/docker-sriov.json')

/** Says a command's requests one after the other; `change` may put other names into a body. Refusals are answers too. */
export async function replayCommand(
  client: PluginClient,
  { requests }: RecordedCommand,
  change: (request: PluginRequest) => PluginRequest = (request) => request,
): Promise<ReplayedRequest[]> {
  const replayed: ReplayedRequest[] = []
  for (const recorded of requests) {
    const request = change(recorded)
    replayed.push({ ...request, answer: await client.call(request.method, request.body) })
  }
  return replayed
}

/** Stands between dockerd, which finds it at `path`, and the plugin at `target`. */
export async function recordPlugin(path: string, target: string): Promise<PluginRecorder> {
  const plugin = pluginClient(target)
  let requests: PluginRequest[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString()
      const method = request.url?.slice(1) ?? ''
      requests.push(text.trim() === '' ? { method } : { method, body: JSON.parse(text) })
      plugin.raw(method, text === '' ? {} : { text }).then(
        ({ status, contentType, json }) => response.writeHead(status, { 'content-type': contentType }).end(`${JSON.stringify(json)}\n`),
        (error: Error) => response.destroy(error),
      )
    })
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
  return {
    take() {
      const taken = requests
      requests = []
      return taken
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await plugin.close()
    },
  }
}
