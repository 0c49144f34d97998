/** What is there when all is quiet again: in records and claims, as the API tells, and in the kernels, as iproute2 does. */
import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { run } from '@heddle/testkit'
import type { ChaosCluster } from './cluster.ts'

export interface Presence {
  /** Container ids. */
  readonly endpoints: readonly string[]
  readonly claims: number
  /** Ends of veths that are Heddle's, on all hosts. */
  readonly links: number
  /** Entries for endpoints of other hosts: VXLAN destinations and neighbours. */
  readonly peers: number
}

export const nothing: Presence = { endpoints: [], claims: 0, links: 0, peers: 0 }

const settleMs = 90_000

interface Observed {
  readonly present: Presence
  /** The same by name, for the message of a failure. */
  readonly inDetail: string
}

/** Waits until exactly `expected` is there; answers what is there then or in the end. */
export async function settle(cluster: ChaosCluster, expected: Presence): Promise<Observed> {
  for (const begun = performance.now(); ; await delay(1_000)) {
    const late = performance.now() - begun > settleMs
    const observed = await observe(cluster).catch((error: unknown) => {
      // A gateway may be on its way back.
      if (late) throw error
    })
    if (observed !== undefined && (late || isDeepStrictEqual(observed.present, expected))) return observed
  }
}

async function observe(cluster: ChaosCluster): Promise<Observed> {
  const endpoints = (await cluster.gateway().json(['endpoint', 'ls'])) as { containerId: string }[]
  const pools = (await cluster.gateway().json(['pool', 'ls'])) as { pool: { id: string } }[]
  const claims: string[] = []
  for (const { pool } of pools) {
    const inspected = (await cluster.gateway().json(['pool', 'inspect', pool.id])) as { claims?: { address: string; owner: string }[] }
    claims.push(...(inspected.claims ?? []).map((claim) => `${claim.address} of ${claim.owner}`))
  }
  const links: string[] = []
  const peers: string[] = []
  for (const { name, netns, fabric } of cluster.hosts) {
    for (const path of [netns, fabric].filter((one) => existsSync(one))) {
      const list = async (...command: string[]) => JSON.parse((await run(['nsenter', `--net=${path}`, ...command])) || '[]') as Record<string, string>[]
      const ours = (await list('ip', '-json', 'link', 'show', 'type', 'veth')).filter(({ ifname }) => /^h[dp][0-9a-f]{11}$/.test(ifname ?? ''))
      links.push(...ours.map(({ ifname }) => `${name}:${ifname}`))
      const destinations = (await list('bridge', '-json', 'fdb')).filter(({ dst }) => dst !== undefined)
      const neighbours = await list('ip', '-json', 'neighbour', 'show', 'nud', 'permanent')
      peers.push(...destinations.map(({ mac, dst }) => `${name}:${mac} at ${dst}`), ...neighbours.map(({ dst, lladdr }) => `${name}:${dst} is ${lladdr}`))
    }
  }
  const present = { endpoints: endpoints.map(({ containerId }) => containerId).sort(), claims: claims.length, links: links.length, peers: peers.length }
  return { present, inDetail: [...claims, ...links, ...peers].join(', ') }
}
