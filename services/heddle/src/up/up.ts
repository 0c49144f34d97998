/** `heddle up`: chosen services in one process, on one bus and one store, with servers of their own when none are given. */
import { connectBus } from '@heddle/bus'
import { eventSubjects, isToken, SpanBatch } from '@heddle/contract'
import { HeddleError } from '@heddle/core'
import { createRuntime, type RuntimeControl, runUntilSignal } from '@heddle/runtime'
import type { Store } from '@heddle/store'
import { version } from '../version.ts'
import { needsStore } from './catalogue.ts'
import { sectionOf, type UpConfig } from './config.ts'
import { prepareEmbedded } from './embedded.ts'
import { announceReady, type Servers } from './ready.ts'

const readyWithinMs = 60_000
const readyPollMs = 50

/** Runs until SIGTERM or SIGINT. Never returns: the process exits with 0 when it was told to end, 1 when it failed. */
export async function up(config: UpConfig): Promise<never> {
  const { roof } = config
  // Refused here, before there is a log to look into.
  bringsServers(config)
  const control = createRuntime({ name: 'heddle', host: roof.host, version, log: roof.log, otlp: roof.otlp })
  const process = new UpProcess(config, control)
  return runUntilSignal(process.control(), { onStarted: () => void announceReady(control, config, process.servers, readyWithinMs, readyPollMs) })
}

class UpProcess {
  readonly #config: UpConfig
  readonly #control: RuntimeControl
  readonly #abort = new AbortController()
  /** How to end what the services stand on, last made first. */
  readonly #undo: (() => Promise<void>)[] = []
  #starting: Promise<void> | undefined
  #preparing: Promise<void> | undefined
  #unmaking: Promise<void> | undefined
  servers: Servers = { nats: [], etcd: [] }

  constructor(config: UpConfig, control: RuntimeControl) {
    this.#config = config
    this.#control = control
  }

  /** The runtime, started after and stopped before the bus, the store and the embedded servers. */
  control(): RuntimeControl {
    const control = this.#control
    return Object.create(control, {
      start: {
        value: () => {
          this.#starting ??= this.#start()
          return this.#starting
        },
      },
      stop: {
        value: async (graceMs?: number) => {
          this.#abort.abort(new HeddleError('cancelled', 'the process stops'))
          // Only this: a part that is starting ends when the runtime tells it to.
          await this.#preparing?.catch(() => {})
          await control.stop(graceMs)
          await this.#unmake()
        },
      },
    }) as RuntimeControl
  }

  async #start(): Promise<void> {
    try {
      this.#abort.signal.throwIfAborted()
      this.#preparing = this.#prepare()
      await this.#preparing
      this.#abort.signal.throwIfAborted()
      await this.#control.start()
    } catch (error) {
      await this.#unmake()
      throw error
    }
  }

  async #prepare(): Promise<void> {
    const { roof, services } = this.#config
    const { logger, clock } = this.#control
    const { signal } = this.#abort
    const embedded = bringsServers(this.#config) ? await prepareEmbedded({ dataDir: roof.dataDir, ...roof.embedded }, logger, clock) : undefined
    if (embedded !== undefined) {
      this.#undo.push(() => embedded.stop())
      await embedded.start(signal)
    }
    this.servers = { nats: embedded?.natsServers ?? roof.nats.servers, etcd: embedded?.etcdEndpoints ?? roof.etcd.endpoints }

    const { credsFile, caFile, certFile, keyFile } = roof.nats
    const tls = { ...(caFile && { caFile }), ...(certFile && { certFile }), ...(keyFile && { keyFile }) }
    const bus = await connectBus({
      servers: this.servers.nats,
      name: `heddle@${roof.host}`,
      host: roof.host,
      version,
      // Every service of a single machine is here: no command has to leave the process.
      local: embedded !== undefined,
      logger,
      clock,
      signal,
      ...(credsFile === undefined ? {} : { credentials: { credsFile } }),
      ...(Object.keys(tls).length === 0 ? {} : { tls }),
    })
    this.#undo.push(() => bus.close())

    let store: Store | undefined
    if (needsStore(services.map((service) => service.name))) {
      const opened = (await import('@heddle/store')).connectStore({ endpoints: this.servers.etcd, logger, clock })
      store = opened
      this.#undo.push(() => opened.close())
    }

    const keepsTraces = services.some((service) => service.name === 'gateway')
    this.#control.onSpans((origin, spans) => {
      if (isToken(origin) && !(origin === roof.host && keepsTraces)) bus.publish(eventSubjects.spans(origin), SpanBatch, { spans: [...spans] })
    })
    for (const service of services) {
      const free = await service.build(this.#control, { bus, store }, sectionOf(this.#config, service.name))
      if (free !== undefined) this.#undo.push(free)
    }
  }

  /** Asked for by a start that fails and by the stop that made it fail: done once. */
  #unmake(): Promise<void> {
    this.#unmaking ??= this.#undoAll()
    return this.#unmaking
  }

  async #undoAll(): Promise<void> {
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) {
      await undo().catch((error: unknown) => this.#control.logger.error({ err: error }, 'a part did not stop cleanly'))
    }
  }
}

/** Only a process that holds brains, and was told of neither server, brings its own. Fails with invalid-argument. */
function bringsServers({ roof, services }: UpConfig): boolean {
  const brains = needsStore(services.map((service) => service.name))
  const [nats, etcd] = [roof.nats.servers.length > 0, roof.etcd.endpoints.length > 0]
  if (nats && (etcd || !brains)) return false
  if (!brains) {
    throw new HeddleError('invalid-argument', 'a host of a cluster has to be told where NATS is', {
      field: 'nats.servers',
      remedy: 'give --nats, or leave out --services to run everything here',
    })
  }
  if (nats !== etcd) {
    throw new HeddleError(
      'invalid-argument',
      `only ${nats ? 'NATS' : 'etcd'} was given: services that share one and not the other would each have a truth of their own`,
      {
        field: nats ? 'etcd.endpoints' : 'nats.servers',
        remedy: 'give both --nats and --etcd, or neither for servers of its own',
      },
    )
  }
  return true
}
