/** Debian's nats-server for tests; no JetStream, no cluster unless `args` say so. */
import { type ServerHandle, type ServerOptions, startDaemon } from './daemon.ts'

export type NatsOptions = ServerOptions

export function startNats(options: NatsOptions = {}): Promise<ServerHandle> {
  return startDaemon(
    {
      name: 'nats',
      scheme: 'nats',
      ready: /Server is ready/,
      command: (port, address) => ['nats-server', '--addr', address, '--port', String(port)],
    },
    options,
  )
}
