/** What this kernel has, found by trying it in a namespace made for that. */
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { type Call, HeddleError } from '@heddle/core'
import type { Feature, Kernel, Namespace, SetBridgePort, Step } from './types.ts'

/** Of the probe's namespace in the folder for temporary files; one that is old was left by a probe that was ended. */
export const probePrefix = 'heddle-probe-'

export async function probeKernel(kernel: Kernel, call: Call): Promise<readonly Feature[]> {
  const path = `${tmpdir()}/${probePrefix}${randomBytes(6).toString('hex')}`
  const ns: Namespace = { path }
  const features: Feature[] = []
  const attempt = async (name: string, body: () => Promise<unknown>) => {
    try {
      await body()
      features.push({ name, present: true, detail: '' })
    } catch (error) {
      features.push({ name, present: false, detail: HeddleError.from(error).message })
    }
  }
  const steps = (name: string, ...list: readonly Step[]) => attempt(name, () => kernel.run(list, call))
  const port = (name: string, flags: Omit<SetBridgePort, 'op' | 'ns' | 'name'>) => steps(name, { op: 'bridge.port', ns, name: 'v0', ...flags })
  await attempt('network namespaces', () => kernel.createNamespace(path, call))
  if (features[0]?.present !== true) return features
  try {
    await steps('bridge', { op: 'bridge.add', ns, name: 'b0', up: true })
    await steps('veth', { op: 'veth.add', ns, name: 'v0', master: 'b0', up: true, peer: { ns, name: 'v1', up: true } })
    await steps('vxlan', { op: 'vxlan.add', ns, socketNs: ns, name: 'x0', vni: 1, local: '127.0.0.1', port: 4789 })
    await steps('vxlan over IPv6', { op: 'vxlan.add', ns, socketNs: ns, name: 'x1', vni: 2, local: '::1', port: 4790 })
    await port('bridge neigh_suppress', { neighbourSuppress: true })
    await port('bridge port locked', { locked: true })
    await port('bridge port isolated', { isolated: true })
    await port('bridge port guard', { guard: true })
    await steps('ipv6', { op: 'address.replace', ns, name: 'v1', address: 'fd00::1/64' })
    // Of links on one link either kind excludes the other; v0 is a port.
    await steps('macvlan', { op: 'macvlan.add', ns, name: 'm0', link: 'v1', mode: 'bridge' })
    await steps('802.1Q VLAN', { op: 'vlan.add', ns, name: 'v1.1', link: 'v1', vlan: 1 })
    await kernel.removeLink(ns, 'm0', call)
    await steps('ipvlan', { op: 'ipvlan.add', ns, name: 'i0', link: 'v1', mode: 'l2' })
    await attempt('nftables', () => kernel.nftLoad(ns, 'table inet heddle_probe { set a { typeof ip saddr . @th,96,24; }; }\n', call))
  } finally {
    await kernel.deleteNamespace(path, call)
  }
  return features
}
