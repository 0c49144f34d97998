/** Networks and calls that tests share. */
import { setTimeout } from 'node:timers/promises'
import type { FakeCluster } from './fake-cluster.ts'
import type { CniEnv } from './gateway.ts'

/** A network namespace that is always there; it takes `allowHost`, because it is the test's own. */
export const netns = '/proc/self/ns/net'
export const allowHost: CniEnv = { CNI_NETNS_OVERRIDE: '1' }

export const addEnv: CniEnv = { CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_NETNS: netns, ...allowHost }
export const blueConfig = { cniVersion: '1.1.0', name: 'blue', type: 'heddle' }

/** A bridge network with both families. */
export function addBlue(cluster: FakeCluster) {
  return cluster.addNetwork({
    name: 'blue',
    kind: 'bridge',
    pools: [
      { poolId: 'blue.10.1.0.0_24', prefix: '10.1.0.0/24', gateway: '10.1.0.1' },
      { poolId: 'blue.fd00::_64', prefix: 'fd00::/64', gateway: 'fd00::1' },
    ],
  })
}

/** Everything of an endpoint that could be left behind. */
export function leftovers(cluster: FakeCluster) {
  return { claims: cluster.ipam.claims.size, endpoints: cluster.endpoints.size, interfaces: cluster.interfaces.size }
}

/** What is left once nothing is left, or after two seconds: an endpoint's claims are freed behind the answer. */
export async function settled(cluster: FakeCluster) {
  for (let attempt = 0; attempt < 200 && Object.values(leftovers(cluster)).some((count) => count > 0); attempt++) await setTimeout(10)
  return leftovers(cluster)
}

export const none = { claims: 0, endpoints: 0, interfaces: 0 }
