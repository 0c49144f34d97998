/** Which VFs a selector or a pool means. Selectors were checked (`checkVfSelector`) before they come here. */
import type { Pf, Vf, VfPool, VfSelector } from '@heddle/contract'
import { splitIndexes } from '@heddle/core'

export function matches(selector: VfSelector, vf: Vf, pf: Pf | undefined): boolean {
  const oneOf = <T>(wanted: readonly T[], value: T) => wanted.length === 0 || wanted.includes(value)
  return (
    oneOf(selector.hosts, vf.host) &&
    oneOf(selector.vendors, vf.vendor) &&
    oneOf(selector.devices, vf.device) &&
    // Bound to another one while it is handed out, it is still of its kind.
    oneOf(selector.drivers, vf.baseline?.driver ?? vf.driver) &&
    oneOf(selector.linkTypes, vf.linkType) &&
    oneOf(selector.numaNodes, vf.numaNode) &&
    (!selector.rdma || vf.rdmaDevices.length > 0) &&
    (!selector.vdpa || vf.vdpaDevices.length > 0) &&
    (selector.pciAddresses.length === 0 || selector.pciAddresses.some((text) => isAt(text, vf))) &&
    (selector.pfNames.length === 0 || selector.pfNames.some((text) => isOf(text, vf, pf)))
  )
}

export function inPool(pool: VfPool, vf: Vf, pf: Pf | undefined): boolean {
  return pool.selectors.some((selector) => matches(selector, vf, pf))
}

/** PFs that a selector names, of those of a host; undefined when it names none. */
export function namedPfs(selector: VfSelector, pfs: Iterable<Pf>): { readonly named: readonly string[]; readonly found: readonly Pf[] } | undefined {
  const named = selector.pfNames.map((text) => splitIndexes(text).device)
  if (named.length === 0) return undefined
  return { named, found: [...pfs].filter((pf) => pf.names.some((name) => named.includes(name))) }
}

function isAt(text: string, vf: Vf): boolean {
  const { device, indexes } = splitIndexes(text)
  if (device === vf.pci) return indexes === undefined
  return device === vf.pf && (indexes === undefined || indexes.includes(vf.index))
}

function isOf(text: string, vf: Vf, pf: Pf | undefined): boolean {
  const { device, indexes } = splitIndexes(text)
  return (pf?.names.includes(device) ?? false) && (indexes === undefined || indexes.includes(vf.index))
}
