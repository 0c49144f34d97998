// What CNI's ADD and DEL do with a VF the kubelet has given to the pod: the flows behind them, on the same claims.
import { HeddleError, withCall } from '@heddle/core'
import test from 'ava'
import { attach } from '../flows/attach.ts'
import { detach } from '../flows/detach.ts'
import { netns } from '../testing/networks.ts'
import { startParts } from '../testing/parts.ts'
import { resource, startKubeletHost, vf } from './testing/kubelet-host.ts'

test('attaching by the address of a VF takes the reservation over, detaching gives it back to the pod', async (t) => {
  const host = await startKubeletHost()
  t.teardown(host.stop)
  const { cluster, kubelet } = host
  await kubelet.servePodResources()
  const { parts, stop } = await startParts(cluster)
  t.teardown(stop)
  cluster.addNetwork({ name: 'fast', kind: 'sriov', sriov: { settings: { vlan: 100 } } })
  const endpointOf = (id: string) => ({ id, containerId: id, containerName: '', interfaceName: 'net1', sandbox: netns, mac: '', ports: [], runtime: 'cni' })
  const add = (id: string, pci: string) => {
    const wish = { endpoint: endpointOf(id), network: parts.directory.byName.bind(parts.directory, 'fast'), addresses: [], routes: [], vf: { pci } }
    return withCall({ timeoutMs: 5000, key: id }, (call) => attach(parts, wish, call))
  }

  const { envs } = await kubelet.admit('pod', resource, 1)
  const deviceID = envs['PCIDEVICE_EXAMPLE_COM_NET'] ?? ''
  const { endpoint } = await add('sandbox', deviceID)
  t.is(endpoint.vf?.pci, vf(0))
  t.like(cluster.vfs.claims.get(vf(0)), { owner: 'sandbox', reservedBy: 'kubelet' })
  t.is(HeddleError.from(await t.throwsAsync(add('another', deviceID))).code, 'vf-in-use')
  t.true((await kubelet.plugin(resource)).healthy.includes(vf(0)), 'it is the pod’s, whatever its endpoint has set')

  const wish = { endpointId: 'sandbox', networkId: endpoint.networkId, sandbox: netns, interfaceName: 'net1' }
  await withCall({ timeoutMs: 5000, key: 'sandbox' }, (call) => detach(parts, wish, call))
  t.like(cluster.vfs.claims.get(vf(0)), { owner: '', reservedBy: 'kubelet' })
  kubelet.pods.clear()
  await kubelet.until('the reservation has ended', () => !cluster.vfs.claims.has(vf(0)))
  t.deepEqual(cluster.vfs.astray(), [])
})
