/** Configurations for sriov-cni with another `type`, and what of a VF could be left behind. */
import type { VfSettings } from '@heddle/contract'
import type { FakeCluster } from './fake-cluster.ts'
import type { CniEnv } from './gateway.ts'
import { addEnv, leftovers } from './networks.ts'

/** VFs of eth0 as `addPf` numbers them. */
export const vfPci = (index: number) => `0000:3b:02.${index}`

/** As sriov-cni's docs/configuration-reference.md has it, every field filled in. */
export const everyOption = {
  cniVersion: '1.1.0',
  name: 'sriov-net',
  type: 'heddle',
  deviceID: vfPci(0),
  mac: 'CA:FE:C0:FF:EE:00',
  vlan: 1000,
  vlanQoS: 4,
  vlanProto: '802.1ad',
  min_tx_rate: 100,
  max_tx_rate: 200,
  spoofchk: 'off',
  trust: 'on',
  link_state: 'enable',
  logLevel: 'debug',
  logFile: '/tmp/sriov.log',
}

/** The least there is: frames alone. */
export const bare = { cniVersion: '1.1.0', name: 'sriov-net', type: 'heddle', deviceID: vfPci(0) }

export const vfEnv: CniEnv = { ...addEnv, CNI_IFNAME: 'net1' }

export function settingsOf(cluster: FakeCluster, containerId = 'c1'): Partial<VfSettings> {
  const endpoint = [...cluster.endpoints.values()].find((one) => one.containerId === containerId)
  const given = Object.entries(endpoint?.vf?.settings ?? {}).filter(([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0))
  return Object.fromEntries(given)
}

export function left(cluster: FakeCluster) {
  return { ...leftovers(cluster), vfClaims: cluster.vfs.claims.size, astray: cluster.vfs.astray() }
}

export const nothingLeft = { claims: 0, endpoints: 0, interfaces: 0, vfClaims: 0, astray: [] as string[] }
