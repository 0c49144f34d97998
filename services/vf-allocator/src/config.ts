/** vf-allocator's section of the configuration. */
import { z } from 'zod'

export const vfAllocatorConfig = z.strictObject({
  /** How often claims are compared with endpoints. */
  sweepIntervalMs: z.int().min(100).default(10_000),
  /** How long a claim may have no endpoint, and a VF be gone before its claim is: attaching, and a start of a host, take that long at most. */
  graceMs: z.int().min(1_000).default(60_000),
  /** Requests handled at once; four times as many may wait. */
  concurrency: z.int().min(1).default(1_024),
})

export type VfAllocatorConfig = z.infer<typeof vfAllocatorConfig>
