/**
 * Which service answers where, derived from the definitions in `proto/`.
 * A brain is a queue group named after it; hands are one responder per host.
 */
import type { BinaryWriter } from '@bufbuild/protobuf/wire'
import { IpamDefinition } from './gen/heddle/v1/ipam.ts'
import { NetworksDefinition } from './gen/heddle/v1/networks.ts'
import { OverlayDefinition } from './gen/heddle/v1/overlay.ts'
import { VfAllocatorDefinition } from './gen/heddle/v1/vf.ts'
import { WiringDefinition } from './gen/heddle/v1/wiring.ts'

/** How ts-proto describes a message: its codec. */
export interface Codec<T> {
  encode(message: T, writer?: BinaryWriter): BinaryWriter
  decode(bytes: Uint8Array): T
  fromJSON(json: unknown): T
  toJSON(message: T): unknown
  fromPartial(partial: object): T
}

export interface MethodDefinition<Request = unknown, Response = unknown> {
  readonly name: string
  readonly requestType: Codec<Request>
  readonly responseType: Codec<Response>
  readonly requestStream: false
  readonly responseStream: false
  readonly options: { readonly idempotencyLevel?: 'IDEMPOTENT' | 'NO_SIDE_EFFECTS' }
}

export interface ServiceDefinition {
  readonly name: string
  readonly fullName: string
  readonly methods: Readonly<Record<string, MethodDefinition<any, any>>>
}

/** Request type of a method, with every field optional as a caller writes it. */
export type RequestOf<M> = M extends { requestType: Codec<infer T> } ? T : never
export type ResponseOf<M> = M extends { responseType: Codec<infer T> } ? T : never

/** Any field may be left out; what is left out has its proto default. */
export type Partially<T> = T extends bigint | string | number | boolean | Uint8Array
  ? T
  : T extends readonly (infer U)[]
    ? Partially<U>[]
    : { [K in keyof T]?: Partially<T[K]> | undefined }

export type Scope = 'cluster' | 'host'

export interface BusService<S extends ServiceDefinition = ServiceDefinition> {
  readonly definition: S
  /** `cluster`: any replica answers; `host`: the subject's last token is the host that answers. */
  readonly scope: Scope
  /** Queue group, and the name of the workspace service that answers. */
  readonly queue: string
}

/** Every service on the bus. `test/contract.test.ts` proves that each method has one subject and one handler. */
export const busServices = {
  ipam: { definition: IpamDefinition, scope: 'cluster', queue: 'ipam' },
  networks: { definition: NetworksDefinition, scope: 'cluster', queue: 'networks' },
  overlay: { definition: OverlayDefinition, scope: 'cluster', queue: 'overlay' },
  vfAllocator: { definition: VfAllocatorDefinition, scope: 'cluster', queue: 'vf-allocator' },
  wiring: { definition: WiringDefinition, scope: 'host', queue: 'netns-wiring' },
} as const satisfies Record<string, BusService>
