/** What `heddle trace` shows of the plugin calls of each door. */

import { credentials, Metadata } from '@grpc/grpc-js'
import type { TraceSummary } from '@heddle/contract'
import { HeddleClient } from '@heddle/contract'
import anyTest, { type TestFn } from 'ava'
import { connect, createNetwork, disconnect, EndpointID, ids } from '../testing/docker-calls.ts'
import { startGateway, type TestGateway } from '../testing/gateway.ts'
import { addEnv, blueConfig } from '../testing/networks.ts'

const test = anyTest as TestFn<{ gateway: TestGateway; client: HeddleClient }>

test.beforeEach(async (t) => {
  const gateway = await startGateway()
  t.context = { gateway, client: new HeddleClient(`unix:${gateway.sockets.api}`, credentials.createInsecure()) }
})
test.afterEach.always(async (t) => {
  t.context.client.close()
  await t.context.gateway.stop()
})

/** The traces that are kept, once there is one of whose name `wanted` says so. */
async function tracesWith(client: HeddleClient, wanted: (trace: TraceSummary) => boolean): Promise<TraceSummary[]> {
  for (;;) {
    const traces = await new Promise<TraceSummary[]>((resolve, reject) =>
      client.listTraces({ limit: 100 }, new Metadata(), (error, answer) => (error === null ? resolve(answer.traces) : reject(error))),
    )
    if (traces.some(wanted)) return traces
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

test("Docker's calls for an endpoint are one trace when it is connected and one when it is disconnected", async (t) => {
  const { gateway, client } = t.context
  const network = await createNetwork(gateway, {})
  const { Address } = await connect(gateway, network)
  await gateway.docker.call('NetworkDriver.RevokeExternalConnectivity', ids)
  await disconnect(gateway, network, Address)
  const traces = await tracesWith(client, ({ name }) => name.includes('DeleteEndpoint'))
  const ofEndpoint = traces.filter(({ attributes }) => attributes['heddle.endpoint'] === EndpointID)
  t.deepEqual(ofEndpoint.map(({ name }) => name).sort(), [
    'docker NetworkDriver.CreateEndpoint, docker NetworkDriver.Join',
    'docker NetworkDriver.RevokeExternalConnectivity, docker NetworkDriver.DeleteEndpoint',
  ])
})

test('a call that is refused before it begins is a trace that failed', async (t) => {
  const { gateway, client } = t.context
  await gateway.cni({ ...addEnv, CNI_CONTAINERID: '../x' }, blueConfig)
  await gateway.cni({ ...addEnv, CNI_COMMAND: 'DEL', TRACEPARENT: `00-${'c'.repeat(32)}-${'d'.repeat(16)}-01` }, '{')
  await gateway.docker.raw('NetworkDriver.Join', { text: '' })
  const traces = await tracesWith(client, ({ name }) => name === 'docker NetworkDriver.Join')
  t.deepEqual(traces.map(({ name, failed }) => [name, failed]).sort(), [
    ['cni ADD', true],
    ['cni DEL', true],
    ['docker NetworkDriver.Join', true],
  ])
  t.is(traces.find(({ name }) => name === 'cni DEL')?.traceId, 'c'.repeat(32))
})
