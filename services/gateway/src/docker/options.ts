/** What `docker network create -o` and `-p` say. Option values are always strings; an unknown one is refused, not ignored. */
import type { PortMapping, SriovNetwork } from '@heddle/contract'
import { checkInterfaceName, checkNetworkKind, checkNetworkName, type HeddleError, invalid, isOnWire, networkKinds } from '@heddle/core'
import { z } from 'zod'
import { ipField } from '../fields.ts'
import { checkInterfacePrefix, gatewayModes } from '../flows/definition.ts'
import { portMap } from './bodies.ts'
import { kindsOfLinkOption, type LinkText, linkOptions, parseLinkOptions } from './link-options.ts'
import { refuseUnsupported } from './refused-options.ts'
import { formerOptions, type Given, type GivenOption, modernise, parseSriovOptions, sriovOptions } from './sriov-options.ts'

const generic = 'com.docker.network.generic'
const internalLabel = 'com.docker.network.internal'
const portMapLabel = 'com.docker.network.portmap'
const ifnameLabel = 'com.docker.network.endpoint.ifname'
/** What the engine does itself, whatever the driver: it is no request to us. */
const engineOption = /^com\.docker\.network\.(enable_ipv[46]|internal|advertise_addr_(nmsgs|ms))$/
const engineIpamOption = /^com\.docker\.network\./

const networkOptions = {
  network: 'name of the Heddle network to join or create',
  kind: `overlay (default), ${networkKinds.slice(1).join(', ')}`,
  mtu: 'bytes',
  vni: '4096 to 16777215',
  gateway: Object.keys(gatewayModes).join(', '),
  prefix: "of interfaces' names in containers; default eth",
  'com.docker.network.driver.mtu': 'as mtu',
  'com.docker.network.container_iface_prefix': 'as prefix',
} as const

/**
 * The names Docker knows the gateway by. Under the second one a network is of kind sriov and the options of the plugins
 * that had this name before are taken; apart from that there is no difference.
 */
export const driverNames = ['heddle', 'sriov'] as const
export type DriverName = (typeof driverNames)[number]

const optionsOf: Readonly<Record<DriverName, Readonly<Record<string, string>>>> = {
  heddle: { ...networkOptions, ...linkOptions, ...prefixed(sriovOptions), vlan: `kind=sriov: ${sriovOptions.vlan}; kind=vlan: 1 to 4094` },
  sriov: { ...networkOptions, kind: 'sriov', ...sriovOptions, ...formerOptions },
}

export interface NetworkOptions {
  /** Empty: a network of this Docker network's own. */
  readonly network: string
  /** Empty: none is said. */
  readonly kind: string
  readonly mtu: number
  readonly vni: number
  readonly gateway: string
  readonly internal: boolean
  /** Absent: nothing is said about VFs. */
  readonly sriov: SriovNetwork | undefined
  /** What is said of a parent and of a bridge. */
  readonly links: LinkText
  /** Of interface names in containers; empty: eth. */
  readonly prefix: string
  /** How the user spelled an option of this name. */
  readonly spelling: (name: string) => string
}

export interface PortRange extends PortMapping {
  /** Docker may choose any host port from `hostPort` to this one. */
  readonly hostPortEnd: number
}

/** Options of CreateNetwork and GwAllocCheck. Fails with invalid-argument, listing what there is, and with unsupported. */
export function parseNetworkOptions(options: Readonly<Record<string, unknown>>, driver: DriverName): NetworkOptions {
  const given = modernise(givenOptions(options, driver))
  const value = (name: string) => given.get(name)?.value
  const spelling = (name: string) => given.get(name)?.spelling ?? name
  const kind = kindOf(given, driver)
  return {
    network: value('network') === undefined ? '' : checkNetworkName(value('network') ?? '', 'network'),
    kind,
    mtu: numberOption(spelling('mtu'), value('mtu')),
    vni: numberOption('vni', value('vni')),
    gateway: value('gateway') ?? '',
    internal: options[internalLabel] === true,
    sriov: kind === 'sriov' ? parseSriovOptions(given) : undefined,
    links: kind === 'sriov' ? {} : parseLinkOptions(given),
    prefix: value('prefix') === undefined ? '' : checkInterfacePrefix(value('prefix') ?? '', spelling('prefix')),
    spelling,
  }
}

/** The kind that is named, or else the one that an option is of; empty: none is said. Fails where an option is of another kind. */
function kindOf(given: Given, driver: DriverName): string {
  const asked = given.get('kind')?.value
  if (driver === 'sriov' && (asked ?? 'sriov') !== 'sriov')
    throw invalid('kind', `the driver sriov makes networks of kind sriov, not ${JSON.stringify(asked)}`, 'leave -o kind out, or use -d heddle')
  const named = driver === 'sriov' ? 'sriov' : asked === undefined ? '' : checkNetworkKind(asked, 'kind')
  const [says] = [...given].flatMap(([name, { spelling }]) => {
    const [kind, ...others] = kindsOfLinkOption(name) ?? []
    return kind === undefined || others.length > 0 ? [] : [{ kind, spelling }]
  })
  const kind = named || (says?.kind ?? '')
  for (const [name, { spelling }] of given) {
    const kinds = kindsOfLinkOption(name) ?? (Object.hasOwn(sriovOptions, name) ? ['sriov'] : undefined)
    if (kinds === undefined || kinds.includes(kind)) continue
    const what = `driver option ${spelling} is of networks of kind ${kinds.join(' or ')}`
    if (kind === '') throw invalid(spelling, what, `add -o kind=${kinds[0]}, or leave it out`)
    const why = named === '' && says !== undefined ? `${kind}, as ${says.spelling} says` : kind
    throw invalid(spelling, `${what}, not ${why}`, `leave it out, or give -o kind=${kinds[0]}${named === '' ? ` and leave ${says?.spelling} out` : ''}`)
  }
  return kind
}

function givenOptions(options: Readonly<Record<string, unknown>>, driver: DriverName): ReadonlyMap<string, GivenOption> {
  const generics = z.record(z.string(), z.string()).nullish().safeParse(options[generic])
  if (!generics.success) throw invalid(generic, 'the driver options are not strings', 'give options as -o key=value')
  const known = optionsOf[driver]
  const given = new Map<string, GivenOption>()
  for (const [key, value] of Object.entries(generics.data ?? {})) {
    if (engineOption.test(key)) continue
    refuseUnsupported(key)
    if (!Object.hasOwn(known, key)) throw unknownOption('-o', key, known)
    if (value === '') throw invalid(key, `driver option ${key} has no value`, `write -o ${key}=VALUE (${known[key]})`)
    given.set(key, { spelling: key, value })
  }
  return given
}

/** In the list of all options, which kind they are of. */
function prefixed(options: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(options).map(([name, what]) => [name, `kind=sriov: ${what}`]))
}

/**
 * Where containers get their default route from when nothing is said. An interface on the host's own wire, whose router has
 * the gateway's address, has it there, as with Docker's macvlan driver; docker_gwbridge is added only when it is asked for.
 */
export function gatewayModeOf(kind: string, asked = ''): string {
  return asked || (isOnWire(kind) ? 'network' : 'docker')
}

/** `--ipam-opt`: the network whose pools are meant; empty for none. */
export function parseIpamOptions(options: Readonly<Record<string, string>>): string {
  for (const key of Object.keys(options)) {
    if (key !== 'network' && !engineIpamOption.test(key)) throw unknownOption('--ipam-opt', key, { network: networkOptions.network })
  }
  return options['network'] === undefined ? '' : checkNetworkName(options['network'], 'network')
}

/**
 * Published ports. No host address leaves it to the network; `0.0.0.0` is every IPv4 address and `::` every IPv6 address, as
 * with Docker; both of them for one port, which some engines say for none, are no address.
 */
export function parsePorts(options: Readonly<Record<string, unknown>>): PortRange[] {
  const parsed = portMap.safeParse(options[portMapLabel])
  if (!parsed.success) throw invalid(portMapLabel, `the port map is malformed: ${parsed.error.issues[0]?.message ?? ''}`)
  const ports = new Map<string, PortRange>()
  for (const { Proto, Port, HostIP, HostPort, HostPortEnd } of parsed.data) {
    const protocol = protocols.get(Proto)
    if (protocol === undefined) throw invalid(portMapLabel, `IP protocol ${Proto} cannot be published`, 'use tcp, udp or sctp')
    const hostAddress = HostIP === '' ? '' : ipField(HostIP, 'HostIP')
    const hostPort = HostPort ?? 0
    const port = { protocol, hostAddress, hostPort, containerPort: Port, hostPortEnd: Math.max(hostPort, HostPortEnd ?? 0) }
    const key = (address: string) => JSON.stringify({ ...port, hostAddress: address })
    const double = key(hostAddress === '0.0.0.0' ? '::' : '0.0.0.0')
    const isDouble = (hostAddress === '0.0.0.0' || hostAddress === '::') && ports.delete(double)
    ports.set(key(isDouble ? '' : hostAddress), isDouble ? { ...port, hostAddress: '' } : port)
  }
  return [...ports.values()]
}

/** The interface name a user asked for, empty for none. Engines after 29.7 honour it. Fails with invalid-argument. */
export function parseIfname(options: Readonly<Record<string, unknown>>): string {
  const name = options[ifnameLabel]
  return typeof name !== 'string' || name === '' ? '' : checkInterfaceName(name, ifnameLabel)
}

/** IANA protocol numbers. */
const protocols: ReadonlyMap<number, string> = new Map([
  [6, 'tcp'],
  [17, 'udp'],
  [132, 'sctp'],
])

function numberOption(key: string, value: string | undefined): number {
  if (value === undefined) return 0
  if (!/^[1-9][0-9]{0,8}$/.test(value))
    throw invalid(key, `driver option ${key}=${JSON.stringify(value.slice(0, 40))} is not a number`, `write -o ${key}=NUMBER`)
  return Number(value)
}

function unknownOption(flag: string, key: string, known: Readonly<Record<string, string>>): HeddleError {
  const list = Object.entries(known).map(([name, what]) => `${name} (${what})`)
  return invalid(key.slice(0, 80), `option ${flag} ${JSON.stringify(key.slice(0, 80))} is not known`, `the options are: ${list.join(', ')}`)
}
