/** The NATS and etcd of a machine that was given no address of either: one nats-server, one etcd member, as children. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Clock } from '@heddle/core'
import type { Runtime } from '@heddle/runtime'
import { z } from 'zod'
import { EmbeddedServer } from './child.ts'

export interface EmbeddedOptions {
  readonly dataDir: string
  readonly listen: string
  /** 0: the port of the last start, or a free one. */
  readonly natsPort: number
  readonly etcdPort: number
}

export interface Embedded {
  readonly natsServers: readonly string[]
  readonly etcdEndpoints: readonly string[]
  start(signal: AbortSignal): Promise<void>
  /** etcd last: whoever stops before it may still write. */
  stop(): Promise<void>
}

const portsFile = z.object({ nats: z.int(), etcd: z.int(), etcdPeer: z.int() })

export async function prepareEmbedded(options: EmbeddedOptions, logger: Runtime['logger'], clock: Clock): Promise<Embedded> {
  mkdirSync(options.dataDir, { recursive: true, mode: 0o700 })
  const ports = await choosePorts(options)
  const host = options.listen.includes(':') ? `[${options.listen}]` : options.listen
  const nats = new EmbeddedServer(
    {
      name: 'nats-server',
      // No JetStream: whatever must not be lost is in etcd.
      command: ['nats-server', '--addr', options.listen, '--port', String(ports.nats)],
      ready: /Server is ready/,
      debianPackage: 'nats-server',
    },
    logger,
    clock,
  )
  const client = `http://${host}:${ports.etcd}`
  const peer = `http://127.0.0.1:${ports.etcdPeer}`
  const etcd = new EmbeddedServer(
    {
      name: 'etcd',
      command: [
        'etcd',
        ...['--name', 'heddle', '--data-dir', join(options.dataDir, 'etcd')],
        ...['--listen-client-urls', client, '--advertise-client-urls', client],
        ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `heddle=${peer}`],
        // An hour of history is kept: a watcher that was away longer reads everything again.
        ...['--auto-compaction-mode', 'periodic', '--auto-compaction-retention', '1h'],
        // One claim is one operation of a group commit; the default of 128 would cut the groups short.
        ...['--max-txn-ops', '1024', '--experimental-watch-progress-notify-interval', '5s'],
      ],
      ready: /ready to serve client requests|serving (?:insecure )?client (?:requests|traffic)/,
      debianPackage: 'etcd-server',
    },
    logger,
    clock,
  )
  return {
    natsServers: [`nats://${host}:${ports.nats}`],
    etcdEndpoints: [client],
    async start(signal) {
      const outcomes = await Promise.allSettled([nats.start(signal), etcd.start(signal)])
      const failed = outcomes.find((outcome) => outcome.status === 'rejected')
      if (failed !== undefined) throw failed.reason
    },
    async stop() {
      await nats.stop()
      await etcd.stop()
    },
  }
}

/** The same ports at every start, so that what was told an address keeps it. */
async function choosePorts(options: EmbeddedOptions): Promise<z.infer<typeof portsFile>> {
  const path = join(options.dataDir, 'ports.json')
  const before = readPorts(path)
  const ports = {
    nats: options.natsPort || (await freePort(options.listen, before?.nats)),
    etcd: options.etcdPort || (await freePort(options.listen, before?.etcd)),
    etcdPeer: await freePort('127.0.0.1', before?.etcdPeer),
  }
  writeFileSync(`${path}.new`, `${JSON.stringify(ports)}\n`, { mode: 0o600 })
  renameSync(`${path}.new`, path)
  return ports
}

/** A file that is missing or damaged costs other ports, never the start. */
function readPorts(path: string): z.infer<typeof portsFile> | undefined {
  try {
    return portsFile.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch {
    return undefined
  }
}

/** Below the kernel's ephemeral ports (ip_local_port_range), so that no outgoing connection takes it while the server is down. */
async function freePort(address: string, preferred: number | undefined): Promise<number> {
  for (let attempt = 0; ; attempt++) {
    const port = attempt === 0 && preferred !== undefined ? preferred : 12_000 + Math.floor(Math.random() * 20_000)
    if (await isFree(address, port)) return port
    if (attempt > 50) throw new Error(`no free port on ${address}`)
  }
}

function isFree(address: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(false) : reject(error)))
    probe.listen(port, address, () => probe.close(() => resolve(true)))
  })
}
