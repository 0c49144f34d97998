/** PCI functions read from sysfs (Documentation/ABI/testing/sysfs-bus-pci), PFs and VFs among them. */
import { naturally, ownNetdevs, type Port, readPorts, representorsOf, vdpaOf } from './netdevs.ts'
import type { Tree } from './read.ts'
import type { PciFunction, PhysicalFunction, VirtualFunction } from './types.ts'

interface Read {
  readonly fn: PciFunction
  /** Names in its folder. */
  readonly entries: readonly string[]
  /** Its netdevs, representors included. */
  readonly ports: readonly Port[]
}

const mostReads = 3

/** A whole picture of one function: it is read again when it was made anew meanwhile, undefined when it has gone. */
async function readFunction(tree: Tree, pci: string): Promise<Read | undefined> {
  const device = tree.device(pci)
  for (let read = 1; read <= mostReads; read++) {
    const inode = await tree.inode(device)
    if (inode === undefined) return undefined
    const found = await readParts(tree, device, pci, inode)
    if ((await tree.inode(device)) === inode) return found
  }
  return undefined
}

async function readParts(tree: Tree, device: string, pci: string, inode: bigint): Promise<Read | undefined> {
  if ((await tree.text(`${device}/class`))?.startsWith('0x02') !== true) return undefined
  const entries = await tree.names(device)
  const [vendor, model, driver, override, numaNode, iommuGroup, rdmaDevices, ports] = await Promise.all([
    tree.text(`${device}/vendor`),
    tree.text(`${device}/device`),
    tree.target(`${device}/driver`),
    tree.text(`${device}/driver_override`),
    tree.number(`${device}/numa_node`),
    tree.target(`${device}/iommu_group`),
    entries.includes('infiniband') ? tree.names(`${device}/infiniband`) : [],
    readPorts(tree, device, entries),
  ])
  const fn: PciFunction = {
    pci,
    vendor: id(vendor),
    device: id(model),
    driver,
    driverOverride: override === undefined || override === '(null)' ? '' : override,
    numaNode: numaNode ?? -1,
    iommuGroup,
    netdevs: ownNetdevs(ports),
    rdmaDevices: [...rdmaDevices].sort(naturally),
    vdpaDevices: vdpaOf(entries),
    inode,
  }
  return { fn, entries, ports }
}

/** Undefined when it is no network function, or can have no VFs. */
export async function readPf(tree: Tree, pci: string): Promise<PhysicalFunction | undefined> {
  const device = tree.device(pci)
  const totalVfs = await tree.number(`${device}/sriov_totalvfs`)
  if (totalVfs === undefined || totalVfs === 0) return undefined
  const read = await readFunction(tree, pci)
  if (read === undefined) return undefined
  const [numVfs, autoprobe, links] = await Promise.all([
    tree.number(`${device}/sriov_numvfs`),
    tree.text(`${device}/sriov_drivers_autoprobe`),
    virtfns(tree, device, read.entries),
  ])
  const representors = await representorsOf(tree, pci, read.ports, [...links.keys()])
  const vfs = await Promise.all([...links].map(([index, vf]) => readVfOf(tree, pci, read.entries, index, vf, representors)))
  return {
    ...read.fn,
    totalVfs,
    numVfs: numVfs ?? 0,
    driversAutoprobe: autoprobe !== '0',
    switchdev: representors.size > 0,
    vfs: vfs.filter((vf) => vf !== undefined),
  }
}

/** Undefined when it is no VF of a PF on this host. */
export async function readVf(tree: Tree, pci: string): Promise<VirtualFunction | undefined> {
  const pf = await tree.target(`${tree.device(pci)}/physfn`)
  if (pf === '') return undefined
  const device = tree.device(pf)
  const entries = await tree.names(device)
  const index = await indexOf(tree, device, entries, pci)
  if (index === undefined) return undefined
  // Told by files that may wait.
  const representors = tree.waits ? await representorsOf(tree, pf, await readPorts(tree, device, entries), [index]) : new Map<number, string>()
  return await readVfOf(tree, pf, entries, index, pci, representors)
}

/** The VF as known, with those of its netdevs that are here now; undefined when there may be anything else to say. */
export async function sameVf(tree: Tree, pci: string, known: VirtualFunction): Promise<VirtualFunction | undefined> {
  const device = tree.device(pci)
  const isSame = async () => (await tree.inode(device)) === known.inode && (await tree.target(`${device}/driver`)) === known.driver
  if (pci !== known.pci || !(await isSame())) return undefined
  // Netdevs of virtio devices are elsewhere below it.
  const entries = await tree.names(device)
  if (entries.some((name) => /^(?:virtio|vdpa)\d+$/.test(name))) return undefined
  const names = entries.includes('net') ? await tree.names(`${device}/net`) : []
  const netdevs = known.netdevs.filter(({ name }) => names.includes(name))
  return netdevs.length === names.length && (await isSame()) ? { ...known, netdevs } : undefined
}

async function readVfOf(
  tree: Tree,
  pf: string,
  pfEntries: readonly string[],
  index: number,
  pci: string,
  representors: ReadonlyMap<number, string>,
): Promise<VirtualFunction | undefined> {
  const read = await readFunction(tree, pci)
  if (read === undefined) return undefined
  const trunkFile = `${tree.device(pf)}/sriov/${index}/trunk`
  const hasTrunk = pfEntries.includes('sriov') && (await tree.exists(trunkFile))
  return { ...read.fn, pf, index, representor: representors.get(index) ?? '', trunkFile: hasTrunk ? trunkFile : '' }
}

/** PCI addresses of the VFs by index, ascending. */
async function virtfns(tree: Tree, device: string, entries: readonly string[]): Promise<ReadonlyMap<number, string>> {
  const links = entries.filter((name) => /^virtfn\d+$/.test(name)).sort(naturally)
  const targets = await Promise.all(links.map((name) => tree.target(`${device}/${name}`)))
  return new Map(links.map((name, at): [number, string] => [Number(name.slice('virtfn'.length)), targets[at] ?? '']).filter(([, vf]) => vf !== ''))
}

/** Addresses of VFs are a progression (First VF Offset and VF Stride of the SR-IOV capability): two links tell where any other is. */
async function indexOf(tree: Tree, device: string, entries: readonly string[], pci: string): Promise<number | undefined> {
  const [first, second] = await Promise.all([tree.target(`${device}/virtfn0`), tree.target(`${device}/virtfn1`)])
  const guess = second === '' ? 0 : (routingId(pci) - routingId(first)) / (routingId(second) - routingId(first))
  if (Number.isInteger(guess) && (await tree.target(`${device}/virtfn${guess}`)) === pci) return guess
  return [...(await virtfns(tree, device, entries))].find(([, vf]) => vf === pci)?.[0]
}

/** Bus, device and function as 16 bits. */
function routingId(pci: string): number {
  const [, bus = '', slot = '', fn = ''] = pci.split(/[:.]/)
  return (Number.parseInt(bus, 16) << 8) + (Number.parseInt(slot, 16) << 3) + Number(fn)
}

/** `0x8086` as `8086`. */
function id(text: string | undefined): string {
  return (text ?? '').replace(/^0x/, '').toLowerCase()
}
