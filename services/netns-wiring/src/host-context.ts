/** What every part of the hands is given. */
import type { Bus } from '@heddle/bus'
import { type Call, type Clock, withCall, withService } from '@heddle/core'
import type { Kernel, Namespace } from '@heddle/kernel'
import type { Jobs, Runtime } from '@heddle/runtime'
import { ROOT_CONTEXT } from '@opentelemetry/api'
import type { Underlay } from './domain/network-shape.ts'

export interface HostContext {
  readonly host: string
  readonly version: string
  readonly kernel: Kernel
  readonly bus: Bus
  /** The host's own namespace: underlay, bridges of bridge networks, nftables. */
  readonly hostNs: Namespace
  readonly vxlanPort: number
  readonly clock: Clock
  readonly logger: Runtime['logger']
  readonly jobs: Jobs
  /** As last seen; undefined while the host has no usable underlay. */
  underlay: Underlay | undefined
}

/** Background work with its own deadline and its own trace. */
export function background<T>(context: HostContext, timeoutMs: number, signal: AbortSignal, body: (call: Call) => Promise<T>): Promise<T> {
  return withCall({ timeoutMs, signal, clock: context.clock, context: withService(ROOT_CONTEXT, 'netns-wiring') }, body)
}
