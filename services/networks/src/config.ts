/** Configuration of the networks service. */
import { z } from 'zod'

export const networksConfig = z.strictObject({
  /** Between two rounds of comparing endpoint records with the hosts' interfaces. */
  sweepIntervalMs: z.int().min(100).default(10_000),
  /** A record is not deleted before it has been seen unchanged for so long. */
  graceMs: z.int().min(0).default(30_000),
  /** The same for endpoints that were reserved and never wired. */
  reservedGraceMs: z.int().min(0).default(600_000),
  /** How long an interface of Docker's may wait on its host: dockerd brings it back there before it has an endpoint deleted. */
  waitingGraceMs: z.int().min(0).default(120_000),
  /** How long a host may take to say what it has. */
  hostTimeoutMs: z.int().min(100).default(3_000),
})

export type NetworksConfig = z.infer<typeof networksConfig>
