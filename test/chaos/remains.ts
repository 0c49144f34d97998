/** What must not remain once all networks are removed, asked of etcd and of the kernels themselves. */
import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { run } from '@heddle/testkit'

/** Hosts stay members of the cluster; what is leased ends by itself: signs of life, fences, VNIs that may not be used again yet. */
const mayStay = /^heddle\/(store\/|overlay\/(host|live|vtep)\/|networks\/fence\/|vf\/host\/)/
const ourLinks = /^h[bdpx][0-9a-f]{11}$/

/** Waits up to `withinMs` for all to be gone: what was used last lingers. */
export async function remains(etcdUrl: string, hosts: readonly { readonly netns: string; readonly fabric: string }[], withinMs: number): Promise<string[]> {
  for (const begun = performance.now(); ; await delay(500)) {
    const left = [...(await keys(etcdUrl)), ...(await Promise.all(hosts.map((host) => kernelObjects(host)))).flat()]
    if (left.length === 0 || performance.now() - begun > withinMs) return left
  }
}

async function keys(etcdUrl: string): Promise<string[]> {
  const listed = await run(['etcdctl', '--endpoints', etcdUrl, 'get', '--prefix', 'heddle/'], { env: { ETCDCTL_API: '3' } })
  const lines = listed.trimEnd().split('\n')
  return lines.flatMap((key, index) => (index % 2 === 1 || mayStay.test(key) || /"freedAt"/.test(lines[index + 1] ?? '') ? [] : [`${key} ${lines[index + 1]}`]))
}

async function kernelObjects({ netns, fabric }: { readonly netns: string; readonly fabric: string }): Promise<string[]> {
  const left: string[] = []
  // The file stays a moment after its namespace was unmounted.
  if (existsSync(fabric) && (await run(['stat', '--file-system', '--format=%T', fabric])).trim() === 'nsfs') left.push(`namespace ${fabric}`)
  const links = JSON.parse(await run(['nsenter', `--net=${netns}`, 'ip', '-json', 'link'])) as { ifname: string }[]
  left.push(...links.filter(({ ifname }) => ourLinks.test(ifname)).map(({ ifname }) => `link ${ifname}`))
  const { nftables } = JSON.parse(await run(['nsenter', `--net=${netns}`, 'nft', '--json', 'list', 'ruleset'])) as {
    nftables: Record<string, { name?: string; elem?: unknown[] }>[]
  }
  for (const object of nftables) {
    const set = object['set'] ?? object['map']
    // `loaded` holds the version of the rules.
    if (set?.elem !== undefined && set.name !== 'loaded') left.push(`nftables ${set.name}: ${JSON.stringify(set.elem)}`)
  }
  return left
}
