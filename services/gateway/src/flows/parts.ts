/** What every flow is given. */
import type { Clock } from '@heddle/core'
import type { Jobs, Runtime } from '@heddle/runtime'
import type { Cluster } from '../cluster.ts'
import type { TraceRing } from '../traces/ring.ts'
import type { NetworkDirectory } from './directory.ts'
import type { EndpointQueue } from './endpoint-queue.ts'

export interface FlowParts {
  readonly cluster: Cluster
  readonly directory: NetworkDirectory
  readonly endpoints: EndpointQueue
  readonly jobs: Jobs
  readonly clock: Clock
  readonly logger: Runtime['logger']
  readonly traces: Pick<TraceRing, 'expect'>
  /** How long a detach waits for brains that do not answer before it leaves the rest to their sweeps. */
  readonly releaseTimeoutMs: number
}
