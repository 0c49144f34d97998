// A gateway beside a kubelet's test server: which devices it is told of, and when.
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { HeddleError } from '@heddle/core'
import test from 'ava'
import { resource, startKubeletHost, vf } from './testing/kubelet-host.ts'

test('a pool with a resource name is registered, and its VFs are listed by address', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  host.cluster.vfs.addPool({ name: 'unnamed', selectors: [{ pfNames: ['eth0'] }] })
  const plugin = await host.kubelet.plugin(resource)
  t.is(plugin.request.version, 'v1beta1')
  t.is(plugin.request.endpoint, 'heddle-example.com_net.sock')
  t.deepEqual(plugin.request.options, { preStartRequired: true, getPreferredAllocationAvailable: true })
  t.deepEqual(await plugin.options(), { preStartRequired: true, getPreferredAllocationAvailable: true })
  t.deepEqual(
    plugin.devices,
    [0, 1, 2, 3].map((index) => ({ ID: vf(index), health: 'Healthy', topology: undefined })),
  )
  t.deepEqual(
    host.kubelet.registrations.map(({ resourceName }) => resourceName),
    [resource],
  )
})

test('a list is streamed when something changed, with the NUMA node where it is known, and never twice the same', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  const { cluster, kubelet } = host
  await kubelet.plugin(resource)
  const first = cluster.vfs.vfs.get(vf(0))
  if (first === undefined) return t.fail()
  first.numaNode = 1
  await kubelet.list(resource, ({ devices }) => devices[0]?.topology?.nodes[0]?.ID === 1n)
  const polls = () => cluster.calls.filter((call) => call === 'vfAllocator.listPools').length
  const seen = polls()
  await kubelet.until('it was polled again', () => polls() > seen + 3)
  const { lists } = await kubelet.plugin(resource)
  t.is(lists.length, 2)
})

const notReady = ['dirty', 'new', 'foreign', 'quarantined', 'used']

test('a VF that no pod may have is unhealthy, and healthy again when it may', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  const { cluster, kubelet } = host
  const first = cluster.vfs.vfs.get(vf(0))
  const [pf] = cluster.vfs.pfs.values()
  if (first === undefined || pf === undefined) return t.fail()
  const becomes = (healthy: boolean) => kubelet.list(resource, (plugin) => plugin.healthy.includes(vf(0)) === healthy)
  for (const state of notReady) {
    first.state = state
    await becomes(false)
    first.state = 'ready'
    await becomes(true)
  }
  await host.claim('of-docker', vf(0))
  await becomes(false)
  await host.release('of-docker')
  await becomes(true)
  pf.held = true
  await becomes(false)
  pf.held = false
  await becomes(true)
  t.pass()
})

test('without carrier every VF of the port is unhealthy but one whose link is forced up', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  const { cluster, kubelet } = host
  const [pf] = cluster.vfs.pfs.values()
  const forced = cluster.vfs.vfs.get(vf(2))
  if (pf === undefined || forced?.settings === undefined) return t.fail()
  await kubelet.plugin(resource)
  forced.settings = { ...forced.settings, linkState: 'enable' }
  pf.carrier = false
  const { healthy } = await kubelet.list(resource, (plugin) => plugin.healthy.length < 4)
  t.deepEqual(healthy, [vf(2)])
})

test('VFs that are made and removed, and pools that come and go, are seen while it runs', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  const { cluster, kubelet } = host
  await kubelet.plugin(resource)
  cluster.vfs.vfs.delete(vf(3))
  await kubelet.list(resource, ({ devices }) => devices.length === 3)
  cluster.vfs.addPf('eth1', 2).carrier = true
  cluster.vfs.addPool({ name: 'other', selectors: [{ pfNames: ['eth1'] }], resourceName: 'example.com/other' })
  const other = await kubelet.plugin('example.com/other')
  t.is(other.devices.length, 2)
  cluster.vfs.pools.delete('other')
  await kubelet.until('its stream ends', () => other.ended)
  t.deepEqual(other.devices, [], 'the kubelet is told that there are none before the stream ends')
  await kubelet.until('its socket is gone', () => !existsSync(join(kubelet.pluginDir, other.request.endpoint)))
})

test('two pools of one resource are one plugin, and a VF of several resources is offered by the oldest', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  const { cluster, kubelet } = host
  cluster.vfs.addPf('eth1', 1).carrier = true
  cluster.vfs.addPool({ name: 'more', selectors: [{ pfNames: ['eth1'] }], resourceName: resource, createdAt: '2026-01-01T00:00:00Z' })
  cluster.vfs.addPool({ name: 'a-late-one', selectors: [{ pfNames: ['eth0'] }], resourceName: 'example.com/late', createdAt: '2026-02-01T00:00:00Z' })
  await kubelet.list(resource, ({ devices }) => devices.length === 5)
  t.deepEqual((await kubelet.plugin('example.com/late')).devices, [])
})

test('the preferred devices follow the policy of the pool', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  const { cluster, kubelet } = host
  cluster.vfs.addPf('eth1', 3).carrier = true
  cluster.vfs.addPool({ name: 'both', selectors: [{ pfNames: ['eth0#3', 'eth1'] }], resourceName: 'example.com/both', policy: 'spread' })
  cluster.vfs.pools.delete('net')
  const plugin = await kubelet.list('example.com/both', ({ healthy }) => healthy.length === 4)
  t.deepEqual(await plugin.preferred(plugin.healthy, 2), ['0000:3c:02.0', vf(3)])
  t.deepEqual(await plugin.preferred(plugin.healthy, 2, [vf(3)]), [vf(3), '0000:3c:02.0'])
})

test('while the vf-allocator is away the kubelet keeps the last list', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  const { cluster, kubelet } = host
  const plugin = await kubelet.plugin(resource)
  cluster.faults.set('vfAllocator', new HeddleError('unavailable', 'nobody answers'))
  const asked = cluster.calls.length
  await kubelet.until('it was asked in vain', () => cluster.calls.length > asked + 3)
  t.is(plugin.lists.length, 1)
  t.false(plugin.ended)
  t.is(plugin.healthy.length, 4)
})

test('a kubelet that starts anew is registered with again, its directory emptied', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  await host.kubelet.plugin(resource)
  for (let restarts = 1; restarts <= 3; restarts++) {
    await host.kubelet.restart()
    t.is((await host.kubelet.plugin(resource)).healthy.length, 4)
    t.is(host.kubelet.registrations.length, restarts + 1)
  }
})

test('a socket that somebody removed is served again', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  const before = await host.kubelet.plugin(resource)
  rmSync(join(host.kubelet.pluginDir, before.request.endpoint))
  await host.kubelet.until('it registers again', () => host.kubelet.registrations.length === 2)
  t.is((await host.kubelet.list(resource, (plugin) => plugin !== before)).healthy.length, 4)
})

test('a resource that the kubelet refuses keeps no other from it', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  const { cluster, kubelet } = host
  await kubelet.plugin(resource)
  kubelet.refused.add(resource)
  await kubelet.restart()
  cluster.vfs.addPool({ name: 'later', selectors: [{ pfNames: ['eth0#3'] }], resourceName: 'example.com/later', createdAt: '2026-01-01T00:00:00Z' })
  t.is((await kubelet.plugin('example.com/later')).request.resourceName, 'example.com/later')
})

test('a gateway that stops leaves no socket, and one that starts is registered again', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  const before = await host.kubelet.plugin(resource)
  await host.stopGateway()
  t.deepEqual(readdirSync(host.kubelet.pluginDir), ['kubelet.sock'])
  await host.kubelet.until('the stream ends', () => before.ended)
  await host.startGateway()
  t.is((await host.kubelet.list(resource, (plugin) => plugin !== before)).healthy.length, 4)
})

test('a gateway that was killed leaves a socket that the next one takes over', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  const { endpoint } = (await host.kubelet.plugin(resource)).request
  await host.stopGateway()
  const path = join(host.kubelet.pluginDir, endpoint)
  const dead = createServer()
  await new Promise<void>((resolve) => dead.listen(`${path}.new`, () => resolve()))
  renameSync(`${path}.new`, path)
  await new Promise((resolve) => dead.close(resolve))
  t.true(existsSync(path))
  await host.startGateway()
  await host.kubelet.until('it registers again', () => host.kubelet.registrations.length === 2)
  t.is((await host.kubelet.list(resource, ({ ended }) => !ended)).healthy.length, 4)
})

test('a kubelet that has dropped the plugin without a restart is registered with again', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  const dropped = await host.kubelet.plugin(resource)
  dropped.close()
  const { healthy } = await host.kubelet.list(resource, (plugin) => plugin !== dropped)
  t.is(healthy.length, 4)
})

test('nothing is made where there is no kubelet, and one that comes later is registered with', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  await host.stopGateway()
  await host.kubelet.stop()
  rmSync(host.kubelet.pluginDir, { recursive: true })
  host.cluster.calls.length = 0
  await host.startGateway()
  await host.gateway?.cni({ CNI_COMMAND: 'VERSION' }, { cniVersion: '1.1.0' })
  t.false(existsSync(host.kubelet.pluginDir))
  t.deepEqual(
    host.cluster.calls.filter((call) => call.startsWith('vfAllocator')),
    [],
  )
  await host.kubelet.start()
  t.is((await host.kubelet.plugin(resource)).healthy.length, 4)
})

test('a resource whose name has no room in the path of a socket has a socket all the same', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  const name = `${'long'.repeat(20)}.example.com/net`
  host.cluster.vfs.addPool({ name: 'net', selectors: [{ pfNames: ['eth0'] }], resourceName: name })
  const { request } = await host.kubelet.plugin(name)
  t.true(join('/var/lib/kubelet/device-plugins', request.endpoint).length <= 107)
})
