/** What the rules work on: networks and endpoints made with the calls, and in the order, of the engine, and taken away again. */
import { BlockList, isIP } from 'node:net'
import { expect, skip } from '../report.ts'
import { newId, type Plugin } from './plugin.ts'

export interface Subject {
  readonly plugin: Plugin
  /** Of Plugin.Activate. */
  readonly implements: readonly string[]
  /** Of NetworkDriver.GetCapabilities; undefined when the plugin is none or does not say. */
  readonly scope: string | undefined
  /** `docker network create -o`, `--ipam-opt`. */
  readonly options: Readonly<Record<string, string>>
  readonly ipamOptions: Readonly<Record<string, string>>
  /** The suite runs in the network namespace of the engine, so that interfaces can be looked at. */
  readonly links: boolean
  /** A /24 that was not asked for before. */
  readonly nextSubnet: () => string
}

export interface Net {
  readonly NetworkID: string
  /** CIDR. */
  readonly prefix: string
  /** CIDR, as IPAMData has it. */
  readonly gateway: string
  /** The body of CreateNetwork. */
  readonly request: object
  /** Of the plugin's own IPAM. */
  readonly PoolID: string | undefined
}

export interface Endpoint {
  readonly ids: { readonly NetworkID: string; readonly EndpointID: string }
  /** CIDR. */
  readonly Address: string
  readonly request: object
  /** Of CreateEndpoint. */
  readonly answer: any
}

export interface NetOptions {
  readonly internal?: boolean
  readonly NetworkID?: string
  readonly prefix?: string
}

export const gatewayType = { RequestAddressType: 'com.docker.network.gateway' }
const gatewayLabel = 'com.docker.network.gateway'

export function needs(subject: Subject, service: 'NetworkDriver' | 'IpamDriver'): void {
  if (!subject.implements.includes(service)) skip(`the plugin is no ${service}`)
}

export function hasIpam(subject: Subject): boolean {
  return subject.implements.includes('IpamDriver')
}

export interface Pool {
  readonly PoolID: string
  readonly Pool: string
  readonly Data: Readonly<Record<string, string>>
}

export async function requestPool(subject: Subject, more: { Pool?: string; SubPool?: string; V6?: boolean } = {}): Promise<Pool> {
  const spaces = await subject.plugin.ok('IpamDriver.GetDefaultAddressSpaces')
  const AddressSpace = subject.scope === 'global' ? spaces.GlobalDefaultAddressSpace : spaces.LocalDefaultAddressSpace
  const Options = Object.keys(subject.ipamOptions).length === 0 ? null : subject.ipamOptions
  const answer = await subject.plugin.ok('IpamDriver.RequestPool', { AddressSpace, Pool: '', SubPool: '', Options, V6: false, ...more })
  return { ...answer, Data: answer.Data ?? {} }
}

/** CIDR. */
export async function requestAddress({ plugin }: Subject, PoolID: string, Address = '', Options: object | null = null): Promise<string> {
  return (await plugin.ok('IpamDriver.RequestAddress', { PoolID, Address, Options })).Address
}

export function releaseAddress({ plugin }: Subject, PoolID: string, address: string): Promise<unknown> {
  return plugin.ok('IpamDriver.ReleaseAddress', { PoolID, Address: bare(address) })
}

/** `docker network create`. */
export async function makeNetwork(subject: Subject, more: NetOptions = {}): Promise<Net> {
  needs(subject, 'NetworkDriver')
  const NetworkID = more.NetworkID ?? newId()
  const prefix = more.prefix ?? subject.nextSubnet()
  const { PoolID, gateway, space } = await addressesFor(subject, prefix)
  const Options = {
    'com.docker.network.enable_ipv4': true,
    'com.docker.network.enable_ipv6': false,
    'com.docker.network.generic': subject.options,
    ...(more.internal ? { 'com.docker.network.internal': true } : {}),
  }
  const request = { NetworkID, Options, IPv4Data: [{ AddressSpace: space, Pool: prefix, Gateway: gateway }], IPv6Data: [] }
  await subject.plugin.ok('NetworkDriver.CreateNetwork', request)
  return { NetworkID, prefix, gateway, request, PoolID }
}

async function addressesFor(subject: Subject, prefix: string): Promise<{ PoolID: string | undefined; gateway: string; space: string }> {
  if (!hasIpam(subject)) return { PoolID: undefined, gateway: `${hostOf(prefix, 1)}/24`, space: 'LocalDefault' }
  const spaces = await subject.plugin.ok('IpamDriver.GetDefaultAddressSpaces')
  const { PoolID, Data } = await requestPool(subject, { Pool: prefix })
  const gateway = Data[gatewayLabel] ?? (await requestAddress(subject, PoolID, '', gatewayType))
  return { PoolID, gateway, space: spaces.LocalDefaultAddressSpace }
}

/** `docker network rm`: the addresses go first, and errors are for the log. */
export async function removeNetwork({ plugin }: Subject, { NetworkID, PoolID, gateway }: Net): Promise<void> {
  if (PoolID !== undefined) {
    await plugin.call('IpamDriver.ReleaseAddress', { PoolID, Address: bare(gateway) })
    await plugin.call('IpamDriver.ReleasePool', { PoolID })
  }
  await plugin.call('NetworkDriver.DeleteNetwork', { NetworkID })
}

export async function withNetwork<T>(subject: Subject, body: (net: Net) => Promise<T>, more: NetOptions = {}): Promise<T> {
  const net = await makeNetwork(subject, more)
  try {
    return await body(net)
  } finally {
    await removeNetwork(subject, net)
  }
}

export async function withPool<T>(subject: Subject, body: (pool: Pool) => Promise<T>, more: Parameters<typeof requestPool>[1] = {}): Promise<T> {
  needs(subject, 'IpamDriver')
  const pool = await requestPool(subject, { Pool: subject.nextSubnet(), ...more })
  try {
    return await body(pool)
  } finally {
    await subject.plugin.call('IpamDriver.ReleasePool', { PoolID: pool.PoolID })
  }
}

let lastHost = 1

/** An address for one endpoint of the network, CIDR. */
export async function addressIn(subject: Subject, net: Net): Promise<string> {
  if (net.PoolID !== undefined) return requestAddress(subject, net.PoolID)
  lastHost = lastHost >= 250 ? 2 : lastHost + 1
  return `${hostOf(net.prefix, lastHost)}/24`
}

/** The first half of `docker run`. */
export async function makeEndpoint(
  subject: Subject,
  net: Net,
  more: { MacAddress?: string; Options?: object | null; Address?: string } = {},
): Promise<Endpoint> {
  const ids = { NetworkID: net.NetworkID, EndpointID: newId() }
  const Address = more.Address ?? (await addressIn(subject, net))
  const request = { ...ids, Interface: { Address, AddressIPv6: '', MacAddress: more.MacAddress ?? '' }, Options: more.Options ?? {} }
  return { ids, Address, request, answer: await subject.plugin.ok('NetworkDriver.CreateEndpoint', request) }
}

/** The body of Join, for a sandbox of its own. */
export function joinRequest(ids: Endpoint['ids']): object {
  return { ...ids, SandboxKey: `/var/run/docker/netns/${newId().slice(0, 12)}`, Options: {} }
}

export function join({ plugin }: Subject, { ids }: Endpoint): Promise<any> {
  return plugin.ok('NetworkDriver.Join', joinRequest(ids))
}

/** `docker rm -f`; errors are for the log. */
export async function removeEndpoint({ plugin }: Subject, net: Net, { ids, Address }: Endpoint): Promise<void> {
  await plugin.call('NetworkDriver.Leave', ids)
  await plugin.call('NetworkDriver.DeleteEndpoint', ids)
  if (net.PoolID !== undefined) await plugin.call('IpamDriver.ReleaseAddress', { PoolID: net.PoolID, Address: bare(Address) })
}

export async function withEndpoint<T>(
  subject: Subject,
  body: (endpoint: Endpoint, net: Net) => Promise<T>,
  more: NetOptions & Parameters<typeof makeEndpoint>[2] = {},
): Promise<T> {
  return withNetwork(
    subject,
    async (net) => {
      const endpoint = await makeEndpoint(subject, net, more)
      try {
        return await body(endpoint, net)
      } finally {
        await removeEndpoint(subject, net, endpoint)
      }
    },
    more,
  )
}

/** The address without its length. */
export function bare(cidr: string): string {
  return cidr.split('/', 1)[0] ?? ''
}

/** The n-th address of an IPv4 /24. */
export function hostOf(prefix: string, n: number): string {
  return bare(prefix).replace(/\d+$/, String(n))
}

export function isCidr(text: unknown): text is string {
  if (typeof text !== 'string') return false
  const [address = '', length = ''] = text.split('/')
  return isIP(address) !== 0 && /^\d+$/.test(length) && Number(length) <= (isIP(address) === 4 ? 32 : 128)
}

export function isIn(prefix: string, address: string): boolean {
  const [base = '', length = ''] = prefix.split('/')
  const family = isIP(base) === 4 ? 'ipv4' : 'ipv6'
  const list = new BlockList()
  list.addSubnet(base, Number(length), family)
  return isIP(bare(address)) === isIP(base) && list.check(bare(address), family)
}

export function expectAddressIn(prefix: string, address: unknown): asserts address is string {
  expect(isCidr(address), `the address ${JSON.stringify(address)} is not in CIDR form`)
  expect(isIn(prefix, address), `the address ${address} is outside the pool ${prefix}`)
}
