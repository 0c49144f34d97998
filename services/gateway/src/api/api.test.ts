import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { Client, credentials, loadPackageDefinition, Metadata, type ServiceError } from '@grpc/grpc-js'
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader'
import { CreateNetworkRequest, descriptorSetUrl, Failure, HeddleClient, type Network } from '@heddle/contract'
import { HeddleError } from '@heddle/core'
import anyTest, { type TestFn } from 'ava'
import { protoPath } from 'grpc-health-check'
import { startGateway, type TestGateway } from '../testing/gateway.ts'
import { addBlue, addEnv, blueConfig } from '../testing/networks.ts'
import { failureTrailer } from './service.ts'

const test = anyTest as TestFn<{ gateway: TestGateway; client: HeddleClient }>

test.beforeEach(async (t) => {
  const gateway = await startGateway()
  t.context = { gateway, client: new HeddleClient(`unix:${gateway.sockets.api}`, credentials.createInsecure()) }
})
test.afterEach.always(async (t) => {
  t.context.client.close()
  await t.context.gateway.stop()
})

/** One unary call as a promise. */
function ask<Request, Response>(client: HeddleClient, method: keyof HeddleClient, request: Request): Promise<Response> {
  return new Promise((resolve, reject) => {
    const send = client[method] as (request: Request, metadata: Metadata, done: (error: ServiceError | null, response: Response) => void) => void
    send.call(client, request, new Metadata(), (error, response) => (error === null ? resolve(response) : reject(error)))
  })
}

const failureOf = async (promise: Promise<unknown>) => {
  const error = (await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )) as ServiceError
  return { status: error.code, failure: Failure.decode(error.metadata.get(failureTrailer)[0] as Buffer) }
}

test('a network is created, shown by name and id, and deleted', async (t) => {
  const { client } = t.context
  const request = CreateNetworkRequest.fromPartial({ name: 'green', subnets: [{ prefix: '10.5.0.0/16' }], vni: 5005 })
  const { network, created } = await ask<object, { network: Network; created: boolean }>(client, 'createNetwork', request)
  t.like({ ...network, created }, { name: 'green', kind: 'overlay', vni: 5005, createdBy: 'cli', created: true })
  for (const name of ['green', network.id])
    t.like(await ask(client, 'getNetwork', { name }), { network: { id: network.id }, pools: [{ pool: { prefix: '10.5.0.0/16' } }], endpoints: [] })
  t.like(await ask(client, 'listNetworks', {}), { networks: [{ name: 'green' }] })
  t.like(await ask(client, 'listAddressPools', {}), { pools: [{ claimed: 0n }] })
  t.deepEqual(await ask(client, 'deleteNetwork', { name: 'green' }), {})
  t.deepEqual(await ask(client, 'listNetworks', {}), { networks: [] })
})

test('an endpoint is found by the beginning of its id, with its claims and what differs in the kernel', async (t) => {
  const { client, gateway } = t.context
  addBlue(gateway.cluster)
  await gateway.cni(addEnv, blueConfig)
  const [id] = gateway.cluster.endpoints.keys()
  t.like(await ask(client, 'getEndpoint', { id: id?.slice(0, 8) }), {
    endpoint: { containerId: 'c1' },
    claims: [{ address: '10.1.0.2' }, { address: 'fd00::2' }],
    differences: [],
  })
  gateway.cluster.interfaces.clear()
  t.like(await ask(client, 'getEndpoint', { id }), { differences: ['the interface is missing'] })
  gateway.cluster.faults.set('wiring', new HeddleError('internal', 'away'))
  t.like(await ask(client, 'getEndpoint', { id }), { differences: ['host h1 could not be asked: away'] })
  t.like(await ask(client, 'listEndpoints', { network: 'blue', host: 'h1' }), { endpoints: [{ id }] })
  t.deepEqual(await ask(client, 'listEndpoints', { network: 'blue', host: 'h2' }), { endpoints: [] })
  t.like(await ask(client, 'getAddressPool', { id: 'blue.10.1.0.0_24' }), { pool: { claimed: 1n }, claims: [{ owner: id }] })
  t.like(await ask(client, 'listHosts', {}), { hosts: [{ name: 'h1', alive: true }] })
})

test('a failure is a gRPC status and, in the trailer, the whole of it', async (t) => {
  const { client } = t.context
  t.like(await failureOf(ask(client, 'getNetwork', { name: 'red' })), {
    status: 5,
    failure: { code: 'network-unknown', field: 'name', remedy: 'list the networks with `heddle network ls`' },
  })
  t.like(await failureOf(ask(client, 'createNetwork', CreateNetworkRequest.fromPartial({ name: 'a b' }))), { status: 3, failure: { code: 'invalid-argument' } })
  for (const [method, request] of [
    ['getEndpoint', { id: 'nope' }],
    ['getEndpoint', { id: '' }],
    ['getAddressPool', { id: 'blue.10.9.0.0_16' }],
    ['getTrace', { traceId: 'nope' }],
    ['deleteNetwork', { name: '' }],
  ] as const) {
    t.truthy((await failureOf(ask(client, method, request))).failure.remedy, method)
  }
})

test('the last plugin calls are listed as traces, and looking at them is none', async (t) => {
  const { client, gateway } = t.context
  addBlue(gateway.cluster)
  const traceparent = `00-${'c'.repeat(32)}-${'d'.repeat(16)}-01`
  await gateway.cni({ ...addEnv, TRACEPARENT: traceparent }, blueConfig)
  await ask(client, 'listNetworks', {})
  let traces: { name: string; traceId: string; attributes: Record<string, string> }[] = []
  while (!traces.some((trace) => trace.name === 'cni ADD')) {
    await new Promise((resolve) => setTimeout(resolve, 10))
    traces = (await ask<object, { traces: typeof traces }>(client, 'listTraces', { limit: 0 })).traces
  }
  t.like(traces, [{ name: 'cni ADD', traceId: 'c'.repeat(32), attributes: { 'cni.container_id': 'c1', 'heddle.network': 'blue' } }])
  const { spans } = await ask<object, { spans: { parentSpanId: string; service: string }[] }>(client, 'getTrace', { traceId: 'last' })
  t.is(spans[0]?.parentSpanId, 'd'.repeat(16))
  t.is(spans[0]?.service, 'gateway')
  t.true(spans.length > 4)
})

test('diagnose names what does not answer and what to do', async (t) => {
  const { client, gateway } = t.context
  const levels = async () => {
    const { findings } = await ask<object, { findings: { level: string; subject: string; remedy: string }[] }>(client, 'diagnose', {})
    t.true(findings.every((finding) => finding.level === 'ok' || finding.remedy !== ''))
    return findings.filter((finding) => finding.level !== 'ok').map((finding) => finding.subject)
  }
  t.deepEqual(await levels(), [])
  rmSync(gateway.sockets.cni)
  t.deepEqual(await levels(), ['socket cni'])
  writeFileSync(gateway.sockets.cni, '')
  t.deepEqual(await levels(), ['socket cni'])
  gateway.cluster.hostAlive = false
  gateway.cluster.faults.set('ipam', new HeddleError('internal', 'etcd is away')).set('wiring', new HeddleError('internal', 'away'))
  t.deepEqual(await levels(), ['socket cni', 'ipam (and etcd behind it)', 'overlay', 'netns-wiring'])
})

test('the sockets are for their owner alone', (t) => {
  for (const path of Object.values(t.context.gateway.sockets)) t.is(statSync(path).mode & 0o777, 0o600, path)
})

test('health and reflection answer like those of any gRPC server', async (t) => {
  const { gateway } = t.context
  const { loadSync } = await import('@grpc/proto-loader')
  const health = loadPackageDefinition(loadSync(protoPath)) as any
  const address = `unix:${gateway.sockets.api}`
  const client = new health.grpc.health.v1.Health(address, credentials.createInsecure())
  const status = await new Promise((resolve, reject) =>
    client.check({ service: 'heddle.v1.Heddle' }, (error: unknown, answer: { status: unknown }) => (error ? reject(error) : resolve(answer.status))),
  )
  t.true(status === 'SERVING' || status === 1)
  client.close()
  const reflection = loadPackageDefinition(
    loadSync(new URL('../../node_modules/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto', import.meta.url).pathname),
  ) as any
  const reflected = new reflection.grpc.reflection.v1.ServerReflection(address, credentials.createInsecure())
  const stream = reflected.ServerReflectionInfo()
  stream.write({ listServices: '' })
  const names = await new Promise<string[]>((resolve) =>
    stream.once('data', (answer: any) =>
      resolve((answer.listServicesResponse?.service ?? answer.list_services_response.service).map((one: { name: string }) => one.name)),
    ),
  )
  stream.end()
  reflected.close()
  t.true(names.includes('heddle.v1.Heddle'), String(names))
  t.true('heddle.v1.Heddle' in loadFileDescriptorSetFromBuffer(readFileSync(descriptorSetUrl)))
})

test('a reflection request that is no message is refused, and the process lives', async (t) => {
  const { client, gateway } = t.context
  const raw = (bytes: Buffer) => bytes
  const bare = new Client(`unix:${gateway.sockets.api}`, credentials.createInsecure())
  for (const version of ['v1', 'v1alpha']) {
    const stream = bare.makeBidiStreamRequest(`/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`, raw, raw)
    const refused = new Promise<ServiceError>((resolve) => stream.once('error', resolve as (error: Error) => void))
    stream.on('data', () => {})
    stream.write(Buffer.from('ffffff', 'hex'))
    t.like(await refused, { code: 3 })
  }
  bare.close()
  t.deepEqual(await ask(client, 'listNetworks', {}), { networks: [] })
})
