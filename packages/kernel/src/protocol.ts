/** Messages between the main thread and the netlink thread. Plain data only: they are cloned. */
import type { DeviceEvent, LinkEvent, Namespace, NftElement, NftSet, Question, Step, StepOutcome } from './types.ts'
import type { Failure } from './worker/failures.ts'

export type Request =
  | { readonly kind: 'run'; readonly steps: readonly Step[] }
  | { readonly kind: 'look'; readonly steps: readonly Step[]; readonly questions: readonly Question[] }
  | { readonly kind: 'remove'; readonly ns: Namespace; readonly name: string }
  | { readonly kind: 'link' | 'vfs'; readonly ns: Namespace; readonly name: string }
  | { readonly kind: 'links'; readonly ns: Namespace }
  | { readonly kind: 'routes'; readonly ns: Namespace; readonly table: number | undefined }
  | { readonly kind: 'addresses'; readonly ns: Namespace; readonly linkIndex: number | undefined }
  | { readonly kind: 'neighbours'; readonly ns: Namespace; readonly linkIndex: number | undefined }
  | { readonly kind: 'createNamespace' | 'deleteNamespace'; readonly path: string }
  | { readonly kind: 'watch'; readonly ns: Namespace; readonly watch: number }
  | { readonly kind: 'watchDevices' | 'unwatch'; readonly watch: number }
  | { readonly kind: 'nftLoad'; readonly ns: Namespace; readonly ruleset: string }
  | { readonly kind: 'nftElements'; readonly ns: Namespace; readonly set: NftSet; readonly add: readonly NftElement[]; readonly remove: readonly NftElement[] }
  | { readonly kind: 'nftList'; readonly ns: Namespace; readonly set: NftSet }
  | { readonly kind: 'quit' }

export interface Command {
  readonly id: number
  /** Unix milliseconds after which nobody waits any more: a command still queued then is not begun. */
  readonly expiresAtMs: number
  readonly request: Request
}

export type Reply =
  | { readonly id: number; readonly startMs: number; readonly endMs: number; readonly value: unknown }
  | { readonly id: number; readonly startMs: number; readonly endMs: number; readonly failure: Failure; readonly outcomes?: readonly StepOutcome[] }

export type Notice =
  /** Sent once; a write to the event descriptor makes the thread look at its queue. */
  | { readonly eventFd: number }
  /** To be closed by the receiver. */
  | { readonly closeFd: number }
  | WatchNotice

export type WatchNotice =
  | { readonly watch: number; readonly events: readonly Omit<LinkEvent, 'ns'>[] }
  | { readonly watch: number; readonly devices: readonly DeviceEvent[] }
  /** Notifications were lost. */
  | { readonly watch: number; readonly overrun: true }

export interface WorkerSettings {
  readonly own: string | undefined
  readonly residents: readonly string[]
  /** [0] set: stop at once. The rest: descriptors the thread has open. */
  readonly control: Int32Array<SharedArrayBuffer>
}
