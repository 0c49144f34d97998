/** The service as a process runs it: over the bus, two replicas, on memory and on the real NATS and etcd, and with these failing. */
import { type Bus, connectBus, type Handlers, MemoryBus, MemoryHub } from '@heddle/bus'
import { busServices, Endpoint, type Network, type Partially, type WiringDefinition } from '@heddle/contract'
import { type Call, HeddleError, randomId, withCall } from '@heddle/core'
import { createRuntime } from '@heddle/runtime'
import { connectStore, MemoryStore, type Store } from '@heddle/store'
import { type ServerHandle, startEtcd, startNats } from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'
import pino from 'pino'
import { networksConfig, networksService } from './index.ts'

const logger = pino({ level: 'silent' })
/** Quick, so that tests wait little. */
const config = networksConfig.parse({ sweepIntervalMs: 200, graceMs: 500, reservedGraceMs: 1_500, hostTimeoutMs: 400 })

interface Cluster {
  readonly bus: Bus
  readonly etcd?: ServerHandle
  readonly nats?: ServerHandle
  /** Starts a replica and answers how to stop it. */
  replica(): Promise<() => Promise<void>>
  stop(): Promise<void>
}

async function startReplica(bus: Bus, store: Store): Promise<() => Promise<void>> {
  const runtime = createRuntime({ name: 'networks', host: 'test', version: '0', log: { level: 'silent', pretty: false } })
  networksService.build(runtime, { bus, store }, config)
  await runtime.start()
  return async () => {
    await runtime.stop()
    await bus.close()
  }
}

async function memory(): Promise<Cluster> {
  const hub = new MemoryHub()
  const store = new MemoryStore()
  const bus = new MemoryBus({ hub })
  return {
    bus,
    replica: () => startReplica(new MemoryBus({ hub }), store),
    async stop() {
      await bus.close()
      await store.close()
    },
  }
}

async function real(): Promise<Cluster & { readonly etcd: ServerHandle; readonly nats: ServerHandle }> {
  const [etcd, nats] = await Promise.all([startEtcd(), startNats()])
  const openBus = () => connectBus({ servers: [nats.url], name: 'test', logger })
  const bus = await openBus()
  return {
    bus,
    etcd,
    nats,
    async replica() {
      const store = connectStore({ endpoints: [etcd.url], logger })
      const stop = await startReplica(await openBus(), store)
      return async () => {
        await stop()
        await store.close()
      }
    },
    async stop() {
      await bus.close()
      await Promise.all([etcd.stop(), nats.stop()])
    },
  }
}

function inCluster<C extends Cluster>(sentence: string, start: () => Promise<C>, body: (t: ExecutionContext, cluster: C) => Promise<void>): void {
  test.serial(sentence, async (t) => {
    const cluster = await start()
    try {
      await body(t, cluster)
    } finally {
      await cluster.stop()
    }
  })
}

function behaves(sentence: string, body: (t: ExecutionContext, cluster: Cluster) => Promise<void>): void {
  inCluster(`${sentence} (memory)`, memory, body)
  inCluster(`${sentence} (NATS and etcd)`, real, body)
}

const within = <T>(body: (call: Call) => Promise<T>, timeoutMs = 10_000) => withCall({ timeoutMs }, body)
const networksOf = (bus: Bus) => bus.client(busServices.networks)
const blue = (change: Partially<Network> = {}): Partially<Network> => ({
  name: 'blue',
  kind: 'bridge',
  createdBy: 'cli',
  pools: [{ poolId: 'blue.10.1.0.0_16', prefix: '10.1.0.0/16' }],
  ...change,
})
const web = (networkId: string, change: Partial<Endpoint> = {}) =>
  Endpoint.fromPartial({ id: randomId(), networkId, host: 'h1', state: 'wired', runtime: 'cni', addresses: ['10.1.0.5/16'], ...change })

/** A host that has these endpoints' interfaces, and these sandboxes. */
function serveHost(bus: Bus, host: string, has: ReadonlySet<string>, there: ReadonlySet<string> = new Set()) {
  const unasked = Object.fromEntries(Object.keys(busServices.wiring.definition.methods).map((method) => [method, async () => ({})]))
  const handlers = {
    ...(unasked as unknown as Handlers<WiringDefinition>),
    listAttachments: async ({ sandboxes }: { sandboxes: string[] }) => ({
      attachments: [...has].map((endpointId) => ({ endpointId })),
      sandboxes: sandboxes.filter((path) => there.has(path)),
    }),
  }
  return bus.serve(busServices.wiring, handlers, { host })
}

async function recorded(bus: Bus): Promise<string[]> {
  const { endpoints } = await within((call) => networksOf(bus).listEndpoints({}, call))
  return endpoints.map(({ id }) => id).toSorted()
}

async function eventually(condition: () => Promise<boolean>, what: string): Promise<void> {
  for (const endMs = performance.now() + 20_000; !(await condition()); ) {
    if (performance.now() > endMs) throw new Error(`it never came about: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

behaves('what is wrong with a request reaches its caller with code, field and remedy', async (t, { bus, replica }) => {
  const stop = await replica()
  const networks = networksOf(bus)
  const cases: [string, string, (call: Call) => Promise<unknown>][] = [
    ['invalid-argument', 'network', (call) => networks.createNetwork({}, call)],
    ['invalid-argument', 'network.kind', (call) => networks.createNetwork({ network: blue({ kind: 'ring' }) }, call)],
    ['invalid-argument', 'id', (call) => networks.getNetwork({}, call)],
    ['invalid-argument', 'id', (call) => networks.getNetwork({ id: 'a', name: 'b' }, call)],
    ['invalid-argument', 'alias', (call) => networks.getNetwork({ alias: 'x' }, call)],
    ['network-unknown', 'name', (call) => networks.getNetwork({ name: 'nothing' }, call)],
    ['network-unknown', 'id', (call) => networks.bindAlias({ alias: 'docker:h1:x', networkId: 'nothing' }, call)],
    ['invalid-argument', 'endpoint', (call) => networks.putEndpoint({}, call)],
    ['network-unknown', 'id', (call) => networks.putEndpoint({ endpoint: web('nothing') }, call)],
    ['invalid-argument', 'host', (call) => networks.listEndpoints({ host: '>' }, call)],
    ['invalid-argument', 'id', (call) => networks.deleteEndpoint({ id: '../x' }, call)],
    ['invalid-argument', 'owners.owner', (call) => networks.fence({ owners: [{ owner: 'a/b' }] }, call)],
  ]
  for (const [code, field, ask] of cases) {
    const error = await t.throwsAsync(within(ask), undefined, `${code} ${field}`)
    t.true(HeddleError.is(error) && error.code === code && error.field === field, `${code} ${field}: ${error.message}`)
  }
  await stop()
})

behaves('the whole life of a network over two replicas', async (t, { bus, replica }) => {
  const [one, two] = [await replica(), await replica()]
  const networks = networksOf(bus)
  const { network } = await within((call) => networks.createNetwork({ network: blue() }, call))
  const id = network?.id ?? ''
  for (let round = 0; round < 6; round++) {
    t.false((await within((call) => networks.createNetwork({ network: blue() }, call))).created)
    t.deepEqual((await within((call) => networks.getNetwork({ name: 'blue' }, call))).network, network)
    const { endpoint } = await within((call) =>
      networks.putEndpoint({ endpoint: web(id, { addresses: [`10.1.0.${10 + round}/16`] }), claimRevision: 1n }, call),
    )
    t.is((await within((call) => networks.listEndpoints({ id: endpoint?.id ?? '' }, call))).endpoints[0]?.networkName, 'blue')
    await within((call) => networks.bindAlias({ alias: `docker:h${round}:abc`, networkId: id }, call))
    t.is((await within((call) => networks.getNetwork({ alias: `docker:h${round}:abc` }, call))).network?.id, id)
  }
  t.is((await recorded(bus)).length, 6)
  await t.throwsAsync(
    within((call) => networks.deleteNetwork({ id }, call)),
    { code: 'network-in-use' },
  )
  for (const endpointId of await recorded(bus)) t.is((await within((call) => networks.deleteEndpoint({ id: endpointId }, call))).endpoint?.id, endpointId)
  for (let round = 0; round < 6; round++) {
    t.is((await within((call) => networks.unbindAlias({ alias: `docker:h${round}:abc` }, call))).aliasesLeft, 5 - round)
  }
  t.is((await within((call) => networks.deleteNetwork({ id }, call))).network?.name, 'blue')
  t.is((await within((call) => networks.deleteNetwork({ id }, call))).network, undefined)
  await one()
  await two()
})

behaves('the sweep deletes what its host no longer has, and nothing of a host that is silent or has it', async (t, { bus, replica }) => {
  const [one, two] = [await replica(), await replica()]
  const networks = networksOf(bus)
  const { network } = await within((call) => networks.createNetwork({ network: blue() }, call))
  const put = async (host: string, state: string) =>
    (await within((call) => networks.putEndpoint({ endpoint: web(network?.id ?? '', { host, state }), claimRevision: 1n }, call))).endpoint?.id ?? ''
  const [kept, lost, reserved, silent] = [await put('h1', 'wired'), await put('h1', 'wired'), await put('h1', 'reserved'), await put('h2', 'wired')]
  const has = new Set([kept, lost])
  const host = await serveHost(bus, 'h1', has)
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  t.deepEqual(await recorded(bus), [kept, lost, reserved, silent].toSorted())
  has.delete(lost)
  await eventually(async () => (await recorded(bus)).join() === [kept, silent].toSorted().join(), 'the two without an interface should be deleted')
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  t.deepEqual(await recorded(bus), [kept, silent].toSorted())
  await host.stop()
  await one()
  await two()
})

behaves('an endpoint with addresses alone is there for as long as its sandbox', async (t, { bus, replica }) => {
  const stop = await replica()
  const networks = networksOf(bus)
  const { network } = await within((call) => networks.createNetwork({ network: blue() }, call))
  const put = async (sandbox: string) => {
    const endpoint = web(network?.id ?? '', { state: 'addressed', sandbox })
    return (await within((call) => networks.putEndpoint({ endpoint, claimRevision: 1n }, call))).endpoint?.id ?? ''
  }
  const [kept, left] = [await put('/run/netns/kept'), await put('/run/netns/left')]
  const there = new Set(['/run/netns/kept', '/run/netns/left'])
  const host = await serveHost(bus, 'h1', new Set(), there)
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  t.deepEqual(await recorded(bus), [kept, left].toSorted())
  there.delete('/run/netns/left')
  await eventually(async () => (await recorded(bus)).join() === kept, 'the one whose sandbox is gone should be deleted')
  await host.stop()
  await stop()
})

inCluster(
  'etcd killed and restarted: what is known is still told, a write fails in time and is retryable, and nothing recorded is lost',
  real,
  async (t, { bus, etcd, replica }) => {
    const stop = await replica()
    const networks = networksOf(bus)
    const { network } = await within((call) => networks.createNetwork({ network: blue() }, call))
    const endpoint = web(network?.id ?? '')
    await within((call) => networks.putEndpoint({ endpoint, claimRevision: 1n }, call))
    await etcd.kill()
    t.deepEqual((await within((call) => networks.getNetwork({ name: 'blue' }, call), 1_000)).network, network)
    t.deepEqual(await recorded(bus), [endpoint.id])
    const error = await t.throwsAsync(within((call) => networks.putEndpoint({ endpoint: web(network?.id ?? ''), claimRevision: 1n }, call), 1_000))
    t.true(HeddleError.from(error).retryable, error.message)
    await etcd.restart()
    const after = web(network?.id ?? '')
    await within((call) => networks.putEndpoint({ endpoint: after, claimRevision: 1n }, call))
    await eventually(async () => (await recorded(bus)).includes(after.id) && (await recorded(bus)).includes(endpoint.id), 'both endpoints should be there')
    await stop()
  },
)

inCluster('replicas restarted while endpoints come and go: every call succeeds once, and all replicas end with the same', real, async (t, { bus, replica }) => {
  let stop = await replica()
  const networks = networksOf(bus)
  const { network } = await within((call) => networks.createNetwork({ network: blue() }, call))
  const ids = new Set<string>()
  const churning = (async () => {
    for (let index = 0; index < 200; index++) {
      const endpoint = web(network?.id ?? '')
      await within((call) => networks.putEndpoint({ endpoint, claimRevision: 1n }, call))
      if (index % 2 === 0) ids.add(endpoint.id)
      else await within((call) => networks.deleteEndpoint({ id: endpoint.id }, call))
    }
  })()
  for (let round = 0; round < 4; round++) {
    const next = await replica()
    await stop()
    stop = next
  }
  await churning
  const second = await replica()
  for (let look = 0; look < 4; look++)
    await eventually(async () => (await recorded(bus)).join() === [...ids].toSorted().join(), 'both replicas should know all endpoints')
  t.pass()
  await stop()
  await second()
})
