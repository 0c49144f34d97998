/** The service as a process runs it, two replicas at a time: first in memory, then on the real NATS and etcd, then with these failing. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Bus, Handlers } from '@heddle/bus'
import { busServices, type Host, type NetworksDefinition, type Partially } from '@heddle/contract'
import { type Call, HeddleError, randomId, withCall } from '@heddle/core'
import { startFaultProxy } from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'
import { type Cluster, Endpoints, memoryCluster, type RealCluster, realCluster } from './testing/cluster.ts'
import { eventually, Receiver } from './testing/receiver.ts'

const exec = promisify(execFile)

function inTable(receiver: Receiver): string {
  return JSON.stringify([...receiver.follower.peers.values()].map((peer) => [peer.endpointId, peer.host, peer.addresses[0]]).toSorted())
}

function inEtcd(endpoints: Endpoints): string {
  return JSON.stringify([...endpoints.expected].map(([id, { host, address }]) => [id, host, address]).toSorted())
}

async function converges(t: ExecutionContext, receiver: Receiver, endpoints: Endpoints): Promise<void> {
  await eventually(
    () => inTable(receiver) === inEtcd(endpoints),
    () => `${inTable(receiver)} should become ${inEtcd(endpoints)}`,
  )
  t.pass()
}

const hostOf = (name: string, vtep: string): Partially<Host> => ({ name, vtep, underlayMtu: 1500, epoch: randomId(), version: '1' })
const overlayOf = (bus: Bus) => bus.client(busServices.overlay)
const within = <T>(body: (call: Call) => Promise<T>, timeoutMs = 10_000) => withCall({ timeoutMs }, body)

async function refused(t: ExecutionContext, code: string, promise: Promise<unknown>): Promise<HeddleError> {
  const error = await t.throwsAsync(promise)
  t.true(HeddleError.is(error) && error.code === code, `${code} expected: ${error?.message}`)
  return error as HeddleError
}

type Body<C extends Cluster> = (t: ExecutionContext, cluster: C, bus: Bus) => Promise<void>

function inCluster<C extends Cluster>(sentence: string, start: () => Promise<C>, body: Body<C>): void {
  // One cluster after the other: each has its own servers, and the machine is small.
  test.serial(sentence, async (t) => {
    const cluster = await start()
    try {
      await body(t, cluster, await cluster.bus())
    } finally {
      await cluster.stop()
    }
  })
}

function behaves(sentence: string, body: Body<Cluster>): void {
  inCluster(`${sentence} (memory)`, memoryCluster, body)
  inCluster(`${sentence} (NATS and etcd)`, realCluster, body)
}

function survives(sentence: string, body: Body<RealCluster>): void {
  inCluster(sentence, realCluster, body)
}

behaves('two replicas tell the same, and a host that follows has every table', async (t, cluster, bus) => {
  const endpoints = new Endpoints(cluster.store, 'blue')
  await endpoints.put('early', 'h1', '10.1.0.9')
  const [one, two] = [await cluster.replica(), await cluster.replica()]
  const [blue, red] = [new Receiver(bus, 'blue'), new Receiver(bus, 'red')]
  await within((call) => overlayOf(bus).registerHost({ host: hostOf('h1', '192.0.2.1') }, call))
  await endpoints.churn(60)
  await endpoints.put('going', 'h1', '10.1.0.99')
  await endpoints.put('going', 'h1', '10.1.0.99', 'detaching')
  await endpoints.put('borrowed', 'h1', '10.1.0.98', 'addressed')
  await endpoints.put('on-a-bridge', 'h1', '10.1.0.98', 'wired', 'bridge')
  await endpoints.put('on-a-card', 'h1', '10.1.0.97', 'wired', 'sriov')
  await converges(t, blue, endpoints)
  t.is(red.follower.peers.size, 0)
  for (let index = 0; index < 4; index++) {
    const page = await within((call) => overlayOf(bus).snapshot({ networkId: 'blue' }, call))
    t.is(page.digest, blue.follower.digest, 'whichever replica answers')
  }
  for (const part of [blue, red, one, two]) await (part instanceof Receiver ? part.close() : part.stop())
})

behaves('a host that changes its address changes it for every network with one write', async (t, cluster, bus) => {
  const replica = await cluster.replica()
  const networks = ['blue', 'red'].map((networkId) => new Endpoints(cluster.store, networkId))
  const receivers = networks.map(({ networkId }) => new Receiver(bus, networkId))
  const host = hostOf('h1', '192.0.2.1')
  t.is((await within((call) => overlayOf(bus).registerHost({ host }, call))).heartbeatMs, 666)
  for (const endpoints of networks) await endpoints.put('a', 'h1', '10.1.0.11')
  const seen = () => receivers.map(({ follower }) => follower.hosts.get('h1')?.vtep).join()
  await eventually(() => seen() === '192.0.2.1,192.0.2.1', seen)
  await within((call) => overlayOf(bus).registerHost({ host: { ...host, vtep: '192.0.2.7' } }, call))
  await eventually(() => seen() === '192.0.2.7,192.0.2.7', seen)
  const other = await refused(
    t,
    'address-taken',
    within((call) => overlayOf(bus).registerHost({ host: hostOf('h2', '192.0.2.7') }, call)),
  )
  t.is(other.details['host'], 'h1')
  await within((call) => overlayOf(bus).registerHost({ host: hostOf('h2', '192.0.2.1') }, call))
  const inUse = await refused(
    t,
    'host-in-use',
    within((call) => overlayOf(bus).removeHost({ name: 'h1' }, call)),
  )
  t.regex(inUse.message, /2 networks: blue, red/)
  for (const endpoints of networks) await endpoints.delete('a')
  await eventually(
    () =>
      within((call) => overlayOf(bus).removeHost({ name: 'h1' }, call)).then(
        () => true,
        () => false,
      ),
    () => 'h1 should be removable',
  )
  t.deepEqual(
    (await within((call) => overlayOf(bus).listHosts({}, call))).hosts.map(({ name, alive }) => [name, alive]),
    [['h2', true]],
  )
  for (const part of [...receivers, replica]) await (part instanceof Receiver ? part.close() : part.stop())
})

behaves('a host is alive while it is heard of, through whichever replica', async (t, cluster, bus) => {
  const [one, two] = [await cluster.replica(), await cluster.replica()]
  const host = hostOf('h1', '192.0.2.1')
  const alive = async () => (await within((call) => overlayOf(bus).listHosts({}, call))).hosts.map((entry) => entry.alive).join()
  await within((call) => overlayOf(bus).registerHost({ host }, call))
  for (const endMs = performance.now() + 4_000; performance.now() < endMs; ) {
    await within((call) => overlayOf(bus).heartbeat({ host: 'h1', epoch: host.epoch }, call))
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
  t.is(await alive(), 'true')
  await refused(
    t,
    'host-unknown',
    within((call) => overlayOf(bus).heartbeat({ host: 'h1', epoch: 'another' }, call)),
  )
  await refused(
    t,
    'host-unknown',
    within((call) => overlayOf(bus).heartbeat({ host: 'h9', epoch: host.epoch }, call)),
  )
  await eventually(
    async () => (await alive()) === 'false',
    () => 'a silent host should be taken for dead',
  )
  await refused(
    t,
    'host-unknown',
    within((call) => overlayOf(bus).heartbeat({ host: 'h1', epoch: host.epoch }, call)),
  )
  await within((call) => overlayOf(bus).registerHost({ host: hostOf('h2', '192.0.2.1') }, call))
  t.pass('an address of a host that is gone may be taken')
  await within((call) => overlayOf(bus).removeHost({ name: 'h1' }, call))
  await refused(
    t,
    'address-taken',
    within((call) => overlayOf(bus).registerHost({ host }, call)),
  )
  await one.stop()
  await two.stop()
})

behaves('VNIs of networks that are gone are freed, those of networks that are there or on their way are not', async (t, cluster, bus) => {
  const unasked = Object.fromEntries(Object.keys(busServices.networks.definition.methods).map((method) => [method, async () => ({})]))
  const serving = await bus.serve(busServices.networks, {
    ...(unasked as unknown as Handlers<NetworksDefinition>),
    listNetworks: async () => ({ networks: [{ id: 'kept' }] }),
    async getNetwork({ id }) {
      // As with a list from a cache that is behind: asked by its id, it is there.
      if (id === 'kept' || id === 'unlisted') return { network: { id } }
      throw new HeddleError('network-unknown', 'no such network')
    },
  })
  const replica = await cluster.replica()
  const vnis = new Map<string, number>()
  for (const networkId of ['kept', 'unlisted', 'gone']) vnis.set(networkId, (await within((call) => overlayOf(bus).claimVni({ networkId }, call))).vni)
  const holder = async (networkId: string) => within((call) => cluster.store.get(`heddle/overlay/vni-of/${networkId}`, call))
  await eventually(
    async () => (await holder('gone')) === undefined,
    () => 'the VNI of the network that is gone should be freed',
  )
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  t.truthy(await holder('kept'))
  t.truthy(await holder('unlisted'))
  const error = await refused(
    t,
    'vni-taken',
    within((call) => overlayOf(bus).claimVni({ networkId: 'new', vni: vnis.get('gone') ?? 0 }, call)),
  )
  t.regex(error.message, /rests for ten minutes/)
  await serving.stop()
  await replica.stop()
})

survives('a change reaches a host that follows within milliseconds of its commit', async (t, cluster, bus) => {
  const [one, two] = [await cluster.replica(), await cluster.replica()]
  const receiver = new Receiver(bus, 'blue')
  const endpoints = new Endpoints(cluster.store, 'blue')
  const arrived = new Map<bigint, number>()
  receiver.onApplied = ({ revision }) => arrived.set(revision, performance.now())
  await eventually(
    () => receiver.follower.epoch !== '',
    () => 'the first snapshot',
  )
  const delaysMs: number[] = []
  for (let index = 0; index < 100; index++) {
    const revision = await endpoints.put(`e${index}`, 'h1', '10.1.0.11')
    const committedMs = performance.now()
    await eventually(
      () => arrived.has(revision),
      () => `revision ${revision}`,
    )
    delaysMs.push((arrived.get(revision) ?? 0) - committedMs)
  }
  delaysMs.sort((a, b) => a - b)
  t.log(`commit to delta applied: p50 ${delaysMs[50]?.toFixed(2)} ms, p95 ${delaysMs[95]?.toFixed(2)} ms`)
  t.is(receiver.snapshots, 1)
  await receiver.close()
  await one.stop()
  await two.stop()
})

survives('replicas that are stopped and started in mid-stream cost a host nothing but a snapshot', async (t, cluster, bus) => {
  let replica = await cluster.replica()
  const receiver = new Receiver(bus, 'blue')
  const endpoints = new Endpoints(cluster.store, 'blue')
  const churning = endpoints.churn(400)
  for (let round = 0; round < 4; round++) {
    const next = await cluster.replica()
    await replica.stop()
    replica = next
  }
  await replica.stop()
  await churning
  const last = await cluster.replica()
  await converges(t, receiver, endpoints)
  await receiver.close()
  await last.stop()
})

survives('etcd killed and restarted in mid-churn: calls fail in time or succeed, and all is told afterwards', async (t, cluster, bus) => {
  const [one, two] = [await cluster.replica(), await cluster.replica()]
  const receiver = new Receiver(bus, 'blue')
  const endpoints = new Endpoints(cluster.store, 'blue')
  await endpoints.churn(50)
  const churning = endpoints.churn(200)
  await cluster.etcd.kill()
  const error = await t.throwsAsync(within((call) => overlayOf(bus).claimVni({ networkId: 'blue' }, call), 1_000))
  t.true(HeddleError.from(error).retryable)
  t.is((await within((call) => overlayOf(bus).snapshot({ networkId: 'blue' }, call), 1_000)).networkId, 'blue', 'what is known is told without etcd')
  await cluster.etcd.restart()
  await churning
  await converges(t, receiver, endpoints)
  t.true((await within((call) => overlayOf(bus).claimVni({ networkId: 'blue' }, call))).vni >= 4096)
  await receiver.close()
  await one.stop()
  await two.stop()
})

survives('NATS killed and restarted in mid-churn: what was lost is noticed and fetched', async (t, cluster, bus) => {
  const replica = await cluster.replica()
  const receiver = new Receiver(bus, 'blue')
  const endpoints = new Endpoints(cluster.store, 'blue')
  await endpoints.churn(50)
  const churning = endpoints.churn(300)
  await cluster.nats.kill()
  await churning
  await cluster.nats.restart()
  await converges(t, receiver, endpoints)
  await receiver.close()
  await replica.stop()
})

survives('a replica that was cut off until its history was compacted tells everything anew', async (t, cluster, bus) => {
  const proxy = await startFaultProxy({ target: cluster.etcd.url })
  const replica = await cluster.replica({ etcdUrl: proxy.url })
  const receiver = new Receiver(bus, 'blue')
  const endpoints = new Endpoints(cluster.store, 'blue')
  await endpoints.churn(50)
  await converges(t, receiver, endpoints)
  proxy.refuse()
  await endpoints.churn(100)
  await endpoints.delete('e1')
  const revision = await endpoints.put('last', 'h1', '10.1.0.77')
  await exec('etcdctl', ['--endpoints', cluster.etcd.url, 'compact', String(revision)], { env: { ...process.env, ETCDCTL_API: '3' } })
  t.notDeepEqual(inTable(receiver), inEtcd(endpoints))
  proxy.pass()
  await converges(t, receiver, endpoints)
  await endpoints.put('after', 'h1', '10.1.0.78')
  await converges(t, receiver, endpoints)
  await receiver.close()
  await replica.stop()
  await proxy.close()
})
