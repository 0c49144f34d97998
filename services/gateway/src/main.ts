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
import { DnsServer } from './dns/server.ts'
import { ContainerNames } from './docker/container-names.ts'
import { KnownEndpoints } from './docker/known-endpoints.ts'
import { driverNames } from './docker/options.ts'
import { dockerRoutes } from './docker/routes.ts'
import { DockerServer } from './docker/server.ts'
import { NetworkDirectory } from './flows/directory.ts'
import { EndpointQueue } from './flows/endpoint-queue.ts'
import { KubeletDoor } from './kubelet/door.ts'
import { TraceRing } from './traces/ring.ts'

export interface GatewayParts {
  readonly bus: Bus
}

const healthIntervalMs = 2000

export const gatewayService: ServiceMain<GatewayParts, GatewayConfig> = {
  name: 'gateway',
  summary: "the door: Docker's and CNI's plugin protocols and the public gRPC API",
  config: gatewayConfig,
  build(runtime, { bus }, config) {
    const { host, jobs, clock, logger } = runtime
    const cluster = clusterOf(bus, host)
    const endpoints = new EndpointQueue()
    const traces = new TraceRing(config.keepTraces)
    const parts = { cluster, directory: new NetworkDirectory(cluster), endpoints, jobs, clock, logger, traces, releaseTimeoutMs: config.releaseTimeoutMs }

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

    const paths = {
      api: join(config.runDir, 'heddle.sock'),
      cni: join(config.runDir, 'cni.sock'),
    }
    const drivers = driverNames.filter((name) => config.docker.enabled && (name === 'heddle' || config.docker.sriov))
    const dockerPath = (name: string) => join(config.dockerPluginDir, `${name}.sock`)
    const sockets = [
      { what: 'api', path: paths.api },
      ...(config.cni.enabled ? [{ what: 'cni', path: paths.cni }] : []),
      ...drivers.map((name) => ({ what: name === 'heddle' ? 'docker' : `docker ${name}`, path: dockerPath(name) })),
    ]
    const handlers = apiHandlers({ ...parts, busStatus: () => bus.status, sockets }, traces)
    const api = new ApiServer(parts, handlers, { path: paths.api, timeoutMs: config.api.timeoutMs, tcp: config.api.tcp })
    runtime.hook({ name: 'api', start: () => api.start(), stop: (signal) => api.stop(signal) })
    jobs.every('gateway health', healthIntervalMs, async () => api.serving(runtime.health().ready))

    if (config.cni.enabled) {
      const cni = new CniServer(parts, { path: paths.cni, ...config.cni })
      runtime.hook({ name: 'cni', start: () => cni.start(), stop: (signal) => cni.stop(signal) })
    }
    const known = new KnownEndpoints()
    const routes = dockerRoutes(parts, config.docker.scope, known)
    for (const name of drivers) {
      const docker = new DockerServer(parts, { path: dockerPath(name), timeoutMs: config.docker.timeoutMs, routes: routes[name] })
      runtime.hook({ name: name === 'heddle' ? 'docker' : `docker ${name}`, start: () => docker.start(), stop: (signal) => docker.stop(signal) })
    }
    if (drivers.length > 0 && config.docker.socket !== '') new ContainerNames(parts, known, config.docker.socket).start()
    if (config.dns.listen.length > 0) {
      const dns = new DnsServer(parts, config.dns)
      runtime.hook({ name: 'dns', start: () => dns.start(), stop: () => dns.stop() })
    }
    if (config.kubelet.enabled) {
      const kubelet = new KubeletDoor(parts, config.kubelet)
      runtime.hook({ name: 'kubelet', start: async () => kubelet.start(), stop: () => kubelet.stop() })
    }
  },
}
