/**
 * The only importer of etcd3, used as a connection pool with typed stubs and nothing more: its retries repeat writes, its
 * watcher skips events after a second cut, its lease notices a loss one time to live too late.
 */
import { type CallInvocationTransformer, type CallOptions, InterceptingCall, type Interceptor, type ServiceError, status } from '@grpc/grpc-js'
import { type Clock, HeddleError, systemClock } from '@heddle/core'
import { noop } from 'cockatiel'
import * as etcd3 from 'etcd3'
import { type EtcdPort, type EtcdReason, etcdFailure, type Logger, type RangeReply, type RangeRequest, type WatchRange, type WatchReply } from './port.ts'
import { EtcdStore } from './store.ts'
import type { Committed, Store, StoredRecord, Transaction } from './types.ts'
import { decodeOutcomes, decodeWatchReply, encodeTransactions } from './wire.ts'

export interface StoreOptions {
  /** `http://address:port` or `https://...`, each a member of one cluster. Addresses, not names, on hosts that must survive a name server. */
  readonly endpoints: readonly string[]
  readonly logger: Logger
  readonly clock?: Clock
}

/** Connects in the background; until etcd answers, calls wait for it within their deadlines. */
export function connectStore(options: StoreOptions): Store {
  const clock = options.clock ?? systemClock
  return new EtcdStore(new Etcd3Port(options.endpoints), options.logger, clock)
}

/** The busy methods read and write their own bytes; what etcd3's stubs are given and give for them is what stands here. */
const ownCodecs: Readonly<Record<string, Partial<Parameters<CallInvocationTransformer>[0]['methodDefinition']>>> = {
  '/etcdserverpb.KV/Txn': { requestSerialize: encodeTransactions, responseDeserialize: decodeOutcomes },
  '/etcdserverpb.Watch/Watch': { responseDeserialize: decodeWatchReply },
}

const callInvocationTransformer: CallInvocationTransformer = (properties) => ({
  ...properties,
  methodDefinition: { ...properties.methodDefinition, ...ownCodecs[properties.methodDefinition.path] },
})

const grpcOptions = {
  callInvocationTransformer,
  // A peer that went away without a word is noticed after 15 s; etcd refuses pings more often than every 5 s.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 1_000,
  // Pages and watch fragments stay below 4 MiB unless values are large.
  'grpc.max_receive_message_length': 64 << 20,
}

/** Without it a member that lost its cluster keeps a watch open and silent for ever. */
const requireLeader: Interceptor = (options, nextCall) =>
  new InterceptingCall(nextCall(options), {
    start(metadata, listener, next) {
      metadata.set('hasleader', 'true')
      next(metadata, listener)
    },
  })

export class Etcd3Port implements EtcdPort {
  readonly #client: etcd3.Etcd3

  constructor(endpoints: readonly string[]) {
    this.#client = new etcd3.Etcd3({ hosts: [...endpoints], grpcOptions, faultHandling: { host: () => noop, global: noop } })
  }

  async range(request: RangeRequest, withinMs: number): Promise<RangeReply> {
    const { header, kvs, more } = await this.#unary(
      this.#client.kv.range(
        {
          key: Buffer.from(request.key),
          ...(request.rangeEnd && { range_end: request.rangeEnd }),
          ...(request.limit && { limit: request.limit }),
          ...(request.revision && { revision: String(request.revision) }),
        },
        within(withinMs),
      ),
    )
    return { clusterId: header.cluster_id, revision: BigInt(header.revision), records: kvs.map(toRecord), more }
  }

  async transact(transactions: readonly Transaction[], withinMs: number): Promise<readonly Committed[]> {
    const outcomes: unknown = await this.#unary(this.#client.kv.txn(transactions as unknown as etcd3.ITxnRequest, within(withinMs)))
    return outcomes as readonly Committed[]
  }

  async grantLease(ttlSeconds: number, withinMs: number): Promise<{ id: bigint; ttlSeconds: number }> {
    const { ID, TTL } = await this.#unary(this.#client.leaseClient.leaseGrant({ TTL: ttlSeconds, ID: 0 }, within(withinMs)))
    return { id: BigInt(ID), ttlSeconds: Number(TTL) }
  }

  /** A stream for each renewal: nothing to resume, and its deadline is the renewal's. */
  async keepLeaseAlive(id: bigint, withinMs: number): Promise<number> {
    const reply = Promise.withResolvers<number>()
    const stream = await this.#unary(this.#client.leaseClient.leaseKeepAlive(within(withinMs)))
    stream.on('data', ({ TTL }) => {
      reply.resolve(Number(TTL))
      stream.end()
    })
    stream.on('error', reply.reject)
    stream.on('end', () => reply.reject(etcdFailure('no-reply', 'unavailable', 'etcd ended a lease stream without a reply')))
    stream.write({ ID: String(id) })
    return this.#unary(reply.promise)
  }

  async revokeLease(id: bigint, withinMs: number): Promise<void> {
    await this.#unary(this.#client.leaseClient.leaseRevoke({ ID: String(id) }, within(withinMs)))
  }

  watch(ranges: readonly WatchRange[], onReply: (reply: WatchReply) => void, onEnd: (error: HeddleError) => void): { cancel(): void } {
    let cancelled = false
    let cancel = () => {}
    const end = (error: unknown) => {
      if (!cancelled) onEnd(toHeddleError(error))
      cancelled = true
    }
    this.#client.watchClient.watch({ interceptors: [requireLeader] }).then((stream) => {
      cancel = () => {
        // Ended first: etcd3 takes a cancelled stream that is still writable for a fault of the host and drops its connections.
        stream.end()
        stream.cancel()
      }
      stream.on('error', end)
      stream.on('end', () => end(etcdFailure('no-reply', 'unavailable', 'etcd ended the watch stream')))
      if (cancelled) return cancel()
      stream.on('data', (reply: unknown) => {
        if (!cancelled) onReply(reply as WatchReply)
      })
      for (const range of ranges) stream.write({ create_request: toWatchRequest(range) })
    }, end)
    return {
      cancel() {
        cancelled = true
        cancel()
      },
    }
  }

  close(): void {
    this.#client.close()
  }

  async #unary<T>(reply: Promise<T>): Promise<T> {
    try {
      return await reply
    } catch (error) {
      throw toHeddleError(error)
    }
  }
}

function within(ms: number): CallOptions {
  return { deadline: Date.now() + Math.ceil(ms) }
}

function toWatchRequest(range: WatchRange) {
  return {
    watch_id: range.id,
    key: Buffer.from(range.key),
    ...(range.rangeEnd && { range_end: range.rangeEnd }),
    start_revision: String(range.startRevision),
    progress_notify: true,
    fragment: true,
  }
}

function toRecord({ key, value, create_revision, mod_revision }: etcd3.IKeyValue): StoredRecord {
  return { key: key.toString(), value: value.toString(), createRevision: BigInt(create_revision), modRevision: BigInt(mod_revision) }
}

function toHeddleError(error: unknown): HeddleError {
  if (HeddleError.is(error)) return error
  const cause = error instanceof Error ? error : new Error(String(error))
  const { reason, code, remedy } = classify(cause)
  return etcdFailure(reason, code, `etcd: ${cause.message.replace(/^\w+: /, '')}`, { cause, remedy })
}

/** etcd3 turns gRPC statuses of unary calls into classes and leaves those of streams as they are. */
function classify(error: Error): { reason: EtcdReason; code: 'unavailable' | 'deadline-exceeded' | 'internal'; remedy?: string } {
  const is = (kind: abstract new (...args: never[]) => Error, code: status) => error instanceof kind || (error as Partial<ServiceError>).code === code
  if (/has been compacted/.test(error.message)) return { reason: 'compacted', code: 'unavailable' }
  if (/future revision/.test(error.message)) return { reason: 'compacted', code: 'unavailable' }
  if (/lease not found/.test(error.message)) return { reason: 'lease-gone', code: 'unavailable', remedy: 'register again with a new lease' }
  if (/database space exceeded/.test(error.message))
    return { reason: 'refused', code: 'unavailable', remedy: 'compact and defragment etcd, then clear its alarm (etcdctl alarm disarm)' }
  if (is(etcd3.GRPCInvalidArgumentError, status.INVALID_ARGUMENT)) return { reason: 'malformed', code: 'internal' }
  if (is(etcd3.GRPCResourceExhastedError, status.RESOURCE_EXHAUSTED)) return { reason: 'refused', code: 'unavailable' }
  if (is(etcd3.GRPCUnauthenticatedError, status.UNAUTHENTICATED) || is(etcd3.EtcdPermissionDeniedError, status.PERMISSION_DENIED)) {
    return { reason: 'refused', code: 'unavailable', remedy: "check the credentials for etcd in Heddle's configuration" }
  }
  if (error instanceof etcd3.ClientClosedError) return { reason: 'refused', code: 'unavailable' }
  if (is(etcd3.GRPCDeadlineExceededError, status.DEADLINE_EXCEEDED))
    return { reason: 'no-reply', code: 'deadline-exceeded', remedy: 'see whether etcd answers' }
  return { reason: 'no-reply', code: 'unavailable', remedy: 'see whether etcd runs and can be reached' }
}
