/** One method of Docker's plugin protocol. */
import type { Call } from '@heddle/core'
import type { Attributes } from '@opentelemetry/api'
import type { z } from 'zod'

export interface RouteTrace {
  readonly attributes: Attributes
  /** The endpoint id, or what else identifies the work. */
  readonly key: string
  /** Makes separate calls for one endpoint one trace; absent: a trace of its own. */
  readonly traceparent?: string
}

export interface Route {
  /** Absent: the method has no request, and whatever is sent is ignored. */
  readonly schema: z.ZodType | undefined
  /** Absent: a constant or local answer, not worth a trace. */
  readonly trace: ((body: unknown) => RouteTrace) | undefined
  readonly handle: (body: unknown, call: Call) => Promise<object>
}

/** A method whose request has a body. */
export function route<S extends z.ZodType>(
  schema: S,
  handle: (body: z.output<S>, call: Call) => Promise<object>,
  trace?: (body: z.output<S>) => RouteTrace,
): Route {
  return { schema, handle: handle as Route['handle'], trace: trace as Route['trace'] }
}

/** A method that always answers the same. */
export function constant(answer: object): Route {
  return { schema: undefined, trace: undefined, handle: async () => answer }
}
