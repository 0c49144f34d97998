/** Debian's etcd as a single member for tests; fsync stays on, so what it acknowledges survives `kill()`. */
import { randomPort, type ServerHandle, type ServerOptions, startDaemon } from './daemon.ts'

export interface EtcdOptions extends ServerOptions {
  /** `--max-txn-ops`; etcd's default is 128. */
  readonly maxTxnOps?: number
  /** How often an idle watch is told the revision it has seen; etcd's default is ten minutes. */
  readonly progressNotifyMs?: number
}

export function startEtcd(options: EtcdOptions = {}): Promise<ServerHandle> {
  return startDaemon(
    {
      name: 'etcd',
      scheme: 'http',
      ready: /ready to serve client requests|serving (?:insecure )?client (?:requests|traffic)/,
      command(port, address, dataDir) {
        const client = `http://${address.includes(':') ? `[${address}]` : address}:${port}`
        const peer = `http://127.0.0.1:${randomPort()}`
        return [
          'etcd',
          ...['--name', 'test', '--data-dir', `${dataDir}/data`],
          ...['--listen-client-urls', client, '--advertise-client-urls', client],
          ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `test=${peer}`],
          ...(options.maxTxnOps === undefined ? [] : ['--max-txn-ops', String(options.maxTxnOps)]),
          ...(options.progressNotifyMs === undefined ? [] : ['--experimental-watch-progress-notify-interval', `${options.progressNotifyMs}ms`]),
        ]
      },
    },
    options,
  )
}
