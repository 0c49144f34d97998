/** The `gateway` section of the configuration. */
import { z } from 'zod'

const timeoutMs = (ms: number) => z.int().min(100).max(600_000).default(ms)
const path = z.string().startsWith('/', 'use an absolute path')

const tls = z.strictObject({
  caFile: path.describe('PEM of the authority that signs clients'),
  certFile: path.describe("PEM of the gateway's own certificate"),
  keyFile: path.describe('PEM of its key'),
})

export const gatewayConfig = z.strictObject({
  runDir: path.default('/run/heddle').describe('Directory of the sockets heddle.sock and cni.sock'),
  dockerPluginDir: path.default('/run/docker/plugins').describe('Where dockerd looks for heddle.sock'),
  docker: z
    .strictObject({
      enabled: z.boolean().default(true),
      timeoutMs: timeoutMs(8000).describe('A plugin call is answered by then; dockerd itself would wait for ever'),
    })
    .prefault({}),
  cni: z.strictObject({ enabled: z.boolean().default(true), timeoutMs: timeoutMs(10_000) }).prefault({}),
  api: z
    .strictObject({
      timeoutMs: timeoutMs(15_000),
      tcp: z
        .strictObject({ listen: z.string().min(3), ...tls.shape })
        .optional()
        .describe('host:port of the API for other machines; mutual TLS always'),
    })
    .prefault({}),
  releaseTimeoutMs: timeoutMs(1000).describe('How long a detach waits for brains that do not answer before it leaves the rest to their sweeps'),
  keepTraces: z.int().min(1).max(100_000).default(500).describe('Traces kept for `heddle trace`'),
})

export type GatewayConfig = z.output<typeof gatewayConfig>
