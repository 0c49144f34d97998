/** Reads and writes of this service's prefix: decisions of `domain/` against the store, answers from the mirror. */
import type { Host, PeerHost } from '@heddle/contract'
import { type Call, HeddleError } from '@heddle/core'
import { decide, Mirror, type Question, type Store, type StoredRecord } from '@heddle/store'
import type { Logger } from 'pino'
import type { OverlayConfig } from './config.ts'
import { hostUnknown, registerHost, removeHost } from './domain/hosts.ts'
import type { VniClaim } from './domain/judge.ts'
import { type LiveRecord, read, readHost } from './domain/records.ts'
import { checkVni, claimVni, randomVni, releaseVni, vniTaken, whyTaken } from './domain/vni.ts'
import { keys, prefix, prefixes } from './keys.ts'

/** With a million claims one probe in sixteen meets a taken VNI. */
const maxProbes = 64

export interface HostListener {
  putHost(host: PeerHost): void
  deleteHost(name: string): void
}

export class OverlayRepo {
  readonly #store: Store
  readonly #config: OverlayConfig
  readonly #random: () => number
  readonly #mirror: Mirror
  readonly #hosts = new Map<string, Host>()
  readonly #claims = new Map<string, VniClaim>()

  constructor(store: Store, config: OverlayConfig, logger: Logger, listener: HostListener, random: () => number = Math.random) {
    this.#store = store
    this.#config = config
    this.#random = random
    this.#mirror = new Mirror(store, prefix, (key, record) => {
      try {
        this.#onChange(key, record, listener)
      } catch (error) {
        logger.error({ err: error, key }, 'a record in etcd cannot be read and is ignored; somebody wrote it by hand')
      }
    })
  }

  get ready(): Promise<void> {
    return this.#mirror.ready
  }

  close(): Promise<void> {
    return this.#mirror.close()
  }

  get hosts(): Host[] {
    const hosts = [...this.#hosts.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
    return hosts.map((host) => ({ ...host, alive: this.#mirror.get(keys.live(host.name)) !== undefined }))
  }

  get claims(): VniClaim[] {
    return [...this.#claims.values()]
  }

  /** `wanted` 0: any. Throws vni-taken. */
  async claimVni(networkId: string, wanted: number, call: Call): Promise<number> {
    const must = wanted !== 0
    for (let probe = 0; probe < maxProbes; probe++) {
      const vni = must ? checkVni(wanted) : randomVni(this.#random)
      const { result } = await this.#decide(claimVni(networkId, vni, must, call.clock.timestamp()), call)
      if ('vni' in result) return result.vni
      if (must) throw vniTaken(vni, whyTaken(result.taken))
    }
    throw new HeddleError('overloaded', `no free VNI was found in ${maxProbes} probes`, { remedy: 'delete overlay networks that are not needed' })
  }

  /** `onlyAt`: the revision of the claim that was judged. True when it freed something. */
  async releaseVni(networkId: string, call: Call, onlyAt?: bigint): Promise<boolean> {
    if ((await this.#mirror.find(keys.vniOf(networkId), call)) === undefined) return false
    const lease = await this.#store.grantLease(this.#config.vniRestMs, call)
    return (await this.#decide(releaseVni(networkId, lease, call.clock.timestamp(), onlyAt), call)).result
  }

  async registerHost(host: Host, call: Call): Promise<void> {
    const lease = await this.#store.grantLease(this.#config.hostTtlMs, call)
    try {
      const { result: before } = await this.#decide(registerHost(host, lease), call)
      if (before !== undefined) await this.#forget(before, call)
    } catch (error) {
      await this.#forget(lease, call)
      throw error
    }
  }

  /** Throws host-unknown. The lease may be another replica's. */
  async heartbeat(name: string, epoch: string, call: Call): Promise<void> {
    const renewed = async (record: StoredRecord | undefined) => {
      const live = record === undefined ? undefined : read<LiveRecord>(record)
      return live?.epoch === epoch && (await this.#store.renewLease(BigInt(live.lease), call))
    }
    if (await renewed(this.#mirror.get(keys.live(name)))) return
    // What is remembered may be of before it registered again with another replica.
    if (!(await renewed(await this.#store.get(keys.live(name), call)))) throw hostUnknown(name)
  }

  async removeHost(name: string, call: Call): Promise<void> {
    await this.#decide(removeHost(name), call)
  }

  async #decide<T>(question: Question<T>, call: Call) {
    const decided = await decide(this.#store, { guess: (key) => this.#mirror.get(key), ...question }, call)
    this.#mirror.wrote(decided.write, decided.revision)
    return decided
  }

  /** No key hangs on it any more; left alone it would end by itself. */
  async #forget(lease: bigint, call: Call): Promise<void> {
    await this.#store.revokeLease(lease, call).catch(() => {})
  }

  #onChange(key: string, record: StoredRecord | undefined, listener: HostListener): void {
    if (key.startsWith(prefixes.hosts)) {
      const name = key.slice(prefixes.hosts.length)
      if (record === undefined) {
        this.#hosts.delete(name)
        listener.deleteHost(name)
      } else {
        const host = readHost(record)
        this.#hosts.set(name, host)
        listener.putHost({ name, vtep: host.vtep, revision: record.modRevision })
      }
    } else if (key.startsWith(prefixes.vniOf)) {
      const networkId = key.slice(prefixes.vniOf.length)
      if (record === undefined) this.#claims.delete(networkId)
      else this.#claims.set(networkId, { networkId, revision: record.modRevision })
    }
  }
}
