/** What is left after containers, and then their network, were removed: asked of the API, of the kernel and of every process. */
import { existsSync, globSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { run } from '@heddle/testkit'
import { say } from './progress.ts'
import type { DemoHost } from './stage.ts'

type Leftovers = Record<'addresses' | 'endpoints' | 'links' | 'FDB entries' | 'neighbours' | 'namespaces' | 'temporary files', number>

/** Prefixes of Heddle's interface names, see netns-wiring: those of one endpoint, and those of the network itself too. */
const ofEndpoint = /^h[dp][0-9a-f]{11}$/
const ours = /^h[bdpx][0-9a-f]{11}$/

/**
 * Polls until all is zero; rejects with what is left when that takes longer than `withinMs`. While the network is there,
 * only what belongs to a container counts.
 */
export async function checkLeaks(hosts: readonly DemoHost[], withinMs: number, network: 'gone' | 'there' = 'gone'): Promise<void> {
  const deadline = performance.now() + withinMs
  let left = await count(hosts, network)
  while (Object.values(left).some((number) => number > 0) && performance.now() < deadline) {
    await delay(250)
    left = await count(hosts, network)
  }
  for (const [what, number] of Object.entries(left)) say(`  ${what.padEnd(15)} ${number}`)
  if (Object.values(left).some((number) => number > 0)) throw new Error('something is left over')
}

async function count(hosts: readonly DemoHost[], network: 'gone' | 'there'): Promise<Leftovers> {
  const [first] = hosts
  if (first === undefined) throw new Error('no hosts')
  const [pools, endpoints] = await Promise.all([first.heddle.json(['pool', 'ls']), first.heddle.json(['endpoint', 'ls'])])
  const left: Leftovers = {
    addresses: pools.reduce((sum: number, pool: { claimed?: string }) => sum + Number(pool.claimed ?? 0), 0),
    endpoints: endpoints.length,
    links: 0,
    'FDB entries': 0,
    neighbours: 0,
    namespaces: 0,
    'temporary files': 0,
  }
  for (const host of hosts) {
    const fabric = join(host.heddle.runDir, 'netns/fabric')
    const hasFabric = await isNamespace(fabric)
    for (const namespace of [host.netns, ...(hasFabric ? [fabric] : [])]) {
      const links = await list<{ ifname: string }>(namespace, ['ip', '-json', 'link'])
      left.links += links.filter((link) => (network === 'gone' ? ours : ofEndpoint).test(link.ifname)).length
      // With `dst`: a peer behind a VTEP. The network's own devices have entries for themselves.
      const entries = await list<{ ifname: string; dst?: string }>(namespace, ['bridge', '-json', 'fdb'])
      left['FDB entries'] += entries.filter((entry) => ours.test(entry.ifname) && (network === 'gone' || entry.dst !== undefined)).length
      const neighbours = await list<{ dev: string }>(namespace, ['ip', '-json', 'neigh', 'show', 'nud', 'permanent'])
      left.neighbours += neighbours.filter((entry) => ours.test(entry.dev)).length
    }
    const allowed = new Set([await inode(host.netns), ...(network === 'there' && hasFabric ? [await inode(fabric)] : [])])
    left.namespaces += [...namespacesOf(host)].filter((namespace) => !allowed.has(namespace)).length
    left['temporary files'] += readdirSync(host.heddle.tmpDir).length
  }
  return left
}

/** Network namespaces, as `net:[inode]`, that a host's Heddle or its container engine keeps alive by a mount or an open file. */
function namespacesOf(host: DemoHost): Set<string> {
  const engine = host.enginePid
  const held = new Set(mounted('self', ({ path }) => path.startsWith(host.heddle.runDir)))
  if (engine !== undefined) for (const namespace of mounted(engine, ({ isInOwnRun }) => isInOwnRun)) held.add(namespace)
  for (const pid of [host.heddle.program.pid, ...(engine === undefined ? [] : [engine])]) {
    for (const file of globSync(`/proc/${pid}/fd/*`)) if (linkOf(file).startsWith('net:[')) held.add(linkOf(file))
  }
  return held
}

/** nsfs mounts of a process, as proc(5) tells: id, parent, device, root (`net:[inode]`), path, ... - type, source. */
function mounted(pid: number | 'self', isWanted: (mount: { readonly path: string; readonly isInOwnRun: boolean }) => boolean): string[] {
  const mounts = readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
  // An engine has an empty /run of its own; its other mounts are copies of the machine's at its start.
  const ownRun = new Set(mounts.filter((mount) => mount.at(-2) === 'heddle-run').map(([id]) => id))
  for (const [id, parent] of mounts) if (ownRun.has(parent)) ownRun.add(id)
  return mounts.flatMap(([id, , , root = '', path = '']) => (root.startsWith('net:[') && isWanted({ path, isInOwnRun: ownRun.has(id) }) ? [root] : []))
}

function linkOf(file: string): string {
  try {
    return readlinkSync(file)
  } catch {
    return '' // Closed meanwhile.
  }
}

async function inode(path: string): Promise<string> {
  return `net:[${(await run(['stat', '--format=%i', path])).trim()}]`
}

/** The file stays a moment after its namespace was unmounted; only a mount of nsfs is a namespace. */
async function isNamespace(path: string): Promise<boolean> {
  return existsSync(path) && (await run(['stat', '--file-system', '--format=%T', path])).trim() === 'nsfs'
}

async function list<T>(namespace: string, command: readonly string[]): Promise<T[]> {
  return JSON.parse((await run(['nsenter', `--net=${namespace}`, ...command])) || '[]') as T[]
}
