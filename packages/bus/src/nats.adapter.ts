/**
 * NATS as a Wire: the only file that imports `nats`. What was learnt about that library (2.29) and is dealt with here:
 * a throw inside a subscription's callback kills its reader for good, silently; draining does not wait for handlers; it
 * gives up reconnecting after ten attempts; it buffers while disconnected and sends late; its own request multiplexer
 * arms a timer a request and knows no AbortSignal; it ignores user and password of a server's URL.
 */
import { readFileSync } from 'node:fs'
import { type Call, HeddleError, raceCall, sleep } from '@heddle/core'
import { type ConnectionOptions, connect, createInbox, credsAuthenticator, Events, type Msg, type MsgHdrs, type NatsConnection, type TlsOptions } from 'nats'
import { WiredBus, type WiredBusOptions } from './bus.ts'
import { decodeHeaders, encodeError, encodeRequestHeaders } from './nats-headers.ts'
import { RequestMux } from './request-mux.ts'
import { redactServer, splitServers, type UrlCredentials } from './server-urls.ts'
import type { Bus, BusLogger, BusStatus, Subscription } from './types.ts'
import { headerNames, type Listening, type RequestHeaders, Undelivered, type Wire, type WireReply, type WireRequest } from './wire.ts'

export interface BusOptions extends WiredBusOptions {
  /** `nats://host:port`, one or more of the cluster; `nats://user:password@host:port` where `credentials` says nothing. */
  readonly servers: readonly string[]
  /** Of this connection, for the server's monitoring. */
  readonly name: string
  readonly credentials?: UrlCredentials | { readonly credsFile: string }
  readonly tls?: Pick<TlsOptions, 'caFile' | 'certFile' | 'keyFile'>
  /** Gives up waiting for the first connection. */
  readonly signal?: AbortSignal
}

/** Resolves when connected, however long the server takes to appear; from then on it reconnects for ever. */
export async function connectBus(options: BusOptions): Promise<Bus> {
  let connected = false
  const connecting = connect(connectionOptions(options, () => !connected && options.signal?.aborted === true))
  const { logger } = options
  const servers = options.servers.map(redactServer)
  const reminder = setInterval(
    () => logger.warn({ servers }, 'still waiting for NATS: is the server running and reachable, and are the credentials right?'),
    5_000,
  )
  try {
    const connection = await (options.signal === undefined ? connecting : untilAborted(connecting, options.signal))
    connected = true
    return new WiredBus(new NatsWire(connection, logger), options)
  } finally {
    clearInterval(reminder)
  }
}

function connectionOptions(options: BusOptions, isAbandoned: () => boolean): ConnectionOptions {
  const { name, tls } = options
  const given = splitServers(options.servers)
  const credentials = options.credentials ?? given.credentials
  return {
    servers: [...given.servers],
    name,
    maxReconnectAttempts: -1,
    waitOnFirstConnect: true,
    ignoreAuthErrorAbort: true,
    reconnectDelayHandler: () => {
      // Asked before every attempt, and the only place where the library lets itself be told to give up the first connection.
      if (isAbandoned()) throw gaveUp()
      // A host whose server restarts should be back at once, a thousand hosts should not come at once.
      return 50 + Math.random() * 450
    },
    pingInterval: 10_000,
    maxPingOut: 2,
    timeout: 5_000,
    ...(tls === undefined ? {} : { tls }),
    ...(credentials === undefined ? {} : authentication(credentials)),
  }
}

function authentication(credentials: NonNullable<BusOptions['credentials']>): ConnectionOptions {
  if ('token' in credentials) return { token: credentials.token }
  if ('user' in credentials) return { user: credentials.user, pass: credentials.password }
  return { authenticator: credsAuthenticator(readFileSync(credentials.credsFile)) }
}

function gaveUp(): HeddleError {
  return new HeddleError('cancelled', 'gave up waiting for NATS')
}

async function untilAborted(connecting: Promise<NatsConnection>, signal: AbortSignal): Promise<NatsConnection> {
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(gaveUp())
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([connecting, aborted.promise])
  } catch (error) {
    connecting.then((connection) => connection.close()).catch(() => {})
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

class NatsWire implements Wire {
  readonly kind = 'nats'
  status: BusStatus = 'connected'
  maxBytes: number
  readonly #connection: NatsConnection
  readonly #logger: BusLogger
  readonly #mux: RequestMux
  readonly #reconnected = new Set<() => void>()
  /** Resolves when the present connection is lost. */
  #lost = Promise.withResolvers<void>()

  constructor(connection: NatsConnection, logger: BusLogger) {
    this.#connection = connection
    this.#logger = logger
    this.maxBytes = connection.info?.max_payload ?? 1 << 20
    const inbox = createInbox()
    this.#mux = new RequestMux(inbox)
    this.#on(`${inbox}.*`, '', (message) => this.#onReply(message))
    // A watch on the connection, as long as it lives; it ends when the connection is closed.
    void this.#watch().catch((error: unknown) => logger.error({ err: error }, 'the watch on the NATS connection failed'))
  }

  async request(subject: string, data: Uint8Array, headers: RequestHeaders, call: Call): Promise<WireReply> {
    // The library would keep the request and send it on reconnection, when its budget has long been spent.
    if (this.status !== 'connected') throw new Undelivered('no', 'not connected to NATS', { remedy: 'check that the NATS server runs and is reachable' })
    return this.#mux.request(call, (reply) => this.#connection.publish(subject, data, { reply, headers: block(encodeRequestHeaders(headers)) }))
  }

  listen(subject: string, queue: string, onRequest: (request: WireRequest) => void): Listening {
    const subscription = this.#on(subject, queue, (message) => onRequest(this.#wireRequest(message)))
    return {
      stop: async () => {
        // Draining asks the server; without one it would not end.
        const lost = this.#lost.promise
        if (this.status === 'connected') await Promise.race([subscription.drain(), lost]).catch(() => {})
        if (!subscription.isClosed()) subscription.unsubscribe()
      },
    }
  }

  publish(subject: string, data: Uint8Array): void {
    this.#connection.publish(subject, data)
  }

  subscribe(subject: string, onMessage: (data: Uint8Array) => void): Subscription {
    const subscription = this.#on(subject, '', (message) => onMessage(message.data))
    return { close: () => subscription.unsubscribe() }
  }

  onReconnect(listener: () => void): Subscription {
    this.#reconnected.add(listener)
    return { close: () => void this.#reconnected.delete(listener) }
  }

  async flush(call: Call): Promise<void> {
    for (;;) {
      try {
        return await raceCall(this.#connection.flush(), call)
      } catch (error) {
        if (call.signal.aborted || this.status === 'closed') throw HeddleError.from(error)
        await sleep(call.clock, 50, call.signal)
      }
    }
  }

  async close(): Promise<void> {
    this.status = 'closed'
    this.#mux.abandon()
    await this.#connection.close()
  }

  /** The only way to a subscription: nothing thrown by `onMessage` reaches the library's reader. */
  #on(subject: string, queue: string, onMessage: (message: Msg) => void) {
    return this.#connection.subscribe(subject, {
      ...(queue === '' ? {} : { queue }),
      callback: (error, message) => {
        if (error !== null) {
          this.#logger.error({ err: error, subject }, 'NATS refuses this subscription: check the permissions of these credentials')
          return
        }
        try {
          onMessage(message)
        } catch (thrown) {
          this.#logger.error({ err: thrown, subject }, 'a message could not be handled')
        }
      },
    })
  }

  #wireRequest(message: Msg): WireRequest {
    return {
      subject: message.subject,
      data: message.data,
      headers: decodeHeaders(message.headers),
      reply: ({ error, data }) => {
        try {
          message.respond(data, error === '' ? {} : { headers: block(encodeError(error)) })
        } catch (thrown) {
          this.#logger.warn({ err: thrown, subject: message.subject }, 'an answer could not be sent')
        }
      },
    }
  }

  #onReply(message: Msg): void {
    const { headers } = message
    if (headers === undefined) this.#mux.answered(message.subject, { error: '', data: message.data })
    else if (headers.code === 503)
      this.#mux.failed(message.subject, new Undelivered('no', 'no service answers this request', { remedy: 'check that the service is running' }))
    else this.#mux.answered(message.subject, { error: headers.get(headerNames.error), data: message.data })
  }

  async #watch(): Promise<void> {
    for await (const { type, data } of this.#connection.status()) {
      if (type === Events.Disconnect && this.status === 'connected') {
        this.status = 'disconnected'
        this.#logger.warn({ server: data }, 'lost the connection to NATS')
        this.#mux.abandon()
        this.#lost.resolve()
      } else if (type === Events.Reconnect && this.status === 'disconnected') {
        this.status = 'connected'
        this.#lost = Promise.withResolvers<void>()
        this.maxBytes = this.#connection.info?.max_payload ?? this.maxBytes
        this.#logger.info({ server: data }, 'connected to NATS again')
        for (const listener of this.#reconnected) this.#tell(listener)
      } else if (type === Events.Error) {
        this.#logger.error({ error: data }, 'NATS reports an error')
      }
    }
  }

  #tell(listener: () => void): void {
    try {
      listener()
    } catch (error) {
      this.#logger.error({ err: error }, 'a listener of reconnections failed')
    }
  }
}

/** All that publishing asks of the library's header object is its bytes. */
function block(bytes: Uint8Array): MsgHdrs {
  return { encode: () => bytes } as Partial<MsgHdrs> & { encode(): Uint8Array } as MsgHdrs
}
