// Reservations end when the kubelet's pod resources API says that no pod has the device, and not before.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { type KubeletHost, resource, startKubeletHost, vf } from './testing/kubelet-host.ts'

async function hostOf(t: ExecutionContext, config: Readonly<Record<string, unknown>> = {}): Promise<KubeletHost> {
  const host = await startKubeletHost(config)
  t.teardown(host.stop)
  await host.kubelet.servePodResources()
  await host.kubelet.plugin(resource)
  return host
}

const reserved = ({ cluster }: KubeletHost) => [...cluster.vfs.claims.values()].filter(({ reservedBy }) => reservedBy === 'kubelet').map(({ pci }) => pci)
const rounds = async ({ kubelet }: KubeletHost, count = 4) => {
  const asked = kubelet.podResourcesAsked
  await kubelet.until('the kubelet was asked', () => kubelet.podResourcesAsked > asked + count)
}

test('a device that no pod has any more goes back, and its file with it', async (t) => {
  const host = await hostOf(t)
  await host.kubelet.admit('gone', resource, 1)
  await host.kubelet.admit('stays', resource, 1)
  await rounds(host)
  t.deepEqual(reserved(host), [vf(0), vf(1)])
  host.kubelet.pods.delete('gone')
  await host.kubelet.until('the reservation has ended', () => !reserved(host).includes(vf(0)))
  await rounds(host)
  t.deepEqual(reserved(host), [vf(1)])
  const file = (pci: string) => existsSync(join(host.deviceInfoDir, `example.com-net-${pci}-device.json`))
  t.deepEqual([file(vf(0)), file(vf(1))], [false, true])
})

test('it goes back with the driver of the kernel', async (t) => {
  const host = await hostOf(t)
  host.cluster.vfs.addPool({ name: 'net', selectors: [{ pfNames: ['eth0'] }], resourceName: 'example.com/dpdk', driver: 'vfio-pci' })
  await host.kubelet.admit('pod', 'example.com/dpdk', 1)
  t.is(host.cluster.vfs.vfs.get(vf(0))?.driver, 'vfio-pci')
  host.kubelet.pods.clear()
  await host.kubelet.until('the reservation has ended', () => reserved(host).length === 0)
  t.is(host.cluster.vfs.vfs.get(vf(0))?.driver, 'igbvf')
})

test('nothing goes back before the time is over', async (t) => {
  const host = await hostOf(t, { releaseAfterMs: 3_600_000 })
  await host.kubelet.admit('pod', resource, 1)
  host.kubelet.pods.clear()
  await rounds(host)
  t.deepEqual(reserved(host), [vf(0)])
})

test('a kubelet that fails to answer frees nothing', async (t) => {
  const host = await hostOf(t)
  await host.kubelet.admit('pod', resource, 1)
  host.kubelet.podResourcesFailure = 'not yet'
  host.kubelet.pods.clear()
  await rounds(host)
  t.deepEqual(reserved(host), [vf(0)])
})

test('without the pod resources API nothing is freed by guess', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  await host.kubelet.admit('pod', resource, 1)
  host.kubelet.pods.clear()
  const asked = () => host.cluster.calls.filter((call) => call === 'vfAllocator.listPools').length
  const before = asked()
  await host.kubelet.until('time went by', () => asked() > before + 10)
  t.deepEqual(reserved(host), [vf(0)])
})

test('an endpoint takes the reservation over and gives it back; it ends only then', async (t) => {
  const host = await hostOf(t)
  await host.kubelet.admit('pod', resource, 1)
  await host.claim('endpoint', vf(0))
  host.kubelet.pods.clear()
  await rounds(host)
  t.deepEqual(reserved(host), [vf(0)])
  await host.release('endpoint')
  await host.kubelet.until('the reservation has ended', () => reserved(host).length === 0)
  t.pass()
})

test('a VF that a pod has and nobody remembers is reserved again', async (t) => {
  const host = await hostOf(t)
  await host.kubelet.admit('pod', resource, 1)
  host.cluster.vfs.claims.clear()
  await host.kubelet.until('it is reserved', () => reserved(host).includes(vf(0)))
  t.deepEqual(reserved(host), [vf(0)])
})
