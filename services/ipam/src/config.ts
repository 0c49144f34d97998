/** ipam's section of the configuration. */
import { z } from 'zod'

export const ipamConfig = z.strictObject({
  /** How often claims are compared with endpoints. */
  sweepIntervalMs: z.int().min(100).default(10_000),
  /** How long a claim may have no endpoint: attaching takes that long at most. */
  graceMs: z.int().min(1_000).default(60_000),
  /** How long Docker may take from asking for an address to naming the endpoint, and anybody from a pool to its network. */
  provisionalGraceMs: z.int().min(1_000).default(120_000),
  /** Requests handled at once; four times as many may wait. */
  concurrency: z.int().min(1).default(1_024),
})

export type IpamConfig = z.infer<typeof ipamConfig>
