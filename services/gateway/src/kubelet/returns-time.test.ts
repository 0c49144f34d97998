// With the clock in the test's hand: how long no pod must have had a device.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, withCall } from '@heddle/core'
import { TestKubelet } from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'
import { startParts } from '../testing/parts.ts'
import { DeviceInfoFiles } from './device-info.ts'
import { Reservations } from './reservations.ts'
import { Returns } from './returns.ts'
import { vf } from './testing/kubelet-host.ts'

const releaseAfterMs = 30_000

async function returnsOf(t: ExecutionContext) {
  const dir = mkdtempSync(join(tmpdir(), 'hdk-'))
  const { fake, parts, stop } = await startParts()
  const kubelet = await new TestKubelet(dir).start()
  await kubelet.servePodResources()
  t.teardown(async () => {
    await kubelet.stop()
    await stop()
    await fake.close()
    rmSync(dir, { recursive: true, force: true })
  })
  let nowMs = 1_000_000
  const kubeletParts = { ...parts, clock: { ...systemClock, monotonicMs: () => nowMs } }
  const reservations = new Reservations(kubeletParts, new DeviceInfoFiles(join(dir, 'devinfo')))
  const options = { podResourcesSocket: kubelet.podResourcesSocket, kubeletSocket: kubelet.socketPath, releaseAfterMs }
  const returns = new Returns(kubeletParts, reservations, options)
  fake.vfs.addPf('eth0', 1)
  await withCall({ timeoutMs: 10_000 }, (call) => parts.cluster.vfAllocator.claim({ host: 'h1', pci: vf(0), reserveFor: 'kubelet' }, call))
  return {
    kubelet,
    /** Whether the VF is still reserved when the kubelet is asked this much later. */
    async after(ms: number): Promise<boolean> {
      nowMs += ms
      await withCall({ timeoutMs: 10_000 }, (call) => returns.reconcile(new Map(), call)).catch(() => {})
      return fake.vfs.claims.has(vf(0))
    },
  }
}

test('a device goes back when no pod had it for the whole time', async (t) => {
  const { after } = await returnsOf(t)
  t.true(await after(0))
  t.true(await after(releaseAfterMs - 1))
  t.false(await after(1))
})

test('a pod that has it in between starts the time anew', async (t) => {
  const { after, kubelet } = await returnsOf(t)
  t.true(await after(0))
  kubelet.pods.set('pod', { resource: 'example.com/net', ids: [vf(0)] })
  t.true(await after(releaseAfterMs))
  kubelet.pods.clear()
  t.true(await after(releaseAfterMs))
  t.false(await after(releaseAfterMs))
})

test('a kubelet that has just started, and one that fails to answer, start the time anew', async (t) => {
  const { after, kubelet } = await returnsOf(t)
  t.true(await after(0))
  await kubelet.restart()
  t.true(await after(releaseAfterMs))
  kubelet.podResourcesFailure = 'not yet'
  t.true(await after(releaseAfterMs))
  kubelet.podResourcesFailure = undefined
  t.true(await after(0))
  t.false(await after(releaseAfterMs))
})
