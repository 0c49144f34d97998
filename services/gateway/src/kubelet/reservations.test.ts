// What pods are given, and what it does to the VFs.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ServiceError } from '@grpc/grpc-js'
import { status } from '@grpc/grpc-js'
import { Failure } from '@heddle/contract'
import { HeddleError } from '@heddle/core'
import test, { type ExecutionContext } from 'ava'
import { failureTrailer } from '../api/service.ts'
import { type KubeletHost, resource, startKubeletHost, vf } from './testing/kubelet-host.ts'

async function hostOf(t: ExecutionContext, config: Readonly<Record<string, unknown>> = {}): Promise<KubeletHost> {
  const host = await startKubeletHost(config)
  t.teardown(host.stop)
  await host.kubelet.plugin(resource)
  return host
}

const reserved = ({ cluster }: KubeletHost) => [...cluster.vfs.claims.values()].filter(({ reservedBy }) => reservedBy === 'kubelet').map(({ pci }) => pci)
const fileOf = (host: KubeletHost, pci: string) => join(host.deviceInfoDir, `example.com-net-${pci}-device.json`)
const bound = ({ cluster }: KubeletHost) => [...cluster.vfs.vfs.values()].map(({ driver }) => driver)

/** The failure a ServiceError carries. */
async function failureOf(t: ExecutionContext, promise: Promise<unknown>): Promise<Failure & { readonly grpc: number }> {
  const error = (await t.throwsAsync(promise)) as ServiceError
  const [bytes] = error.metadata.get(failureTrailer)
  return { ...Failure.decode(bytes as Buffer), grpc: error.code }
}

test('a pod is given its VFs in the variables that users of sriov-network-device-plugin read', async (t) => {
  const host = await hostOf(t)
  const { envs, devices, mounts } = await host.kubelet.admit('pod', resource, 2)
  t.is(envs['PCIDEVICE_EXAMPLE_COM_NET'], `${vf(0)},${vf(1)}`)
  t.deepEqual(JSON.parse(envs['PCIDEVICE_EXAMPLE_COM_NET_INFO'] ?? ''), {
    [vf(0)]: { generic: { deviceID: vf(0) } },
    [vf(1)]: { generic: { deviceID: vf(1) } },
  })
  t.deepEqual([devices, mounts], [[], []])
  t.deepEqual(reserved(host), [vf(0), vf(1)])
})

test('what is reserved stays healthy, also while an endpoint has it', async (t) => {
  const host = await hostOf(t)
  await host.kubelet.admit('pod', resource, 1)
  await host.claim('endpoint', vf(0))
  const first = host.cluster.vfs.vfs.get(vf(0))
  if (first === undefined) return t.fail()
  first.state = 'used'
  first.numaNode = 0
  t.true((await host.kubelet.list(resource, ({ devices }) => devices[0]?.topology !== undefined)).healthy.includes(vf(0)))
})

test('a meta-plugin finds the device-info file of each VF given out', async (t) => {
  const host = await hostOf(t)
  await host.kubelet.admit('pod', resource, 1)
  t.deepEqual(readdirSync(host.deviceInfoDir), [`example.com-net-${vf(0)}-device.json`])
  t.deepEqual(JSON.parse(readFileSync(fileOf(host, vf(0)), 'utf8')), {
    type: 'pci',
    version: '1.1.0',
    pci: { 'pci-address': vf(0), 'pf-pci-address': '0000:3b:00.0' },
  })
})

test('VFs of a pool with a user-space driver are bound to it, and the container has their device nodes', async (t) => {
  const host = await hostOf(t)
  host.cluster.vfs.addPool({ name: 'net', selectors: [{ pfNames: ['eth0'] }], resourceName: resource, driver: 'vfio-pci' })
  for (const [index, one] of [...host.cluster.vfs.vfs.values()].entries()) Object.assign(one, { iommuGroup: `${40 + index}`, numaNode: 0 })
  await host.kubelet.list(resource, ({ devices }) => devices[0]?.topology !== undefined)
  const { envs, devices } = await host.kubelet.admit('pod', resource, 2)
  t.deepEqual(
    devices,
    ['vfio', '40', '41'].map((name) => ({ hostPath: `/dev/vfio/${name}`, containerPath: `/dev/vfio/${name}`, permissions: 'rw' })),
  )
  t.deepEqual(JSON.parse(envs['PCIDEVICE_EXAMPLE_COM_NET_INFO'] ?? '')[vf(1)], {
    generic: { deviceID: vf(1) },
    vfio: { mount: '/dev/vfio/vfio', 'dev-mount': '/dev/vfio/41' },
  })
  t.deepEqual(bound(host), ['vfio-pci', 'vfio-pci', 'igbvf', 'igbvf'])
})

test('a VF with an RDMA device is given with the nodes of that', async (t) => {
  const host = await hostOf(t)
  for (const one of host.cluster.vfs.vfs.values()) Object.assign(one, { rdmaDevices: ['mlx5_2'] })
  const { envs, devices } = await host.kubelet.admit('pod', resource, 1)
  t.deepEqual(JSON.parse(envs['PCIDEVICE_EXAMPLE_COM_NET_INFO'] ?? '')[vf(0)]['rdma'], {
    uverbs: '/dev/infiniband/uverbs0',
    rdma_cm: '/dev/infiniband/rdma_cm',
    rdma_dev: 'mlx5_2',
  })
  t.deepEqual(
    devices.map(({ hostPath }) => hostPath),
    ['/dev/infiniband/uverbs0', '/dev/infiniband/rdma_cm'],
  )
  t.is(JSON.parse(readFileSync(fileOf(host, vf(0)), 'utf8')).pci['rdma-device'], 'mlx5_2')
})

test('each container of a request is answered for itself', async (t) => {
  const host = await hostOf(t)
  const plugin = await host.kubelet.plugin(resource)
  const given = await plugin.allocate([vf(3)], [vf(1), vf(2)])
  t.deepEqual(
    given.map(({ envs }) => envs['PCIDEVICE_EXAMPLE_COM_NET']),
    [vf(3), `${vf(1)},${vf(2)}`],
  )
})

test('allocating twice is allocating once', async (t) => {
  const host = await hostOf(t)
  const plugin = await host.kubelet.plugin(resource)
  const both = await Promise.all([plugin.allocate([vf(0)]), plugin.allocate([vf(0)])])
  t.deepEqual(both[0], both[1])
  t.deepEqual(reserved(host), [vf(0)])
})

test('all devices of a request are given or none', async (t) => {
  const host = await hostOf(t)
  host.cluster.vfs.addPool({ name: 'net', selectors: [{ pfNames: ['eth0'] }], resourceName: resource, driver: 'vfio-pci' })
  const plugin = await host.kubelet.plugin(resource)
  await plugin.allocate([vf(3)])
  await host.claim('of-docker', vf(1))
  const failure = await failureOf(t, plugin.allocate([vf(0)], [vf(1), vf(2), vf(3)]))
  t.is(failure.code, 'vf-in-use')
  t.is(failure.grpc, status.FAILED_PRECONDITION)
  t.deepEqual(reserved(host), [vf(3)], 'what was reserved before stays')
  t.deepEqual(bound(host).slice(0, 3), ['igbvf', 'igbvf', 'igbvf'])
  t.false(existsSync(fileOf(host, vf(0))))
})

/** Binding vfio-pci fails, and does nothing; of the kernel's driver nothing is said. */
function failUserSpace({ vfs }: KubeletHost['cluster']): void {
  const bind = vfs.bind.bind(vfs)
  vfs.bind = (request) => {
    if (request.driver === '') return bind(request)
    throw new HeddleError('unsupported', 'there is no IOMMU', { field: 'driver', remedy: 'boot with intel_iommu=on' })
  }
}

test('a VF whose own driver cannot be bound again stays reserved, for it is not as whoever is next needs it', async (t) => {
  const host = await hostOf(t)
  const { cluster, kubelet } = host
  cluster.vfs.addPool({ name: 'net', selectors: [{ pfNames: ['eth0'] }], resourceName: 'example.com/dpdk', driver: 'vfio-pci' })
  const plugin = await kubelet.plugin('example.com/dpdk')
  cluster.faults.set('wiring.bindVf', new HeddleError('kernel-refused', 'the driver does not answer'))
  await failureOf(t, plugin.allocate([vf(0)]))
  t.deepEqual(reserved(host), [vf(0)])
})

test('a VF that an endpoint takes at the last moment keeps the driver it has there', async (t) => {
  const host = await hostOf(t)
  const { cluster, kubelet } = host
  cluster.vfs.addPool({ name: 'net', selectors: [{ pfNames: ['eth0'] }], resourceName: 'example.com/dpdk', driver: 'vfio-pci' })
  const plugin = await kubelet.plugin('example.com/dpdk')
  await host.claim('endpoint', vf(0))
  cluster.vfs.bind({ pci: vf(0), driver: 'vfio-pci' })
  t.is((await failureOf(t, plugin.allocate([vf(0)]))).code, 'vf-in-use')
  t.is(bound(host)[0], 'vfio-pci')
  t.is(cluster.vfs.claims.get(vf(0))?.owner, 'endpoint')
})

test('what a plugin before this one has left in the directory of device-info files stops no pod', async (t) => {
  const host = await hostOf(t)
  mkdirSync(host.deviceInfoDir, { recursive: true })
  writeFileSync(join(host.deviceInfoDir, `intel.com-net-${vf(0)}-device.json`), '{}')
  await host.kubelet.admit('pod', resource, 1)
  t.deepEqual(readdirSync(host.deviceInfoDir), [`example.com-net-${vf(0)}-device.json`])
})

test('a driver that cannot be bound gives the VF back', async (t) => {
  const host = await hostOf(t)
  const { cluster, kubelet } = host
  cluster.vfs.addPool({ name: 'net', selectors: [{ pfNames: ['eth0'] }], resourceName: 'example.com/dpdk', driver: 'vfio-pci' })
  const plugin = await kubelet.plugin('example.com/dpdk')
  failUserSpace(cluster)
  const failure = await failureOf(t, plugin.allocate([vf(0)]))
  t.is(failure.code, 'unsupported')
  t.is(failure.remedy, 'boot with intel_iommu=on')
  t.deepEqual(reserved(host), [])
})

test('a device that is none, one that Docker has and one in quarantine are refused by name', async (t) => {
  const host = await hostOf(t)
  const plugin = await host.kubelet.plugin(resource)
  const unknown = await failureOf(t, plugin.allocate(['0000:99:00.0']))
  t.deepEqual([unknown.code, unknown.field, unknown.grpc], ['vf-unknown', 'devices_ids', status.NOT_FOUND])
  t.regex(unknown.message, /0000:99:00\.0/)
  await host.claim('of-docker', vf(1))
  t.is((await failureOf(t, plugin.allocate([vf(1)]))).code, 'vf-in-use')
  Object.assign(host.cluster.vfs.vfs.get(vf(2)) ?? {}, { state: 'quarantined', reason: 'vlan is 5' })
  const quarantined = await failureOf(t, plugin.allocate([vf(2)]))
  t.is(quarantined.code, 'vf-quarantined')
  t.regex(quarantined.message, /vlan is 5/)
  t.regex(quarantined.remedy, /heddle vf repair/)
  t.deepEqual(reserved(host), [])
})

for (const fault of [new HeddleError('unavailable', 'nobody answers'), 'hang'] as const) {
  const how = fault === 'hang' ? 'does not answer' : 'is away'
  test(`while the vf-allocator ${how} nothing is allocated, and a container that starts again starts`, async (t) => {
    const host = await hostOf(t, { timeoutMs: 1000 })
    await host.kubelet.admit('pod', resource, 1)
    const asked = () => host.cluster.calls.filter((call) => call === 'vfAllocator.listVfs').length
    const before = asked()
    await host.kubelet.until('the reservation was read', () => asked() > before + 2)
    host.cluster.faults.set('vfAllocator', fault)
    const plugin = await host.kubelet.plugin(resource)
    const failure = await failureOf(t, plugin.allocate([vf(1)]))
    t.true([status.UNAVAILABLE, status.DEADLINE_EXCEEDED].includes(failure.grpc))
    await plugin.preStart([vf(0)])
    t.true((await failureOf(t, plugin.preStart([vf(1)]))).retryable)
  })
}

test('before a container starts its VFs have their driver again, and one in quarantine does not start it', async (t) => {
  const host = await hostOf(t)
  host.cluster.vfs.addPool({ name: 'net', selectors: [{ pfNames: ['eth0'] }], resourceName: 'example.com/dpdk', driver: 'vfio-pci' })
  const plugin = await host.kubelet.plugin('example.com/dpdk')
  await plugin.allocate([vf(0)])
  const first = host.cluster.vfs.vfs.get(vf(0))
  if (first === undefined) return t.fail()
  first.driver = ''
  await plugin.preStart([vf(0)])
  t.is(first.driver, 'vfio-pci')
  first.state = 'quarantined'
  t.is((await failureOf(t, plugin.preStart([vf(0)]))).code, 'vf-quarantined')
})

test('a VF that a pod has under another resource is given to none under this', async (t) => {
  const host = await hostOf(t)
  const { cluster, kubelet } = host
  await kubelet.admit('pod', resource, 1)
  cluster.vfs.addPool({ name: 'later', selectors: [{ pfNames: ['eth0'] }], resourceName: 'example.com/later', createdAt: '2026-01-01T00:00:00Z' })
  cluster.vfs.pools.delete('net')
  const later = await kubelet.list('example.com/later', ({ devices }) => devices.length === 4)
  t.deepEqual(later.healthy, [vf(1), vf(2), vf(3)])
  t.is((await failureOf(t, later.allocate([vf(0)]))).code, 'vf-in-use')
})

test('a restart of the gateway or of the kubelet loses no reservation', async (t) => {
  const host = await hostOf(t)
  await host.kubelet.admit('pod', resource, 1)
  await host.stopGateway()
  await host.startGateway()
  await host.kubelet.list(resource, ({ ended }) => !ended)
  await host.kubelet.restart()
  const { envs } = await host.kubelet.admit('another', resource, 1)
  t.is(envs['PCIDEVICE_EXAMPLE_COM_NET'], vf(1))
  t.deepEqual(reserved(host), [vf(0), vf(1)])
})
