/** What must be left when all is quiet again: the two witnesses and nothing else, in records, claims and kernels. */
import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { run } from '@heddle/testkit'
import type { ChaosCluster } from './cluster.ts'

export interface Leftovers {
  readonly endpoints: readonly string[]
  readonly claims: readonly string[]
  /** Per host: ends of veths that are Heddle's. */
  readonly links: readonly string[]
}

export async function leftovers(cluster: ChaosCluster): Promise<Leftovers> {
  const gateway = cluster.hosts[0].gateway.current()
  const endpoints = (await gateway.json(['endpoint', 'ls'])) as { containerId: string }[]
  const pools = (await gateway.json(['pool', 'ls'])) as { pool: { id: string } }[]
  const claims: string[] = []
  for (const { pool } of pools) {
    const inspected = (await gateway.json(['pool', 'inspect', pool.id])) as { claims?: { address: string; owner: string }[] }
    claims.push(...(inspected.claims ?? []).map((claim) => `${claim.address} of ${claim.owner}`))
  }
  const links: string[] = []
  for (const { name, netns, fabric } of cluster.hosts) {
    for (const path of [netns, fabric].filter((one) => existsSync(one))) {
      const found = JSON.parse(await run(['nsenter', `--net=${path}`, 'ip', '-json', 'link', 'show', 'type', 'veth'])) as { ifname: string }[]
      links.push(...found.filter(({ ifname }) => /^h[dp][0-9a-f]{11}$/.test(ifname)).map(({ ifname }) => `${name}:${ifname}`))
    }
  }
  return { endpoints: endpoints.map(({ containerId }) => containerId).sort(), claims, links }
}

/** Waits until only `containers` remain, or `timeoutMs` have passed; answers what is there then. */
export async function settle(cluster: ChaosCluster, containers: number, timeoutMs: number): Promise<Leftovers> {
  for (const begun = performance.now(); ; ) {
    const left = await leftovers(cluster).catch(() => undefined)
    const quiet = left !== undefined && left.endpoints.length === containers && left.claims.length === 2 * containers && left.links.length === containers
    if (quiet || performance.now() - begun > timeoutMs) return left ?? (await leftovers(cluster))
    await delay(1_000)
  }
}
