/** A host with a kubelet and a gateway, in front of VFs in memory: PF eth0 with four VFs, those of which pool `net` are offered. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Call, withCall } from '@heddle/core'
import { TestKubelet } from '@heddle/testkit'
import { clusterOf } from '../../cluster.ts'
import { FakeCluster, testHost } from '../../testing/fake-cluster.ts'
import { startGateway, type TestGateway } from '../../testing/gateway.ts'

export const resource = 'example.com/net'
export const vf = (index: number) => `0000:3b:02.${index}`

export interface KubeletHost {
  readonly cluster: FakeCluster
  readonly kubelet: TestKubelet
  readonly deviceInfoDir: string
  gateway: TestGateway | undefined
  stopGateway(): Promise<void>
  /** Another on the same host. */
  startGateway(): Promise<void>
  /** As Docker or CNI claim it for an endpoint. */
  claim(owner: string, pci: string): Promise<void>
  /** Frees an endpoint's claim. */
  release(owner: string): Promise<void>
  stop(): Promise<void>
}

export async function startKubeletHost(config: Readonly<Record<string, unknown>> = {}): Promise<KubeletHost> {
  const dir = mkdtempSync(join(tmpdir(), 'hdk-'))
  const cluster = await new FakeCluster().start()
  cluster.vfs.addPf('eth0', 4).carrier = true
  cluster.vfs.addPool({ name: 'net', selectors: [{ pfNames: ['eth0'] }], resourceName: resource })
  const kubelet = await new TestKubelet(dir).start()
  const deviceInfoDir = join(dir, 'devinfo')
  const places = { pluginDir: kubelet.pluginDir, podResourcesSocket: kubelet.podResourcesSocket, deviceInfoDir }
  const start = () => startGateway({ kubelet: { ...places, refreshMs: 50, takeBackMs: 50, releaseAfterMs: 0, ...config } }, cluster)
  const { vfAllocator } = clusterOf(cluster.bus, testHost)
  const within = (body: (call: Call) => Promise<void>) => withCall({ timeoutMs: 5000 }, body)
  const host: KubeletHost = {
    cluster,
    kubelet,
    deviceInfoDir,
    gateway: await start(),
    async stopGateway() {
      await host.gateway?.stop()
      host.gateway = undefined
    },
    async startGateway() {
      host.gateway = await start()
    },
    claim: (owner, pci) =>
      within(async (call) => {
        await vfAllocator.claim({ owner, host: testHost, pci }, call)
      }),
    release: (owner) =>
      within(async (call) => {
        await vfAllocator.release({ owner }, call)
      }),
    async stop() {
      await host.stopGateway()
      await kubelet.stop()
      await cluster.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
  return host
}
