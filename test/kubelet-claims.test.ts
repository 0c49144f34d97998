// The kubelet's pods, Docker and CNI stand in line for the same VFs: the gateway's device plugin on the real vf-allocator and etcd.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { MemoryBus } from '@heddle/bus'
import { busServices, Vf, type VfAllocatorClaimRequest, VfSettings } from '@heddle/contract'
import { type Call, HeddleError, withCall } from '@heddle/core'
import { createLogger, createRuntime } from '@heddle/runtime'
import { connectStore } from '@heddle/store'
import { startEtcd, TestKubelet } from '@heddle/testkit'
import { vfAllocatorConfig, vfAllocatorService } from '@heddle/vf-allocator'
import test, { type ExecutionContext } from 'ava'
import { gatewayConfig } from '../services/gateway/src/config.ts'
import { gatewayService } from '../services/gateway/src/main.ts'

const [host, resource] = ['h1', 'example.com/dpdk']
const pciOf = (index: number) => `0000:3b:10.${index}`
const pristine = VfSettings.fromPartial({ mac: '00:00:00:00:00:00', vlan: 0, linkState: 'auto' })
const within = <T>(body: (call: Call) => Promise<T>) => withCall({ timeoutMs: 10_000 }, body)

/** A host of one PF with two VFs, and hands that do no more than bind drivers and report it. */
async function hostOf(t: ExecutionContext) {
  const dir = mkdtempSync(join(tmpdir(), 'hdk-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const etcd = await startEtcd()
  t.teardown(() => etcd.stop())
  const log = { level: 'error', pretty: true } as const
  const store = connectStore({ endpoints: [etcd.url], logger: createLogger({ name: 'test', host, log }) })
  t.teardown(() => store.close())
  const bus = new MemoryBus()
  const allocator = bus.client(busServices.vfAllocator)
  const drivers = [0, 1].map(() => 'igbvf')
  const report = (call: Call) => allocator.report({ host, epoch: 'one', pfs: [pf], vfs: drivers.map(vfOf) }, call)
  const others = Object.keys(busServices.wiring.definition.methods).map((method) => [method, async () => ({})])
  const hands = {
    ...Object.fromEntries(others),
    bindVf: async ({ pci, driver }: { readonly pci: string; readonly driver: string }, call: Call) => {
      drivers[Number(pci.at(-1))] = driver || 'igbvf'
      await report(call)
      return { deviceNodes: driver === '' ? [] : ['/dev/vfio/vfio', '/dev/vfio/7'] }
    },
  }
  await bus.serve(busServices.wiring, hands as never, { host })

  const runtime = createRuntime({ name: 'all', host, version: 'test', log })
  vfAllocatorService.build(runtime, { bus, store }, vfAllocatorConfig.parse({}))
  const kubelet = await new TestKubelet(dir).start()
  await kubelet.servePodResources()
  t.teardown(() => kubelet.stop())
  const places = { runDir: join(dir, 'run'), dockerPluginDir: join(dir, 'plugins') }
  const { pluginDir, podResourcesSocket } = kubelet
  const times = { refreshMs: 50, takeBackMs: 50, releaseAfterMs: 0 }
  const settings = { ...places, kubelet: { ...times, pluginDir, podResourcesSocket, deviceInfoDir: join(dir, 'devinfo') } }
  gatewayService.build(runtime, { bus }, gatewayConfig.parse(settings))
  t.teardown(() => runtime.stop())
  await runtime.start()
  await within(report)
  await within((call) => allocator.putPool({ pool: { name: 'dpdk', selectors: [{ pfNames: ['eth0'] }], driver: 'vfio-pci', resourceName: resource } }, call))
  await kubelet.list(resource, ({ healthy }) => healthy.length === 2)
  return {
    kubelet,
    claim: (owner: string, wish: Partial<VfAllocatorClaimRequest> = {}) => within((call) => allocator.claim({ owner, host, ...wish }, call)),
    release: (owner: string) => within((call) => allocator.release({ owner, host }, call)),
    vf: async (index: number) => (await within((call) => allocator.listVfs({ host, pci: pciOf(index) }, call))).vfs[0],
  }
}

const pf = { pci: '0000:3b:00.0', names: ['eth0'], vendor: '8086', device: '10c9', driver: 'igb', linkType: 'ether', totalVfs: 7, numVfs: 2, carrier: true }

/** As hands report it: what is bound for the kubelet is used, and no netdev is left of it. */
function vfOf(driver: string, index: number): Vf {
  const isBound = driver !== 'igbvf'
  const at = { name: `eth0v${index}`, mac: `02:00:00:00:00:0${index}`, driver: 'igbvf' }
  return Vf.fromPartial({
    ...{ pci: pciOf(index), pf: pf.pci, index, vendor: '8086', device: '10ca', numaNode: 0, linkType: 'ether', iommuGroup: '7', generation: `boot:${index}` },
    ...{ settings: pristine, state: isBound ? 'used' : 'new', driver, name: isBound ? '' : at.name, mac: at.mac },
    baseline: isBound ? undefined : { settings: pristine, ...at },
  })
}

test('one VF is a pod’s or a container’s, never both, and an endpoint has it from the pod it is of', async (t) => {
  const { kubelet, claim, release, vf } = await hostOf(t)
  await kubelet.admit('pod', resource, 1)
  t.like((await vf(0))?.claim, { reservedBy: 'kubelet', owner: '' })

  const docker = await claim('of-docker', { selector: { pfNames: ['eth0'] } as never })
  t.is(docker.vf?.pci, pciOf(1), 'what is reserved is given to nobody who does not name it')
  await kubelet.list(resource, ({ healthy }) => healthy.length === 1)
  const refused = await t.throwsAsync(kubelet.plugin(resource).then((plugin) => plugin.allocate([pciOf(1)])))
  t.regex(refused?.message ?? '', /FAILED_PRECONDITION/)
  t.is(HeddleError.from(await t.throwsAsync(claim('late', { selector: { pfNames: ['eth0'] } as never }))).code, 'vf-exhausted')

  const cni = await claim('of-cni', { pci: pciOf(0) })
  t.like(cni.vf, { pci: pciOf(0), driver: 'vfio-pci' })
  t.is(HeddleError.from(await t.throwsAsync(claim('another', { pci: pciOf(0) }))).code, 'vf-in-use')
  await release('of-cni')
  t.like((await vf(0))?.claim, { reservedBy: 'kubelet', owner: '' }, 'the container is gone, its pod is not')

  kubelet.pods.clear()
  for (let round = 0; round < 500 && (await vf(0))?.claim !== undefined; round++) await pause(20)
  t.is((await vf(0))?.claim, undefined)
  t.is((await vf(0))?.driver, 'igbvf')
  await release('of-docker')
  await kubelet.list(resource, ({ healthy }) => healthy.length === 2)
})
