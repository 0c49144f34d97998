/**
 * The network configuration on stdin (CNI spec 1.1.0, section 1 and CONVENTIONS.md). The network is found by `name`; a
 * `heddle` object, or options for a VF, define it, so that the first ADD can create it.
 */
import { CreateNetworkRequest, type Network, type PortMapping, type Route, type Subnet } from '@heddle/contract'
import { checkInterfaceName, checkNetworkName, HeddleError, invalid } from '@heddle/core'
import { z } from 'zod'
import { hostIpField, ipField, macField, recoded } from '../fields.ts'
import { checkDefinition, differencesTo } from '../flows/definition.ts'
import type { VfWish } from '../flows/vf.ts'
import { definitionSchema } from './definition.ts'
import { type IpamWish, isOwnIpam, parseIpam, parseRanges, pluginIn } from './ipam.ts'
import { type CniResult, dnsSchema, parseResult, routeOf, routeSchema } from './result.ts'
import { checked, maybe, text, texts } from './schema.ts'
import { spelled } from './spelling.ts'
import { deviceIn, parseVf, sriovOptionIn } from './sriov.ts'
import { type CniVersion, checkVersion } from './versions.ts'

/** What every command needs. The rest of `json` is read by the commands that use it: DEL must work with any configuration. */
export interface CniConfig {
  readonly version: CniVersion
  /** Of Heddle's network. */
  readonly name: string
  /** As the runtime knows it: another one when a plugin of it has us for its IPAM. */
  readonly cniName: string
  /** Another plugin asks us for addresses: its `ipam` has our type, and it has another. */
  readonly isIpam: boolean
  /** What CNI_IFNAME is not to name the interface: an earlier plugin of the chain has that name. Empty: CNI_IFNAME. */
  readonly interfaceName: string
  /** As it came. */
  readonly text: string
  readonly json: Readonly<Record<string, unknown>>
}

export interface AddConfig {
  readonly definition: CreateNetworkRequest | undefined
  /** How a network that is there differs from what the configuration says of it. */
  readonly differences: (network: Network) => string[]
  /** When the configuration asks for a VF; a network of kind sriov gives one without being asked. */
  readonly vf: VfWish | undefined
  /** Canonical, or empty. */
  readonly mac: string
  /** Other names of the container, in lower case. */
  readonly aliases: readonly string[]
  readonly addresses: readonly string[]
  /** The capability ipRanges: addresses are of these subnets alone. None: of any of the network's. */
  readonly within: readonly Subnet[]
  /** None is to be chosen, and none is given. */
  readonly lacksAddress: boolean
  /** Another plugin gives them. */
  readonly ipamPlugin: string | undefined
  readonly ports: readonly PortMapping[]
  readonly routes: readonly Route[]
  /** The configuration says itself which routes there are to be, a default route included: no gateway makes one. */
  readonly onlyRoutes: boolean
  readonly dns: CniResult['dns']
  readonly previous: CniResult | undefined
}

export interface ValidAttachment {
  readonly containerID: string
  readonly ifname: string
}

/** What configurations call us. */
export const ownType = 'heddle'
const port = z.number().int().min(0).max(65_535)

const addSchema = z.looseObject({
  heddle: maybe(definitionSchema),
  mac: maybe(text),
  ips: maybe(texts),
  routes: maybe(z.array(routeSchema).max(256)),
  dns: dnsSchema,
  args: maybe(z.looseObject({ cni: maybe(z.looseObject({ ips: maybe(texts), mac: maybe(text) })) })),
  runtimeConfig: maybe(
    z.looseObject({
      ips: maybe(texts),
      mac: maybe(text),
      aliases: maybe(texts),
      ipRanges: maybe(z.unknown()),
      bandwidth: maybe(z.looseObject({ ingressRate: maybe(z.number()), egressRate: maybe(z.number()) })),
      dns: maybe(z.looseObject({ servers: maybe(texts), searches: maybe(texts), options: maybe(texts) })),
      portMappings: maybe(z.array(z.looseObject({ hostPort: port, containerPort: port, protocol: maybe(text), hostIP: maybe(text) })).max(4096)),
    }),
  ),
})
const attachmentSchema = z.looseObject({ containerID: z.string(), ifname: z.string() })

/** Bad JSON is undecodable-config, an unknown version incompatible-cni-version, a bad name invalid-argument. */
export function parseConfig(stdin: string): CniConfig {
  if (stdin.trim() === '')
    throw new HeddleError('undecodable-config', 'there is no network configuration on stdin', { remedy: 'give the configuration as JSON on stdin' })
  const version = checkVersion(versionIn(stdin))
  const json = decode(stdin)
  if (typeof json['name'] !== 'string' || json['name'] === '')
    throw invalid('name', 'the network configuration has no name', 'name the network in the configuration')
  const cniName = checkNetworkName(json['name'])
  const { type, ipam } = json as { type?: unknown; ipam?: { type?: unknown; network?: unknown } | null }
  const isIpam = typeof type === 'string' && type !== ownType && ipam?.type === ownType
  const named = (value: unknown, field: string) => (value === undefined || value === null ? '' : checked(() => text.parse(value), field))
  const interfaceName = isIpam ? '' : named(json['interface'], 'interface')
  const network = isIpam ? named(ipam?.network, 'ipam.network') : ''
  return {
    version,
    name: network === '' ? cniName : checkNetworkName(network, 'ipam.network'),
    cniName,
    isIpam,
    interfaceName: interfaceName && checkInterfaceName(interfaceName, 'interface'),
    text: stdin,
    json: spelled(json),
  }
}

/** The version a configuration names, also when the rest of it is no good: errors are answered in it. */
export function versionIn(stdin: string): string {
  const version = stdin.trim() === '' ? undefined : decode(stdin)['cniVersion']
  if (version === undefined || version === null) return ''
  if (typeof version !== 'string')
    throw new HeddleError('undecodable-config', 'cniVersion is not a string', { field: 'cniVersion', remedy: 'write it as "1.1.0"' })
  return version
}

/** What is wanted for a container, by precedence: runtimeConfig, args.cni, CNI_ARGS, the configuration itself. */
export function parseAdd(config: CniConfig, args: ReadonlyMap<string, string>): AddConfig {
  const json = checked(() => addSchema.parse(ownPart(config)))
  const fromConfig = json.runtimeConfig?.ips ?? json.args?.cni?.ips
  const fromArgs = fromConfig === undefined ? args.get('IP')?.split(',') : undefined
  const macFromConfig = json.runtimeConfig?.mac || json.args?.cni?.mac || ''
  const macFromArgs = macFromConfig === '' ? (args.get('MAC') ?? '') : ''
  const canonicalMac = (mac: string) => (mac === '' ? '' : macField(mac, 'mac'))
  const canonical = (addresses: readonly string[]) => [...new Set(addresses.map((address) => hostIpField(address, 'ips')))]
  const runtimeDns = json.runtimeConfig?.dns
  const wantsVf = !config.isIpam && asksForVf(config.json, json.heddle?.kind, args)
  const ipamPlugin = wantsVf && isOwnIpam(config.json) ? undefined : pluginIn(config.json)
  const ipam = parseIpam(config.json['ipam'], fromConfig ?? fromArgs ?? json.ips ?? [], ipamPlugin !== undefined)
  if (json.runtimeConfig?.bandwidth?.ingressRate || json.runtimeConfig?.bandwidth?.egressRate) throw noBandwidth()
  const within = ipamPlugin === undefined ? parseRanges(json.runtimeConfig?.ipRanges) : []
  const dns = Object.keys(json.dns).length > 0 ? json.dns : (ipam?.dns ?? {})
  const addresses =
    fromArgs === undefined
      ? canonical(fromConfig ?? json.ips ?? ipam?.addresses ?? [])
      : recoded('invalid-environment', 'CNI_ARGS IP', () => canonical(fromArgs))
  return {
    ...definitionOf(config, json.heddle, wantsVf, ipam ?? (within.length === 0 ? undefined : rangesOnly(within)), ipamPlugin),
    vf: wantsVf ? parseVf(config.json, args) : undefined,
    aliases: [...new Set((json.runtimeConfig?.aliases ?? []).map((alias) => alias.toLowerCase()))],
    mac: macFromArgs === '' ? canonicalMac(macFromConfig || (json.mac ?? '')) : recoded('invalid-environment', 'CNI_ARGS MAC', () => canonicalMac(macFromArgs)),
    addresses,
    within,
    lacksAddress: ipamPlugin === undefined && ipam?.isStatic === true && addresses.length === 0,
    ipamPlugin,
    ports: (json.runtimeConfig?.portMappings ?? []).filter((one) => one.hostPort > 0).map(portOf),
    routes: [...(json.routes ?? []), ...(ipam?.routes ?? [])].map(routeOf),
    onlyRoutes: wantsVf ? ipam !== undefined : config.isIpam && Array.isArray((config.json['ipam'] as { routes?: unknown }).routes),
    dns:
      runtimeDns === undefined ? dns : { ...dns, nameservers: runtimeDns.servers ?? [], search: runtimeDns.searches ?? [], options: runtimeDns.options ?? [] },
    previous: parsePrevious(config),
  }
}

/** As it is for `static`, which addresses there are is no question of the network's definition then. */
function rangesOnly(subnets: readonly Subnet[]): IpamWish {
  return { subnets, addresses: [], isStatic: true, routes: [], dns: {} }
}

function noBandwidth(): HeddleError {
  return new HeddleError('unsupported', 'bandwidth cannot be limited by Heddle itself', {
    field: 'bandwidth',
    remedy: 'add the bandwidth plugin to the chain after it, and take the capability bandwidth from this one',
  })
}

/** Of another plugin's configuration its `ipam` is ours, and what the runtime asks of addresses. */
function ownPart({ isIpam, json }: CniConfig): Readonly<Record<string, unknown>> {
  if (!isIpam) return json
  const { ips, ipRanges, dns } = (json['runtimeConfig'] ?? {}) as Record<string, unknown>
  return { args: json['args'], runtimeConfig: { ips, ipRanges, dns } }
}

/** Whether `heddle`, an option, or a device that the runtime hands over says so. Fails with invalid-argument where they contradict each other. */
export function asksForVf(json: CniConfig['json'], kind: string | undefined, args: ReadonlyMap<string, string>): boolean {
  const option = sriovOptionIn(json)
  if (kind === undefined || kind === 'sriov') return kind === 'sriov' || option !== undefined || deviceIn(json, args) !== ''
  if (option === undefined) return false
  throw invalid(
    option,
    `${option} is an option of networks of kind sriov, and heddle.kind is ${kind}`,
    `remove ${option}, or make the network one of kind sriov`,
  )
}

/**
 * The options of an ADD are its own, so they define no more of the network than its kind and its subnets; a network that
 * other endpoints share may have been made with more.
 */
function definitionOf(
  config: CniConfig,
  heddle: z.output<typeof definitionSchema> | undefined,
  wantsVf: boolean,
  ipam: IpamWish | undefined,
  ipamPlugin: string | undefined,
) {
  if (config.isIpam) return addressesOnly(config.name, ipam?.subnets ?? [])
  if (heddle === undefined && !wantsVf) return { definition: undefined, differences: () => [] }
  if (heddle?.subnets !== undefined && config.json['ipam'] && ipam !== undefined && ipamPlugin === undefined)
    throw invalid('ipam', 'heddle.subnets and ipam both say which addresses the network has', 'give one of them')
  const kind = heddle?.kind ?? (wantsVf ? 'sriov' : '')
  const subnets = heddle?.subnets ?? ipam?.subnets ?? []
  const definition = checkDefinition(CreateNetworkRequest.fromJSON({ ...heddle, kind, subnets, name: config.name }))
  // Each host may have a range of its own where the addresses are another plugin's.
  const isOpen = ipam?.isStatic === true || (ipamPlugin !== undefined && heddle?.subnets === undefined)
  const compared = isOpen ? { ...definition, subnets: [] } : definition
  return {
    definition,
    differences: (network: Network) =>
      differencesTo(network, heddle === undefined ? { ...compared, options: network.options, internal: network.internal } : compared),
  }
}

/**
 * Another plugin makes the interfaces: a network of addresses alone, or one of any kind that has these. The gateway is that
 * plugin's business; here it is an address that nobody is given.
 */
function addressesOnly(name: string, given: readonly Subnet[]) {
  if (given.length === 0) return { definition: undefined, differences: () => [] }
  const subnets = given.map(({ gateway, ...subnet }) => ({ ...subnet, gateway: '', auxiliary: gateway === '' ? {} : { gateway } }))
  const definition = checkDefinition(CreateNetworkRequest.fromPartial({ name, kind: 'null', subnets }))
  return {
    definition,
    differences: ({ pools }: Network) =>
      definition.subnets
        .filter(({ prefix }) => !pools.some((pool) => pool.prefix === prefix))
        .map(({ prefix }) => `it has no subnet ${prefix}, only ${pools.map((pool) => pool.prefix).join(', ') || 'none'}`),
  }
}

export function parsePrevious(config: CniConfig): CniResult | undefined {
  const json = config.json['prevResult']
  return json === undefined || json === null ? undefined : checked(() => parseResult(json, config.version), 'prevResult')
}

/** The list of GC, under the key of the specification or that of libcni. Fails when there is none: that is not an empty one. */
export function parseValidAttachments(config: CniConfig): readonly ValidAttachment[] {
  const json = config.json['cni.dev/valid-attachments'] ?? config.json['cni.dev/attachments']
  if (json === undefined)
    throw invalid('cni.dev/valid-attachments', 'GC has no list of valid attachments', 'give cni.dev/valid-attachments, empty if there are none')
  return checked(() => z.array(attachmentSchema).nullable().parse(json), 'cni.dev/valid-attachments') ?? []
}

function decode(stdin: string): Record<string, unknown> {
  let json: unknown
  try {
    json = JSON.parse(stdin)
  } catch (error) {
    throw new HeddleError('undecodable-config', `the network configuration is not JSON: ${(error as Error).message}`, {
      remedy: 'correct the configuration',
      cause: error,
    })
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new HeddleError('undecodable-config', 'the network configuration is not a JSON object', { remedy: 'correct the configuration' })
  }
  return json as Record<string, unknown>
}

function portOf(mapping: { hostPort: number; containerPort: number; protocol: string | undefined; hostIP: string | undefined }): PortMapping {
  const protocol = (mapping.protocol ?? 'tcp').toLowerCase()
  if (!['tcp', 'udp', 'sctp'].includes(protocol))
    throw invalid('portMappings.protocol', `protocol ${JSON.stringify(protocol)} is not known`, 'use tcp, udp or sctp')
  if (mapping.containerPort === 0) throw invalid('portMappings.containerPort', 'a published port needs a container port', 'use 1 to 65535')
  const any = mapping.hostIP === undefined || mapping.hostIP === '' || mapping.hostIP === '0.0.0.0' || mapping.hostIP === '::'
  return {
    protocol,
    hostAddress: any ? '' : ipField(mapping.hostIP ?? '', 'portMappings.hostIP'),
    hostPort: mapping.hostPort,
    containerPort: mapping.containerPort,
  }
}
