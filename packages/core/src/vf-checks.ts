/** What may be said of VFs, checked and put into canonical form before it becomes a key, a path or a setting of a card. */
import type { SriovNetwork, VfSelector, VfSettings, VlanRange } from '@heddle/contract'
import { canonicalMac, canonicalPci, parseIndexes, parseMac } from '@heddle/net'
import { invalid } from './errors.ts'
import { checkHostName, checkInterfaceName, checkNetworkName } from './ids.ts'
import { parsed } from './parsed.ts'

const maxEntries = 256
/** 4095 is reserved (IEEE 802.1Q table 9-2). */
const maxVlan = 4094
const maxTrunkRanges = 64
/** Smallest MTU of an IPv4 link (RFC 791). */
const minMtu = 68
const maxMtu = 65_535
const maxRate = 1_000_000

export function checkPci(text: string, field: string): string {
  return parsed(field, () => canonicalPci(text))
}

/** `0000:3b:00.0`, or with VF indexes `0000:3b:00.0#0-3,7`; a netdev name likewise. What is before and behind the mark. */
export function splitIndexes(text: string): { readonly device: string; readonly indexes: readonly number[] | undefined } {
  const mark = text.lastIndexOf('#')
  return mark < 0 ? { device: text, indexes: undefined } : { device: text.slice(0, mark), indexes: parseIndexes(text.slice(mark + 1)) }
}

/** Throws invalid-argument, naming the entry. */
export function checkVfSelector(selector: VfSelector, field: string): VfSelector {
  const each = <T>(name: keyof VfSelector, values: readonly T[], check: (value: T, at: string) => T): T[] => {
    if (values.length > maxEntries) throw invalid(`${field}.${name}`, `${field}.${name} has ${values.length} entries`, `give at most ${maxEntries}`)
    return [...new Set(values.map((value, index) => check(value, `${field}.${name}[${index}]`)))]
  }
  return {
    vendors: each('vendors', selector.vendors, checkHex),
    devices: each('devices', selector.devices, checkHex),
    drivers: each('drivers', selector.drivers, checkDriver),
    pciAddresses: each('pciAddresses', selector.pciAddresses, (text, at) => withIndexes(text, at, checkPci)),
    pfNames: each('pfNames', selector.pfNames, (text, at) => withIndexes(text, at, checkInterfaceName)),
    linkTypes: each('linkTypes', selector.linkTypes, checkLinkType),
    numaNodes: each('numaNodes', selector.numaNodes, checkNode),
    hosts: each('hosts', selector.hosts, checkHostName),
    rdma: selector.rdma,
    vdpa: selector.vdpa,
  }
}

/** Throws invalid-argument. What is absent stays absent. */
export function checkVfSettings(settings: VfSettings, field: string): VfSettings {
  const { vlan = 0, vlanQos = 0, vlanProto = '', minTxRate = 0, maxTxRate = 0, linkState = 'auto', mtu = minMtu } = settings
  if (vlan > maxVlan) throw invalid(`${field}.vlan`, `${vlan} is not a VLAN`, `use 1 to ${maxVlan}, or 0 for none`)
  if (vlanQos > 7) throw invalid(`${field}.vlanQos`, `${vlanQos} is not a VLAN priority`, 'use 0 to 7')
  if (!['', '802.1q', '802.1ad'].includes(vlanProto))
    throw invalid(`${field}.vlanProto`, `VLAN protocol ${JSON.stringify(vlanProto)} is unknown`, 'use "802.1q" or "802.1ad"')
  if (vlan === 0 && vlanQos > 0) throw invalid(`${field}.vlanQos`, `VLAN priority ${vlanQos} needs a VLAN`, 'give the VLAN too, or no priority')
  if (vlan === 0 && vlanProto === '802.1ad') throw invalid(`${field}.vlanProto`, 'VLAN protocol 802.1ad needs a VLAN', 'give the VLAN too, or no protocol')
  checkRate(minTxRate, `${field}.minTxRate`)
  checkRate(maxTxRate, `${field}.maxTxRate`)
  if (maxTxRate > 0 && minTxRate > maxTxRate)
    throw invalid(`${field}.minTxRate`, `the least rate, ${minTxRate} Mbit/s, is above the highest, ${maxTxRate} Mbit/s`, 'lower it, or raise the highest')
  if (!['auto', 'enable', 'disable'].includes(linkState))
    throw invalid(`${field}.linkState`, `link state ${JSON.stringify(linkState)} is unknown`, 'use "auto", "enable" or "disable"')
  if (mtu < minMtu || mtu > maxMtu) throw invalid(`${field}.mtu`, `MTU ${mtu} is not possible`, `use ${minMtu} to ${maxMtu}`)
  checkTrunk(settings.trunk, vlan, `${field}.trunk`)
  return settings.mac === undefined ? settings : { ...settings, mac: checkVfMac(settings.mac, `${field}.mac`) }
}

/** All zeros is what a PF says of a VF for which it sets none. */
function checkVfMac(text: string, field: string): string {
  const bytes = parsed(field, () => parseMac(text))
  if (((bytes[0] ?? 0) & 1) === 1) throw invalid(field, `${canonicalMac(text)} is not a unicast MAC address`, 'clear the lowest bit of the first octet')
  return canonicalMac(text)
}

function checkTrunk(trunk: readonly VlanRange[], vlan: number, field: string): void {
  if (trunk.length === 0) return
  if (vlan !== 0) throw invalid(field, `a VF on VLAN ${vlan} cannot be a trunk as well`, 'give either a VLAN or a trunk')
  if (trunk.length > maxTrunkRanges) throw invalid(field, `a trunk of ${trunk.length} ranges is too long`, `give at most ${maxTrunkRanges}`)
  for (const [index, { first, last }] of trunk.entries()) {
    if (first < 1 || last > maxVlan || first > last)
      throw invalid(`${field}[${index}]`, `${first} to ${last} is not a range of VLANs`, `use 1 to ${maxVlan}, the lower one first`)
  }
}

/** Which VFs a network's endpoints get and how they are set, in canonical form. Throws invalid-argument. */
export function checkSriovNetwork({ pool, selector, settings, policy, driver, apart, near }: SriovNetwork, field: string): SriovNetwork {
  if (settings?.mac !== undefined)
    throw invalid(`${field}.settings.mac`, 'a MAC is of one endpoint, not of a network', 'give it where the endpoint is attached')
  return {
    pool: pool === '' ? '' : checkNetworkName(pool, `${field}.pool`),
    selector: selector && checkVfSelector(selector, `${field}.selector`),
    settings: settings && checkVfSettings(settings, `${field}.settings`),
    policy: checkVfPolicy(policy, `${field}.policy`),
    driver: checkVfDriver(driver, `${field}.driver`),
    apart,
    near: checkVfNear(near, `${field}.near`),
  }
}

/** Empty: none is said. */
export function checkVfPolicy(policy: string, field: string): string {
  if (!['', 'pack', 'spread'].includes(policy)) throw invalid(field, `policy ${JSON.stringify(policy.slice(0, 80))} is unknown`, 'use "pack" or "spread"')
  return policy
}

/** A user-space driver that a VF can be bound to; empty: its kernel driver. */
export function checkVfDriver(driver: string, field: string): string {
  if (driver !== '' && driver !== 'vfio-pci')
    throw invalid(
      field,
      `driver ${JSON.stringify(driver.slice(0, 80))} is no user-space driver known here`,
      'use "vfio-pci", or leave it empty for the kernel driver',
    )
  return driver
}

/** `node:1`, or the address of a PCI device; empty: wherever. */
export function checkVfNear(near: string, field: string): string {
  return near === '' || /^node:\d{1,4}$/.test(near) ? near : checkPci(near, field)
}

function checkRate(rate: number, field: string): void {
  if (rate > maxRate) throw invalid(field, `a rate of ${rate} Mbit/s is beyond any card`, `use up to ${maxRate} Mbit/s, or 0 for no limit`)
}

function checkHex(text: string, field: string): string {
  const hex = text.toLowerCase().replace(/^0x/, '')
  if (!/^[0-9a-f]{4}$/.test(hex)) throw invalid(field, `${JSON.stringify(text.slice(0, 80))} is not a PCI id`, 'write four hex digits, e.g. 8086')
  return hex
}

function checkDriver(text: string, field: string): string {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(text))
    throw invalid(field, `${JSON.stringify(text.slice(0, 80))} is not the name of a driver`, 'write it as `lspci -k` shows it, e.g. iavf')
  return text
}

function checkLinkType(text: string, field: string): string {
  if (text !== 'ether' && text !== 'infiniband')
    throw invalid(field, `link type ${JSON.stringify(text.slice(0, 80))} is unknown`, 'use "ether" or "infiniband"')
  return text
}

function checkNode(node: number, field: string): number {
  if (node < -1) throw invalid(field, `${node} is not a NUMA node`, 'use 0 and above, or -1 for unknown')
  return node
}

function withIndexes(text: string, field: string, check: (device: string, field: string) => string): string {
  const { device } = parsed(field, () => splitIndexes(text))
  return check(device, field) + text.slice(device.length)
}
