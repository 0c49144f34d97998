/** Published ports as elements of the four DNAT maps, and back. */
import { isIPv4, isIPv6 } from 'node:net'
import type { PortMapping } from '@heddle/contract'
import { HeddleError, invalid } from '@heddle/core'
import type { NftElement, NftValue } from '@heddle/kernel'

export const portMaps = ['any4', 'any6', 'given4', 'given6'] as const
export type PortMap = (typeof portMaps)[number]

/** IANA protocol numbers. */
const protocols: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132 }

export interface PublishedElement {
  readonly map: PortMap
  readonly element: NftElement
}

/** Throws invalid-argument naming the mapping. */
export function checkMapping(port: PortMapping, index: number): void {
  const field = `ports[${index}]`
  if (!Object.hasOwn(protocols, port.protocol))
    throw invalid(`${field}.protocol`, `protocol ${JSON.stringify(port.protocol)} cannot be published`, 'use "tcp", "udp" or "sctp"')
  if (port.hostAddress !== '' && !isIPv4(port.hostAddress) && !isIPv6(port.hostAddress)) {
    throw invalid(`${field}.host_address`, `${JSON.stringify(port.hostAddress)} is no IP address`, 'leave it empty for every address of the host')
  }
  if (port.hostPort > 65535) throw invalid(`${field}.host_port`, `port ${port.hostPort} does not exist`, 'use 1 to 65535, or 0 to have one chosen')
  if (port.containerPort < 1 || port.containerPort > 65535)
    throw invalid(`${field}.container_port`, `port ${port.containerPort} does not exist`, 'use 1 to 65535')
}

/** Elements of one mapping with its host port chosen: one for each address family that both sides have. */
export function elementsOf(port: PortMapping, addresses: readonly string[]): PublishedElement[] {
  const anyHost = port.hostAddress === '' || port.hostAddress === '0.0.0.0' || port.hostAddress === '::'
  return addresses.flatMap((address): PublishedElement[] => {
    const v6 = isIPv6(address)
    if (port.hostAddress !== '' && isIPv6(port.hostAddress) !== v6) return []
    const type = v6 ? ('ipv6_addr' as const) : ('ipv4_addr' as const)
    const match: NftValue[] = [
      { type: 'inet_proto', value: protocols[port.protocol] ?? 0 },
      { type: 'inet_service', value: port.hostPort },
    ]
    const key: NftValue[] = anyHost ? match : [{ type, value: port.hostAddress }, ...match]
    const data: NftValue[] = [
      { type, value: address },
      { type: 'inet_service', value: port.containerPort },
    ]
    return [{ map: `${anyHost ? 'any' : 'given'}${v6 ? 6 : 4}`, element: { key, data } }]
  })
}

/** The mapping and container address an element stands for. */
export function mappingOf({ map, element }: PublishedElement): { readonly port: PortMapping; readonly address: string } {
  const [protocol, hostPort] = element.key.slice(-2)
  const [address, containerPort] = element.data ?? []
  return {
    address: String(address?.value),
    port: {
      protocol: Object.entries(protocols).find(([, number]) => number === protocol?.value)?.[0] ?? String(protocol?.value),
      hostAddress: map.startsWith('given') ? String(element.key[0]?.value) : '',
      hostPort: Number(hostPort?.value),
      containerPort: Number(containerPort?.value),
    },
  }
}

/** Local ports that Linux hands out by default (net.ipv4.ip_local_port_range). */
const firstDynamic = 32768
const lastDynamic = 60999

/** A free host port, from a random start so that a port just released is not the next one given. */
export function choosePort(isTaken: (port: number) => boolean, random: () => number = Math.random): number {
  const count = lastDynamic - firstDynamic + 1
  const start = Math.floor(random() * count)
  for (let step = 0; step < count; step++) {
    const port = firstDynamic + ((start + step) % count)
    if (!isTaken(port)) return port
  }
  throw new HeddleError('overloaded', `no free host port between ${firstDynamic} and ${lastDynamic}`, { remedy: 'name a host port, or unpublish some' })
}

/**
 * Ports bound by local sockets, `tcp 8080`: /proc/net/{tcp,tcp6} lines in state LISTEN (0A), every line of udp and udp6.
 * Line: `sl local_address:port rem_address:port st ...`, hexadecimal (Documentation/networking/proc_net_tcp.rst).
 */
export function boundPorts(protocol: 'tcp' | 'udp', text: string): string[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, local = '', , state = ''] = line.trim().split(/\s+/)
      const port = Number.parseInt(local.slice(local.indexOf(':') + 1), 16)
      return Number.isNaN(port) || (protocol === 'tcp' && state !== '0A') ? [] : [`${protocol} ${port}`]
    })
}
