/** What a gateway can be told. `runDir` is that of the whole host, so it is a part, not configuration. */
import { z } from 'zod'

const timeoutMs = (ms: number) => z.int().min(100).max(600_000).default(ms)
const path = z.string().startsWith('/', 'use an absolute path')

export const gatewayConfig = z
  .strictObject({
    docker: z
      .strictObject({
        enabled: z.boolean().default(true),
        /** Where dockerd looks for `heddle.sock`. */
        pluginDir: path.default('/run/docker/plugins'),
        timeoutMs: timeoutMs(8000),
      })
      .prefault({}),
    cni: z.strictObject({ enabled: z.boolean().default(true), timeoutMs: timeoutMs(10_000) }).prefault({}),
    api: z
      .strictObject({
        timeoutMs: timeoutMs(15_000),
        /** `host:port` for mutual TLS; needs all three files. */
        listen: z.string().min(3).optional(),
        caFile: path.optional(),
        certFile: path.optional(),
        keyFile: path.optional(),
      })
      .refine(({ listen, caFile, certFile, keyFile }) => listen === undefined || [caFile, certFile, keyFile].every((file) => file !== undefined), {
        message: 'listen needs caFile, certFile and keyFile: the API is never on TCP without mutual TLS',
      })
      .prefault({}),
    /** How long a detach waits for brains that do not answer. */
    releaseTimeoutMs: timeoutMs(1000),
    /** Traces kept for `heddle trace`. */
    keepTraces: z.int().min(1).max(100_000).default(500),
  })
  .prefault({})

export type GatewayConfig = z.output<typeof gatewayConfig>
