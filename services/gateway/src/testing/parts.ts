/** The parts of flows, without any door. */
import { createRuntime } from '@heddle/runtime'
import { clusterOf } from '../cluster.ts'
import { NetworkDirectory } from '../flows/directory.ts'
import { EndpointQueue } from '../flows/endpoint-queue.ts'
import type { FlowParts } from '../flows/parts.ts'
import { FakeCluster, testHost } from './fake-cluster.ts'

export async function startParts(shared?: FakeCluster) {
  const fake = shared ?? (await new FakeCluster().start())
  const runtime = createRuntime({ name: 'gateway', host: testHost, version: 'test', log: { level: 'silent', pretty: false } })
  await runtime.start()
  const cluster = clusterOf(fake.bus, testHost)
  const { jobs, clock, logger } = runtime
  const traces = { expect: () => {} }
  const parts: FlowParts = {
    cluster,
    directory: new NetworkDirectory(cluster),
    endpoints: new EndpointQueue(),
    jobs,
    clock,
    logger,
    traces,
    releaseTimeoutMs: 100,
  }
  return { fake, parts, stop: () => runtime.stop(1000) }
}
