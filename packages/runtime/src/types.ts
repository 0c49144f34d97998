/** The life of a process and of the services in it. */

import type { Span } from '@heddle/contract'
import type { Clock } from '@heddle/core'
import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import type { z } from 'zod'

/** Something that starts and stops. Started in order of registration, stopped in reverse; a failed start stops what had started. */
export interface Hook {
  readonly name: string
  start?(signal: AbortSignal): Promise<void>
  stop?(signal: AbortSignal): Promise<void>
}

/** Background work. The only place that leaves a promise un-awaited; failures are logged, never lost. */
export interface Jobs {
  /** Every `intervalMs` (+-10 %), never overlapping itself; once at once when `immediately`. */
  every(name: string, intervalMs: number, task: (signal: AbortSignal) => Promise<void>, options?: { readonly immediately?: boolean }): void
  /** Once, in the background. */
  once(name: string, task: (signal: AbortSignal) => Promise<void>): void
  /** Aborts everything and waits for it. */
  stop(): Promise<void>
}

export interface HealthReport {
  readonly ready: boolean
  readonly checks: Readonly<Record<string, { readonly ok: boolean; readonly message: string }>>
}

/** What a service is given. One process has one; a service adds its hooks to the lifecycle. */
export interface Runtime {
  readonly host: string
  readonly version: string
  readonly logger: Logger
  readonly clock: Clock
  readonly jobs: Jobs
  readonly metrics: Registry
  /** Registers a start/stop pair; see Hook. */
  hook(hook: Hook): void
  /** A named condition of readiness. */
  check(name: string, probe: () => { readonly ok: boolean; readonly message: string }): void
  health(): HealthReport
  /** Spans finished in this process whose trace was started by `host`; the gateway keeps them, others forward them. */
  onSpans(listener: (originHost: string, spans: readonly Span[]) => void): void
}

/** A service of the workspace: the only export of its main.ts beside its config schema. */
export interface ServiceMain<Parts, Config> {
  /** ipam, networks, overlay, vf-allocator, netns-wiring, gateway. */
  readonly name: string
  readonly summary: string
  /** Schema of its section of the configuration. */
  readonly config: z.ZodType<Config>
  /** Builds its parts and registers hooks; nothing is started yet when it returns. */
  build(runtime: Runtime, parts: Parts, config: Config): void
}
