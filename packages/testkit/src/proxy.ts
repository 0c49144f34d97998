/** A TCP proxy in front of a server that does what networks do at their worst: cut, swallow, keep silent, delay. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** What becomes of a piece of a reply: let through, lost, or let through as the last one before the connection is cut. */
export type ReplyFate = 'pass' | 'swallow' | 'cut-after'

export interface FaultProxyOptions {
  /** Where the server listens: `http://127.0.0.1:2379`, `nats://...` or `host:port`. */
  readonly target: string
  /** Looks at each piece of a reply as it comes from the server (TCP framing) while the proxy passes. */
  readonly onReply?: (chunk: Buffer) => ReplyFate
}

export interface FaultProxy {
  readonly port: number
  /** The target's scheme with the proxy's address. */
  readonly url: string
  /** Connections open to clients. */
  readonly connections: number
  /** Heals everything. Connections that lost bytes meanwhile are cut: their streams could only be corrupt. */
  pass(): void
  /** Resets every open connection, now; new ones are treated as before. */
  cut(): void
  /** From now on connections are cut as soon as they are made, the open ones now. */
  refuse(): void
  /** From now on everything is accepted and swallowed, both ways. */
  blackHole(): void
  /** The connections open now are swallowed, both ways, for good; new ones are treated as before. */
  silence(): void
  /** From now on requests get through and replies do not. */
  swallowReplies(): void
  /** From now on each piece takes so much longer each way; 0 ends it. */
  delay(delayMs: number): void
  close(): Promise<void>
}

type Mode = 'pass' | 'refuse' | 'black-hole' | 'swallow-replies'

interface Link {
  readonly client: Socket
  readonly server: Socket
  /** Bytes were lost on it. */
  lossy: boolean
  /** Nothing passes any more, whatever new connections do. */
  silent: boolean
}

export async function startFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const target = new URL(options.target.includes('://') ? options.target : `tcp://${options.target}`)
  const links = new Set<Link>()
  let mode: Mode = 'pass'
  let delayMs = 0

  const cutLink = (link: Link) => {
    links.delete(link)
    // libuv refuses to reset what has been shut down, and Node then never closes it: the process could not end.
    if (link.client.writableEnded) link.client.destroy()
    else link.client.resetAndDestroy()
    link.server.destroy()
  }
  const relay = (to: Socket, chunk: Buffer) => {
    if (delayMs === 0) to.write(chunk)
    else setTimeout(() => to.destroyed || to.write(chunk), delayMs)
  }
  const lose = (link: Link) => {
    link.lossy = true
  }

  const listener = createServer((client) => {
    if (mode === 'refuse') return void client.resetAndDestroy()
    const server = connect(Number(target.port), target.hostname.replace(/^\[|\]$/g, ''))
    const link: Link = { client, server, lossy: false, silent: false }
    links.add(link)
    client.setNoDelay(true)
    server.setNoDelay(true)
    client.on('data', (chunk: Buffer) => (mode === 'black-hole' || link.silent ? lose(link) : relay(server, chunk)))
    server.on('data', (chunk: Buffer) => {
      if (mode !== 'pass' || link.silent) return lose(link)
      const fate = options.onReply?.(chunk) ?? 'pass'
      if (fate === 'swallow') return lose(link)
      if (fate === 'pass') return relay(client, chunk)
      client.end(chunk, () => cutLink(link))
    })
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      socket.on('error', () => {})
      socket.on('close', () => {
        // A silent network does not tell one end that the other is gone.
        if ((mode !== 'pass' || link.silent) && socket === server) return lose(link)
        links.delete(link)
        other.destroy()
      })
    }
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo

  return {
    port,
    url: `${target.protocol}//127.0.0.1:${port}`,
    get connections() {
      return links.size
    },
    pass() {
      mode = 'pass'
      delayMs = 0
      for (const link of links) if (link.lossy) cutLink(link)
    },
    cut() {
      for (const link of links) cutLink(link)
    },
    refuse() {
      mode = 'refuse'
      for (const link of links) cutLink(link)
    },
    blackHole() {
      mode = 'black-hole'
    },
    silence() {
      for (const link of links) link.silent = true
    },
    swallowReplies() {
      mode = 'swallow-replies'
    },
    delay(next) {
      delayMs = next
    },
    async close() {
      for (const link of links) cutLink(link)
      listener.close()
      await once(listener, 'close')
    },
  }
}
