/** What is left after everything was removed, asked of the API and of the kernel itself. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { run } from '@heddle/testkit'
import { say } from './progress.ts'
import type { DemoHost } from './stage.ts'

type Leftovers = Record<'addresses' | 'endpoints' | 'links' | 'FDB entries' | 'namespaces', number>

/** Prefixes of Heddle's interface names, see netns-wiring. */
const ours = /^h[bdpx][0-9a-f]{11}$/

/** Polls until all is zero; rejects with what is left when that takes longer than `withinMs`. */
export async function checkLeaks(hosts: readonly DemoHost[], withinMs: number): Promise<void> {
  const deadline = performance.now() + withinMs
  let left = await count(hosts)
  while (Object.values(left).some((number) => number > 0) && performance.now() < deadline) {
    await delay(250)
    left = await count(hosts)
  }
  for (const [what, number] of Object.entries(left)) say(`  ${what.padEnd(12)} ${number}`)
  if (Object.values(left).some((number) => number > 0)) throw new Error('something is left over')
}

async function count(hosts: readonly DemoHost[]): Promise<Leftovers> {
  const [first] = hosts
  if (first === undefined) throw new Error('no hosts')
  const [pools, endpoints] = await Promise.all([first.heddle.json(['pool', 'ls']), first.heddle.json(['endpoint', 'ls'])])
  const left: Leftovers = {
    addresses: pools.reduce((sum: number, pool: { claimed?: string }) => sum + Number(pool.claimed ?? 0), 0),
    endpoints: endpoints.length,
    links: 0,
    'FDB entries': 0,
    namespaces: 0,
  }
  for (const host of hosts) {
    const fabric = join(host.heddle.runDir, 'netns/fabric')
    const namespaces = [host.netns, ...((await isNamespace(fabric)) ? [fabric] : [])]
    left.namespaces += namespaces.length - 1
    for (const namespace of namespaces) {
      const links = JSON.parse((await inside(namespace, ['ip', '-json', 'link'])) || '[]') as { ifname: string }[]
      left.links += links.filter((link) => ours.test(link.ifname)).length
      const entries = JSON.parse((await inside(namespace, ['bridge', '-json', 'fdb'])) || '[]') as { ifname: string }[]
      left['FDB entries'] += entries.filter((entry) => ours.test(entry.ifname)).length
    }
  }
  return left
}

/** The file stays a moment after its namespace was unmounted; only a mount of nsfs is a namespace. */
async function isNamespace(path: string): Promise<boolean> {
  return existsSync(path) && (await run(['stat', '--file-system', '--format=%T', path])).trim() === 'nsfs'
}

function inside(namespace: string, command: readonly string[]): Promise<string> {
  return run(['nsenter', `--net=${namespace}`, ...command])
}
