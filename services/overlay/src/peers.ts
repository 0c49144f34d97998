/** Keeps the peer tables as etcd says and tells whoever listens: a delta for every change, a beat now and then. */
import type { Bus } from '@heddle/bus'
import { Endpoint, eventSubjects, PeerBeat, PeerDelta, type PeerHost, type SnapshotResponse, sharedKeys } from '@heddle/contract'
import type { Store, StoredRecord, Watching } from '@heddle/store'
import type { Logger } from 'pino'
import { defaultPageLimits, SnapshotPages } from './domain/pages.ts'
import { type PeerChange, PeerTables } from './domain/peer-tables.ts'

export class PeerPublisher {
  readonly #bus: Bus
  readonly #logger: Logger
  readonly #tables = new PeerTables()
  readonly #pages = new SnapshotPages()
  #watching: Watching | undefined

  constructor(bus: Bus, logger: Logger) {
    this.#bus = bus
    this.#logger = logger
  }

  /** Resolves when the tables are there. Whoever has missed something learns it from the beats that follow each listing. */
  start(store: Store): Promise<void> {
    this.#watching = store.watch(sharedKeys.endpoints, {
      onSnapshot: ({ revision, records }, epoch) => {
        this.#tables.replace(
          records.map((record) => this.#changeOf(record)),
          revision,
          epoch,
        )
        this.beat()
      },
      onBatch: ({ revision, puts, deletes }) => {
        const changes = [...deletes.map(({ key }) => ({ ...idsOf(key), peer: undefined })), ...puts.map((record) => this.#changeOf(record))]
        for (const delta of this.#tables.apply(changes, revision)) this.#publish(delta)
      },
    })
    return this.#watching.ready
  }

  async stop(): Promise<void> {
    await this.#watching?.close()
  }

  putHost(host: PeerHost): void {
    for (const delta of this.#tables.putHost(host)) this.#publish(delta)
  }

  deleteHost(name: string): void {
    this.#tables.deleteHost(name)
  }

  networksOf(host: string): string[] {
    return this.#tables.networksOf(host)
  }

  snapshot(networkId: string, page: number, revision: bigint): SnapshotResponse {
    return this.#pages.page(this.#tables, networkId, page, revision)
  }

  /** Says of every table what it should be. */
  beat(): void {
    for (const beat of this.#tables.beats()) this.#bus.publish(eventSubjects.peerBeat(beat.networkId), PeerBeat, beat)
  }

  #publish(delta: PeerDelta): void {
    // What does not fit the bus is fetched: a beat says that there is something.
    const fits = PeerDelta.encode(delta).finish().length <= defaultPageLimits.maxBytes
    if (fits) this.#bus.publish(eventSubjects.peerDelta(delta.networkId), PeerDelta, delta)
    else this.#bus.publish(eventSubjects.peerBeat(delta.networkId), PeerBeat, this.#tables.beat(delta.networkId))
  }

  #changeOf(record: StoredRecord): PeerChange {
    const ids = idsOf(record.key)
    try {
      const { state, mac, addresses, host, networkKind } = Endpoint.fromJSON(JSON.parse(record.value))
      // An endpoint that is going is gone for its peers: nobody should send to it any more. Only an overlay has peers
      // elsewhere; records older than the field are of one. Of one that is addressed alone the interface is another plugin's.
      if (state === 'detaching' || state === 'addressed' || (networkKind !== 'overlay' && networkKind !== '')) return { ...ids, peer: undefined }
      return { ...ids, peer: { endpointId: ids.endpointId, mac, host, addresses: addresses.map((address) => address.split('/', 1)[0] ?? '') } }
    } catch (error) {
      this.#logger.error({ err: error, key: record.key }, 'an endpoint record cannot be read and is not told to its peers')
      return { ...ids, peer: undefined }
    }
  }
}

function idsOf(key: string): { networkId: string; endpointId: string } {
  const [networkId = '', endpointId = ''] = key.slice(sharedKeys.endpoints.length).split('/')
  return { networkId, endpointId }
}
