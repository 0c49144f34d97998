/** The `gateway` section of the configuration. */
import { z } from 'zod'
import { dockerScopes } from './docker/scope.ts'

const timeoutMs = (ms: number) => z.int().min(100).max(600_000).default(ms)
const path = z.string().startsWith('/', 'use an absolute path')

const tls = z.strictObject({
  caFile: path.describe('PEM of the authority that signs clients'),
  certFile: path.describe("PEM of the gateway's own certificate"),
  keyFile: path.describe('PEM of its key'),
})

export const gatewayConfig = z.strictObject({
  runDir: path.default('/run/heddle').describe('Directory of the sockets heddle.sock and cni.sock'),
  dockerPluginDir: path.default('/run/docker/plugins').describe('Where dockerd looks for heddle.sock and sriov.sock'),
  docker: z
    .strictObject({
      enabled: z.boolean().default(true),
      sriov: z.boolean().default(true).describe('Answers as the driver `sriov` too, with the options of the plugins that had this name before'),
      scope: z
        .enum(dockerScopes)
        .default('local')
        .describe("global: a swarm's manager makes networks for all its nodes; the same on every node, and dockerd learns of it when it starts"),
      timeoutMs: timeoutMs(8000).describe('A plugin call is answered by then; dockerd itself would wait for ever'),
      socket: z
        .union([path, z.literal('')])
        .default('/var/run/docker.sock')
        .describe("Docker's own API, asked which container an endpoint is for; empty: it is not asked, and Docker's endpoints have no container's name"),
    })
    .prefault({}),
  cni: z
    .strictObject({
      enabled: z.boolean().default(true),
      timeoutMs: timeoutMs(10_000),
      deviceInfoDir: path
        .default('/var/run/k8s.cni.cncf.io/devinfo/cni')
        .describe('The only directory in which files of the capability CNIDeviceInfoFile are written'),
    })
    .prefault({}),
  api: z
    .strictObject({
      timeoutMs: timeoutMs(15_000),
      tcp: z
        .strictObject({ listen: z.string().min(3), ...tls.shape })
        .optional()
        .describe('host:port of the API for other machines; mutual TLS always'),
    })
    .prefault({}),
  dns: z
    .strictObject({
      listen: z
        .array(z.string().regex(/^(\d+(\.\d+){3}|\[[0-9a-fA-F:]+\]):\d{1,5}$/, 'use ADDRESS:PORT, or [ADDRESS]:PORT'))
        .max(64)
        .default([])
        .describe('Where containers and sandboxes are answered by the names of one another; empty: nowhere'),
      zone: z
        .string()
        .regex(/^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*$/, 'use a domain in lower case, without a final dot')
        .default('heddle')
        .describe('Names are CONTAINER.NETWORK.ZONE'),
      ttlSeconds: z.int().min(0).max(86_400).default(5).describe('How long a resolver may keep an answer'),
    })
    .prefault({}),
  kubelet: z
    .strictObject({
      enabled: z.boolean().default(true).describe('Offers pools of VFs that have a resource name to the kubelet, where there is one'),
      pluginDir: path.default('/var/lib/kubelet/device-plugins').describe("The kubelet's directory of device plugins; nothing is done while it does not exist"),
      podResourcesSocket: path
        .default('/var/lib/kubelet/pod-resources/kubelet.sock')
        .describe('Tells which pods have which devices; without it no reservation ever ends'),
      deviceInfoDir: path.default('/var/run/k8s.cni.cncf.io/devinfo/dp').describe('Where meta-plugins look for the files of devices given out'),
      timeoutMs: timeoutMs(10_000),
      refreshMs: z.int().min(50).max(60_000).default(1000).describe('How often pools, VFs and the sockets are looked at'),
      takeBackMs: z.int().min(50).max(600_000).default(10_000).describe('How often the kubelet is asked which pods have which devices'),
      releaseAfterMs: z.int().min(0).max(3_600_000).default(30_000).describe('How long no pod may have had a device before its reservation ends'),
    })
    .prefault({}),
  releaseTimeoutMs: timeoutMs(1000).describe('How long a detach waits for brains that do not answer before it leaves the rest to their sweeps'),
  keepTraces: z.int().min(1).max(100_000).default(500).describe('Traces kept for `heddle trace`'),
})

export type GatewayConfig = z.output<typeof gatewayConfig>
export type KubeletConfig = GatewayConfig['kubelet']
