/** Configuration of the overlay service. */
import { z } from 'zod'

export const overlayConfig = z.strictObject({
  /** A host that has not been heard of for so long is not alive. etcd makes at least 2 s of it. */
  hostTtlMs: z.int().min(1_000).default(10_000),
  /** Between two beats of each network's peer table. */
  beatIntervalMs: z.int().min(100).default(5_000),
  /** So long a freed VNI is given to nobody. */
  vniRestMs: z.int().min(1_000).default(600_000),
  /** Between two rounds of comparing VNI claims with networks. */
  sweepIntervalMs: z.int().min(100).default(30_000),
  /** A claim without a network is left alone for so long: the network may be on its way. */
  vniGraceMs: z.int().min(0).default(120_000),
})

export type OverlayConfig = z.infer<typeof overlayConfig>
