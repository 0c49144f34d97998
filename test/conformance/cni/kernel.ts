/** What the kernel says of a network namespace, asked with `ip` of iproute2: not with what is under test. */
import { run } from '@heddle/testkit'

export interface KernelLink {
  readonly name: string
  readonly mac: string
  readonly mtu: number
  readonly up: boolean
  /** Name of the bridge it is a port of; empty for none. */
  readonly master: string
  /** `a/len`, those of scope link left out. */
  readonly addresses: readonly string[]
}

export interface KernelRoute {
  /** `a/len`; of a default route `0.0.0.0/0` or `::/0`. */
  readonly destination: string
  /** Empty for none. */
  readonly gateway: string
  readonly link: string
}

export function ip(netns: string, ...args: string[]): Promise<string> {
  return run(['nsenter', `--net=${netns}`, 'ip', ...args])
}

export async function linksOf(netns: string): Promise<readonly KernelLink[]> {
  const links = JSON.parse((await ip(netns, '-json', 'address', 'show')) || '[]') as any[]
  return links.map(({ ifname, address, mtu, flags, master, addr_info }) => ({
    name: ifname,
    mac: address ?? '',
    mtu,
    up: flags.includes('UP'),
    master: master ?? '',
    addresses: addr_info.filter((info: any) => info.scope !== 'link').map((info: any) => `${info.local}/${info.prefixlen}`),
  }))
}

export async function linkOf(netns: string, name: string): Promise<KernelLink | undefined> {
  return (await linksOf(netns)).find((link) => link.name === name)
}

/** Those of table main. */
export async function routesOf(netns: string): Promise<readonly KernelRoute[]> {
  const families = await Promise.all(
    (['-4', '-6'] as const).map(async (family) => {
      const routes = JSON.parse((await ip(netns, family, '-json', 'route', 'show')) || '[]') as any[]
      const length = family === '-4' ? 32 : 128
      return routes.map(({ dst, gateway, dev }): KernelRoute => {
        const destination = dst === 'default' ? (family === '-4' ? '0.0.0.0/0' : '::/0') : dst.includes('/') ? dst : `${dst}/${length}`
        return { destination, gateway: gateway ?? '', link: dev ?? '' }
      })
    }),
  )
  return families.flat()
}

/** Everything of a namespace that a call could have changed, as text to be compared. */
export async function stateOf(netns: string): Promise<string> {
  const [links, routes] = await Promise.all([linksOf(netns), routesOf(netns)])
  return JSON.stringify({ links, routes }, null, 1)
}
