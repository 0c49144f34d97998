/** The gateway: its parts, put together. */
import { join } from 'node:path'
import type { Bus } from '@heddle/bus'
import { eventSubjects, SpanBatch } from '@heddle/contract'
import type { ServiceMain } from '@heddle/runtime'
import { apiHandlers } from './api/handlers.ts'
import { ApiServer } from './api/server.ts'
import { clusterOf } from './cluster.ts'
import { CniServer } from './cni/server.ts'
import { type GatewayConfig, gatewayConfig } from './config.ts'
import { dockerRoutes } from './docker/routes.ts'
import { DockerServer } from './docker/server.ts'
import { NetworkDirectory } from './flows/directory.ts'
import { EndpointQueue } from './flows/endpoint-queue.ts'
import { TraceRing } from './traces/ring.ts'

export interface GatewayParts {
  readonly bus: Bus
  /** Directory of the sockets `heddle.sock` and `cni.sock`. */
  readonly runDir: string
}

const healthIntervalMs = 2000

export const gatewayService: ServiceMain<GatewayParts, GatewayConfig> = {
  name: 'gateway',
  summary: "the door: Docker's and CNI's plugin protocols and the public gRPC API",
  config: gatewayConfig,
  build(runtime, { bus, runDir }, config) {
    const { host, jobs, clock, logger } = runtime
    const cluster = clusterOf(bus, host)
    const endpoints = new EndpointQueue()
    const parts = { cluster, directory: new NetworkDirectory(cluster), endpoints, jobs, clock, logger, releaseTimeoutMs: config.releaseTimeoutMs }

    const traces = new TraceRing(config.keepTraces)
    runtime.onSpans((origin, spans) => {
      if (origin === host) traces.add(spans)
    })
    let spans: { close(): void } | undefined
    runtime.hook({
      name: 'traces',
      start: async () => {
        spans = bus.subscribe(eventSubjects.spans(host), SpanBatch, (batch) => traces.add(batch.spans))
      },
      stop: async () => spans?.close(),
    })
    runtime.hook({ name: 'endpoint operations', stop: () => endpoints.idle() })

    const sockets = [
      { what: 'api', path: join(runDir, 'heddle.sock') },
      ...(config.cni.enabled ? [{ what: 'cni', path: join(runDir, 'cni.sock') }] : []),
      ...(config.docker.enabled ? [{ what: 'docker', path: join(config.docker.pluginDir, 'heddle.sock') }] : []),
    ]
    const { listen, caFile, certFile, keyFile } = config.api
    const tls = caFile === undefined || certFile === undefined || keyFile === undefined ? undefined : { ca: caFile, cert: certFile, key: keyFile }
    const handlers = apiHandlers({ ...parts, busStatus: () => bus.status, sockets: () => sockets }, traces)
    const api = new ApiServer(parts, handlers, { path: join(runDir, 'heddle.sock'), timeoutMs: config.api.timeoutMs, listen, tls })
    runtime.hook({ name: 'api', start: () => api.start(), stop: (signal) => api.stop(signal) })
    jobs.every('gateway health', healthIntervalMs, async () => api.serving(runtime.health().ready))

    if (config.cni.enabled) {
      const cni = new CniServer(parts, { path: join(runDir, 'cni.sock'), timeoutMs: config.cni.timeoutMs })
      runtime.hook({ name: 'cni', start: () => cni.start(), stop: (signal) => cni.stop(signal) })
    }
    if (config.docker.enabled) {
      const path = join(config.docker.pluginDir, 'heddle.sock')
      const docker = new DockerServer(parts, { path, timeoutMs: config.docker.timeoutMs, routes: dockerRoutes(parts) })
      runtime.hook({ name: 'docker', start: () => docker.start(), stop: (signal) => docker.stop(signal) })
    }
  },
}
