/** What `docker network create -o` and `-p` say. Option values are always strings; an unknown one is refused, not ignored. */
import type { PortMapping, SriovNetwork } from '@heddle/contract'
import { checkInterfaceName, checkNetworkName, type HeddleError, invalid } from '@heddle/core'
import { z } from 'zod'
import { ipField } from '../fields.ts'
import { checkInterfacePrefix, gatewayModes } from '../flows/definition.ts'
import { portMap } from './bodies.ts'
import { formerOptions, type GivenOption, modernise, parseSriovOptions, refuseUnsupported, sriovOptions } from './sriov-options.ts'

const generic = 'com.docker.network.generic'
const internalLabel = 'com.docker.network.internal'
const mtuLabel = 'com.docker.network.driver.mtu'
const portMapLabel = 'com.docker.network.portmap'
const ifnameLabel = 'com.docker.network.endpoint.ifname'
const engineOption = /^com\.docker\.network\./

const networkOptions = {
  network: 'name of the Heddle network to join or create',
  kind: 'overlay (default), bridge or sriov',
  mtu: 'bytes',
  vni: '4096 to 16777215',
  gateway: Object.keys(gatewayModes).join(', '),
} as const

/**
 * The names Docker knows the gateway by. Under the second one a network is of kind sriov and the options of the plugins
 * that had this name before are taken; apart from that there is no difference.
 */
export const driverNames = ['heddle', 'sriov'] as const
export type DriverName = (typeof driverNames)[number]

const optionsOf: Readonly<Record<DriverName, Readonly<Record<string, string>>>> = {
  heddle: { ...networkOptions, ...prefixed(sriovOptions) },
  sriov: { ...networkOptions, kind: 'sriov', ...sriovOptions, ...formerOptions },
}

export interface NetworkOptions {
  /** Empty: a network of this Docker network's own. */
  readonly network: string
  readonly kind: string
  readonly mtu: number
  readonly vni: number
  readonly gateway: string
  readonly internal: boolean
  /** Absent: nothing is said about VFs. */
  readonly sriov: SriovNetwork | undefined
  /** Of interface names in containers; empty: eth. */
  readonly prefix: string
}

export interface PortRange extends PortMapping {
  /** Docker may choose any host port from `hostPort` to this one. */
  readonly hostPortEnd: number
}

/** Options of CreateNetwork and GwAllocCheck. Fails with invalid-argument, listing what there is, and with unsupported. */
export function parseNetworkOptions(options: Readonly<Record<string, unknown>>, driver: DriverName): NetworkOptions {
  const given = modernise(givenOptions(options, driver))
  const value = (name: string) => given.get(name)?.value
  const kind = value('kind') ?? (driver === 'sriov' ? 'sriov' : '')
  if (driver === 'sriov' && kind !== 'sriov')
    throw invalid('kind', `the driver sriov makes networks of kind sriov, not ${JSON.stringify(kind)}`, 'leave -o kind out, or use -d heddle')
  const stray = [...given].find(([name]) => Object.hasOwn(sriovOptions, name))
  if (kind !== 'sriov' && stray !== undefined) {
    throw invalid(stray[1].spelling, `driver option ${stray[1].spelling} is of networks of kind sriov`, 'add -o kind=sriov, or leave it out')
  }
  return {
    network: value('network') === undefined ? '' : checkNetworkName(value('network') ?? '', 'network'),
    kind,
    mtu: numberOption('mtu', value('mtu')),
    vni: numberOption('vni', value('vni')),
    gateway: value('gateway') ?? '',
    internal: options[internalLabel] === true,
    sriov: parseSriovOptions(given),
    prefix: value('prefix') === undefined ? '' : checkInterfacePrefix(value('prefix') ?? '', 'prefix'),
  }
}

function givenOptions(options: Readonly<Record<string, unknown>>, driver: DriverName): ReadonlyMap<string, GivenOption> {
  const generics = z.record(z.string(), z.string()).nullish().safeParse(options[generic])
  if (!generics.success) throw invalid(generic, 'the driver options are not strings', 'give options as -o key=value')
  const known = optionsOf[driver]
  const given = new Map<string, GivenOption>()
  for (const [key, value] of Object.entries(generics.data ?? {})) {
    if (key === mtuLabel) {
      if (!given.has('mtu')) given.set('mtu', { spelling: key, value })
      continue
    }
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
 * Where containers get their default route from when nothing is said. A VF stands on the card's own wire, whose router has
 * the gateway address, as with Docker's macvlan driver; docker_gwbridge is added there only when it is asked for.
 */
export function gatewayModeOf(kind: string, asked = ''): string {
  return asked || (kind === 'sriov' ? 'network' : 'docker')
}

/** `--ipam-opt`: the network whose pools are meant; empty for none. */
export function parseIpamOptions(options: Readonly<Record<string, string>>): string {
  for (const key of Object.keys(options)) {
    if (key !== 'network' && !engineOption.test(key)) throw unknownOption('--ipam-opt', key, { network: networkOptions.network })
  }
  return options['network'] === undefined ? '' : checkNetworkName(options['network'], 'network')
}

/** Published ports; the doubles that `-p` makes for IPv4 and IPv6 are one. */
export function parsePorts(options: Readonly<Record<string, unknown>>): PortRange[] {
  const parsed = portMap.safeParse(options[portMapLabel])
  if (!parsed.success) throw invalid(portMapLabel, `the port map is malformed: ${parsed.error.issues[0]?.message ?? ''}`)
  const ports = new Map<string, PortRange>()
  for (const { Proto, Port, HostIP, HostPort, HostPortEnd } of parsed.data) {
    const protocol = protocols.get(Proto)
    if (protocol === undefined) throw invalid(portMapLabel, `IP protocol ${Proto} cannot be published`, 'use tcp, udp or sctp')
    const hostAddress = HostIP === '' || HostIP === '0.0.0.0' || HostIP === '::' ? '' : ipField(HostIP, 'HostIP')
    const hostPort = HostPort ?? 0
    const port = { protocol, hostAddress, hostPort, containerPort: Port, hostPortEnd: Math.max(hostPort, HostPortEnd ?? 0) }
    ports.set(JSON.stringify(port), port)
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
