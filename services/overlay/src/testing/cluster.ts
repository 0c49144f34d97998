/** Overlay replicas as their processes would run them, on memory or on the real NATS and etcd. Tests only. */
import { type Bus, connectBus, MemoryBus, MemoryHub } from '@heddle/bus'
import { Endpoint, endpointKey } from '@heddle/contract'
import { systemClock, withCall } from '@heddle/core'
import { createRuntime, type RuntimeControl } from '@heddle/runtime'
import { connectStore, MemoryStore, type Store } from '@heddle/store'
import { startEtcd, startNats } from '@heddle/testkit'
import pino from 'pino'
import { overlayConfig } from '../config.ts'
import { overlayService } from '../main.ts'

const logger = pino({ level: process.env['HEDDLE_TEST_LOG'] ?? 'silent' })

/** Quick, so that tests wait little. */
const config = overlayConfig.parse({ hostTtlMs: 2_000, beatIntervalMs: 300, sweepIntervalMs: 200, vniGraceMs: 400 })

export interface Replica {
  readonly runtime: RuntimeControl
  stop(): Promise<void>
}

export interface Cluster {
  /** A connection of its own to the bus, as another process has. */
  bus(): Promise<Bus>
  /** What the networks service would write with. */
  readonly store: Store
  replica(through?: { readonly etcdUrl?: string }): Promise<Replica>
  stop(): Promise<void>
}

async function startReplica(bus: Bus, store: Store, ownStore: boolean): Promise<Replica> {
  const runtime = createRuntime({ name: 'overlay', host: 'test', version: '0', log: { level: 'silent', pretty: false } })
  overlayService.build(runtime, { bus, store }, config)
  await runtime.start()
  return {
    runtime,
    async stop() {
      await runtime.stop()
      await bus.close()
      if (ownStore) await store.close()
    },
  }
}

/** What the parts of a cluster share: everything opened is closed, the last first. */
function closing(): { add<T>(value: T, close: (value: T) => Promise<void>): T; all(): Promise<void> } {
  const closers: (() => Promise<void>)[] = []
  return {
    add(value, close) {
      closers.push(() => close(value))
      return value
    },
    async all() {
      for (const close of closers.reverse()) await close()
    },
  }
}

export async function memoryCluster(): Promise<Cluster> {
  const hub = new MemoryHub()
  const store = new MemoryStore()
  const opened = closing()
  return {
    store,
    bus: async () => opened.add(new MemoryBus({ hub }), (bus) => bus.close()),
    replica: () => startReplica(new MemoryBus({ hub }), store, false),
    async stop() {
      await opened.all()
      await store.close()
    },
  }
}

export interface RealCluster extends Cluster {
  readonly etcd: Awaited<ReturnType<typeof startEtcd>>
  readonly nats: Awaited<ReturnType<typeof startNats>>
}

export async function realCluster(): Promise<RealCluster> {
  const [etcd, nats] = await Promise.all([startEtcd(), startNats()])
  const store = connectStore({ endpoints: [etcd.url], logger })
  const opened = closing()
  const openBus = () => connectBus({ servers: [nats.url], name: 'test', logger })
  return {
    etcd,
    nats,
    store,
    bus: async () => opened.add(await openBus(), (bus) => bus.close()),
    replica: async ({ etcdUrl = etcd.url } = {}) => startReplica(await openBus(), connectStore({ endpoints: [etcdUrl], logger }), true),
    async stop() {
      await opened.all()
      await store.close()
      await Promise.all([etcd.stop(), nats.stop()])
    },
  }
}

/** Endpoint records as the networks service writes them. */
export class Endpoints {
  readonly networkId: string
  /** What is in etcd, those left out that are going or have addresses alone: what every peer table should be. */
  readonly expected = new Map<string, { readonly host: string; readonly address: string }>()
  readonly #store: Store

  constructor(store: Store, networkId: string) {
    this.#store = store
    this.networkId = networkId
  }

  async put(id: string, host: string, address: string, state = 'reserved', networkKind = 'overlay'): Promise<bigint> {
    const endpoint = Endpoint.fromPartial({
      id,
      networkId: this.networkId,
      host,
      state,
      networkKind,
      mac: `02:00:00:00:00:${address.slice(-2)}`,
      addresses: [`${address}/16`],
    })
    const revision = await this.#commit({
      put: endpointKey(this.networkId, id),
      value: JSON.stringify(Endpoint.toJSON({ ...endpoint, updatedAt: systemClock.timestamp() })),
    })
    if (state === 'detaching' || state === 'addressed' || networkKind !== 'overlay') this.expected.delete(id)
    else this.expected.set(id, { host, address })
    return revision
  }

  async delete(id: string): Promise<bigint> {
    const revision = await this.#commit({ delete: endpointKey(this.networkId, id) })
    this.expected.delete(id)
    return revision
  }

  /** Puts and deletes at random. */
  async churn(count: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      const id = `e${Math.floor(Math.random() * 30)}`
      if (Math.random() < 0.3) await this.delete(id)
      else await this.put(id, `h${1 + Math.floor(Math.random() * 3)}`, `10.1.0.${10 + Math.floor(Math.random() * 89)}`)
    }
  }

  #commit(write: { put: string; value: string } | { delete: string }): Promise<bigint> {
    return withCall({ timeoutMs: 20_000 }, async (call) => (await this.#store.commit({ when: [], write: [write] }, call)).revision)
  }
}
