/** What a VF is like by sysfs and `ip`, without a line of the product: what the supervisor judges by. */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A netdev, in whichever namespace it is. */
export interface Netdev {
  readonly name: string
  readonly mac: string
  readonly mtu: number
  readonly alias: string
  readonly up: boolean
  readonly addresses: readonly string[]
}

export interface Look {
  /** By its PF; a MAC that is the VF's own is as none. */
  readonly settings: string
  readonly vlan: number
  readonly driver: string
  readonly override: string
  /** In the host's namespace. */
  readonly outside: Netdev | undefined
  /** In its sandbox; other links there than `lo` and it by name. */
  readonly inside: Netdev | undefined
  readonly others: readonly string[]
}

export interface Place {
  readonly pci: string
  readonly index: number
  /** Its own, at the baseline. */
  readonly mac: string
  /** Name of the namespace. */
  readonly sandbox: string
}

/** All of them at once. */
export async function look(pfName: string, places: readonly Place[]): Promise<Look[]> {
  const [host, ...sandboxes] = await Promise.all([
    links(['-d', 'link', 'show', 'dev', pfName]),
    ...places.map(({ sandbox }) => (existsSync(`/run/netns/${sandbox}`) ? links(['-d', '-n', sandbox, 'address', 'show']) : [])),
  ])
  return places.map(({ pci, index, mac }, position) => {
    const device = `/sys/bus/pci/devices/${pci}`
    const { address, mac: older, ...info } = host?.[0].vfinfo_list.find(({ vf }: { vf: number }) => vf === index) ?? {}
    const admin = address ?? older
    const there = (sandboxes[position] ?? []).filter(({ ifname }) => ifname !== 'lo')
    const inside = there.find(({ ifname }) => ifname === 'net1')
    return {
      settings: JSON.stringify({ ...info, mac: admin === mac ? '00:00:00:00:00:00' : admin }),
      vlan: info.vlan_list?.[0]?.vlan ?? 0,
      driver: existsSync(`${device}/driver`) ? basename(readlinkSync(`${device}/driver`)) : '',
      override: read(`${device}/driver_override`).replace('(null)', ''),
      outside: outside(device),
      inside: inside === undefined ? undefined : netdevOf(inside),
      others: there.filter((one) => one !== inside).map(({ ifname }) => ifname),
    }
  })
}

async function links(command: readonly string[]): Promise<any[]> {
  // A namespace may end while it is looked at.
  const { stdout } = await run('ip', ['-j', ...command]).catch(() => ({ stdout: '[]' }))
  return JSON.parse(stdout)
}

function netdevOf({ ifname, address, mtu, ifalias, flags, addr_info }: any): Netdev {
  const addresses = addr_info.filter(({ family }: { family: string }) => family === 'inet').map((one: any) => `${one.local}/${one.prefixlen}`)
  return { name: ifname, mac: address, mtu, alias: ifalias ?? '', up: flags.includes('UP'), addresses }
}

function outside(device: string): Netdev | undefined {
  const [name] = existsSync(`${device}/net`) ? readdirSync(`${device}/net`) : []
  if (name === undefined) return undefined
  const of = (file: string) => read(`${device}/net/${name}/${file}`)
  return { name, mac: of('address'), mtu: Number(of('mtu')), alias: of('ifalias'), up: (Number(of('flags')) & 1) === 1, addresses: [] }
}

/** Gone between two looks: empty. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}
