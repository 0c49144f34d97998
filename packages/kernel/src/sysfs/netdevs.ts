/** Netdevs of a function, and which of them stand for its VFs on an eswitch (net/core/net-sysfs.c, Documentation/networking/representors.rst). */
import { basename } from 'node:path'
import type { Tree } from './read.ts'
import type { Netdev } from './types.ts'

export interface Port extends Netdev {
  /** Number of the port on its function: what tells two netdevs of one function apart. */
  readonly devPort: number
}

const mac = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/
const uplink = /^p(\d+)$/
const vfRepresentor = /^(?:c\d+)?pf(\d+)vf(\d+)$/
/** Of a VF, a subfunction, or another host's PF. */
const representor = /^(?:c\d+)?pf\d+(?:(?:vf|sf)\d+)?$/
const mostReads = 3

/** `entries` are the names in the function's folder. Uplinks first, then as the card numbers them. */
export async function readPorts(tree: Tree, device: string, entries: readonly string[]): Promise<readonly Port[]> {
  for (let read = 1; ; read++) {
    const paths = await netdevPaths(tree, device, entries)
    const ports = await Promise.all(paths.map((path) => readPort(tree, path)))
    const present = ports.filter((port) => port !== undefined)
    // One that was renamed between the two looks would else seem to have left the host.
    if (present.length === ports.length || read === mostReads) return present.sort(byPlace)
  }
}

async function netdevPaths(tree: Tree, device: string, entries: readonly string[]): Promise<readonly string[]> {
  const folders = entries.includes('net') ? [`${device}/net`] : []
  const virtio = entries.filter((name) => /^virtio\d+$/.test(name)).map((name) => `${device}/${name}`)
  for (const vdpa of vdpaOf(entries)) {
    for (const name of await tree.names(`${device}/${vdpa}`)) if (/^virtio\d+$/.test(name)) virtio.push(`${device}/${vdpa}/${name}`)
  }
  folders.push(...virtio.map((path) => `${path}/net`))
  const listed = await Promise.all(folders.map(async (folder) => (await tree.names(folder)).map((name) => `${folder}/${name}`)))
  return listed.flat()
}

export function vdpaOf(entries: readonly string[]): readonly string[] {
  return entries.filter((name) => /^vdpa\d+$/.test(name)).sort(naturally)
}

async function readPort(tree: Tree, path: string): Promise<Port | undefined> {
  const text = async (file: string) => (await tree.text(`${path}/${file}`)) ?? ''
  const [address, mtu, carrier, operstate, physSwitchId, physPortName, devPort, type] = await Promise.all(
    ['address', 'mtu', 'carrier', 'operstate', 'phys_switch_id', 'phys_port_name', 'dev_port', 'type'].map(text),
  )
  if (!address || !mtu || !type) return undefined
  return {
    name: basename(path),
    mac: mac.test(address) ? address : '',
    mtu: Number(mtu),
    carrier: carrier === '1',
    operstate: operstate ?? '',
    type: Number(type),
    physSwitchId: physSwitchId ?? '',
    physPortName: physPortName ?? '',
    devPort: Number(devPort),
  }
}

/** What of a function's ports are netdevs of the function itself. */
export function ownNetdevs(ports: readonly Port[]): readonly Netdev[] {
  return ports.filter((port) => port.physSwitchId === '' || !representor.test(port.physPortName)).map(({ devPort: _, ...netdev }) => netdev)
}

/**
 * Names of the netdevs that stand for a PF's VFs, by VF index. They are among the PF's own ports, or (older drivers, and
 * cards with one eswitch for all of their PFs) anywhere in the host's namespace, told by switch id and the PF's number.
 */
export async function representorsOf(tree: Tree, pci: string, ports: readonly Port[], vfs: readonly number[]): Promise<ReadonlyMap<number, string>> {
  const found = new Map<number, string>()
  const up = ports.find((port) => port.physSwitchId !== '' && !representor.test(port.physPortName))
  if (up === undefined) return found
  const take = (candidates: readonly { readonly name: string; readonly physPortName: string }[], pfNumber?: string) => {
    // A SmartNIC shows the other host's VFs beside our own, under a controller's number: ours come first.
    for (const { name, physPortName } of candidates.toSorted((a, b) => Number(a.physPortName.startsWith('c')) - Number(b.physPortName.startsWith('c')))) {
      const [, pf, vf] = vfRepresentor.exec(physPortName) ?? []
      if (vf !== undefined && (pfNumber === undefined || pf === pfNumber) && !found.has(Number(vf))) found.set(Number(vf), name)
    }
  }
  take(ports.filter((port) => port.physSwitchId === up.physSwitchId))
  if (vfs.every((vf) => found.has(vf))) return found
  const pfNumber = uplink.exec(up.physPortName)?.[1] ?? pci.at(-1)
  const own = new Set(ports.map((port) => port.name))
  const folder = tree.path('class/net')
  const others = (await tree.names(folder)).filter((name) => !own.has(name)).sort(naturally)
  const candidates = await Promise.all(
    others.map(async (name) => {
      const ours = (await tree.text(`${folder}/${name}/phys_switch_id`)) === up.physSwitchId
      return { name, physPortName: ours ? ((await tree.text(`${folder}/${name}/phys_port_name`)) ?? '') : '' }
    }),
  )
  take(candidates, pfNumber)
  return found
}

function byPlace(a: Port, b: Port): number {
  return Number(uplink.test(b.physPortName)) - Number(uplink.test(a.physPortName)) || a.devPort - b.devPort || naturally(a.name, b.name)
}

/** `eth10` after `eth9`. */
export function naturally(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true })
}
