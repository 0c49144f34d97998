/** What this host has, can do and has left over: `heddle doctor`, the leak check, and Wiring.ListAttachments. */
import type { Attachment, Finding, Inventory } from '@heddle/contract'
import type { Call } from '@heddle/core'
import type { LinkInfo, Namespace } from '@heddle/kernel'
import { handoverName, hostEndName, isOurs, parseEndpointAlias, parseNetworkAlias } from './domain/names.ts'
import { encapsulationBytes } from './domain/network-shape.ts'
import type { Endpoints } from './endpoints.ts'
import type { ForwardPolicy } from './forward-policy.adapter.ts'
import { type LeftoverParts, leftovers } from './leftovers.ts'
import type { LoneHost } from './lone/host.ts'
import type { HostNetworks } from './networks.ts'
import type { Publisher } from './publisher.ts'
import type { Registration } from './registration.ts'
import { vfFindings } from './vf/findings.ts'
import type { VfHost } from './vf/host.ts'

export interface InspectParts extends LeftoverParts {
  readonly networks: HostNetworks
  readonly endpoints: Endpoints
  readonly publisher: Publisher
  readonly forwardPolicy: ForwardPolicy
  readonly registration: Registration
  readonly vfs: VfHost
  readonly lone: LoneHost
}

const ok = (subject: string, message: string): Finding => ({ level: 'ok', subject, message, remedy: '' })
const warning = (subject: string, message: string, remedy: string): Finding => ({ level: 'warning', subject, message, remedy })
const failure = (subject: string, message: string, remedy: string): Finding => ({ level: 'error', subject, message, remedy })

function moduleRemedy(kind: string, module: string, option: string): string {
  return `only networks of kind ${kind} need it: load the kernel module ${module} (${option}), and see that it is loaded at boot`
}

/** Features that only some networks need, and what to do for those. */
const optional: Readonly<Record<string, string>> = {
  ipv6: 'only networks with an IPv6 pool need it: boot without ipv6.disable=1',
  'vxlan over IPv6': 'only an underlay with IPv6 addresses needs it: boot without ipv6.disable=1, or give VXLAN an IPv4 address (underlay.address)',
  'bridge port isolated': 'no network of Heddle needs it so far',
  macvlan: moduleRemedy('macvlan', 'macvlan', 'CONFIG_MACVLAN'),
  ipvlan: moduleRemedy('ipvlan', 'ipvlan', 'CONFIG_IPVLAN'),
  '802.1Q VLAN': moduleRemedy('vlan, and parents that are VLAN subinterfaces,', '8021q', 'CONFIG_VLAN_8021Q'),
}

export async function findings(parts: InspectParts, call: Call): Promise<Finding[]> {
  const features = await parts.context.kernel.probe(call)
  const kernel = features.map(({ name, present, detail }) => {
    if (present) return ok(`kernel ${name}`, detail || 'present')
    const remedy = optional[name]
    if (remedy !== undefined) return warning(`kernel ${name}`, detail || 'missing', remedy)
    return failure(`kernel ${name}`, detail || 'missing', `use a kernel with ${name}, or load its module`)
  })
  const bridges = [...parts.networks.present.values()].some(({ shape }) => shape.kind === 'bridge')
  const forwarding = bridges ? await parts.forwardPolicy.verify(call) : []
  const passing = forwarding.map(({ ok: passes, message, remedy }) => (passes ? ok('forwarding', message) : warning('forwarding', message, remedy)))
  return [
    ...kernel,
    ...underlayFindings(parts),
    ...passing,
    ...(await vfFindings(parts.vfs.parts)),
    ...(await leftovers(parts, await ourLinks(parts, call), call)),
  ]
}

function underlayFindings({ context, registration }: InspectParts): Finding[] {
  const { underlay } = context
  if (underlay === undefined) {
    return [
      failure(
        'underlay',
        `host ${context.host} has no underlay address`,
        'give the host a default route, or set underlay.interface or underlay.address of netns-wiring',
      ),
    ]
  }
  const carries = underlay.mtu - encapsulationBytes(underlay.address)
  return [
    ok('underlay', `${underlay.address} on ${underlay.interface}, MTU ${underlay.mtu}: overlay networks carry up to ${carries}`),
    ...(carries < 1280
      ? [warning('underlay mtu', `${carries} bytes are too few for IPv6 (RFC 8200 section 5 asks for 1280)`, `raise the MTU of ${underlay.interface}`)]
      : []),
    registration.registered
      ? ok('overlay registration', `registered as ${context.host}`)
      : warning('overlay registration', 'the overlay service has not taken this host yet', 'see whether the overlay service and NATS run'),
  ]
}

export async function inventory(parts: InspectParts, call: Call): Promise<Inventory> {
  const { fabric, context, bridgeTable, publisher, lone } = parts
  const links = await ourLinks(parts, call)
  const networks = new Set<string>()
  let fdbEntries = 0
  let neighbours = 0
  for (const [ns, ours] of links) {
    const byIndex = new Map(ours.map((link) => [link.index, link]))
    const macs = new Set(ours.map(({ mac }) => mac))
    for (const { alias } of ours) {
      const networkId = parseNetworkAlias(alias) ?? parseEndpointAlias(alias)?.networkId
      if (networkId !== undefined) networks.add(networkId)
    }
    if (ours.length === 0) continue
    for (const entry of await context.kernel.neighbours(ns, undefined, call)) {
      const link = byIndex.get(entry.linkIndex)
      if (link === undefined || !entry.permanent) continue
      if (entry.table === 'neighbour') neighbours += link.name.startsWith('hb') ? 1 : 0
      else if (!link.name.startsWith('hb') && !macs.has(entry.mac)) fdbEntries++
    }
  }
  await bridgeTable.refresh(call)
  // One that waits for dockerd is among the host's.
  const inside = (await lone.endpoints.attachments(call)).filter(({ inSandbox }) => inSandbox)
  for (const { networkId } of inside) networks.add(networkId)
  const own = await lone.parents.own(call)
  const count = [...links.values()].reduce((sum, ours) => sum + ours.length, inside.length + own.length)
  return { links: count, fdbEntries, neighbours, namespaces: fabric.exists ? 1 : 0, publishedPorts: publisher.count, networks: networks.size }
}

export async function attachments(parts: Pick<InspectParts, 'context' | 'fabric'>, call: Call): Promise<Attachment[]> {
  const links = await ourLinks(parts, call)
  const waiting = new Set((links.get(parts.context.hostNs) ?? []).map(({ name }) => name))
  return [...links.values()].flat().flatMap(({ name, alias }) => {
    const found = parseEndpointAlias(alias)
    if (found === undefined || name !== hostEndName(found.endpointId)) return []
    return [{ ...found, hostInterface: name, inSandbox: !waiting.has(handoverName(found.endpointId)) }]
  })
}

async function ourLinks({ context, fabric }: Pick<InspectParts, 'context' | 'fabric'>, call: Call): Promise<ReadonlyMap<Namespace, readonly LinkInfo[]>> {
  const namespaces: Namespace[] = fabric.exists ? [context.hostNs, fabric.ns] : [context.hostNs]
  const dumps = await Promise.all(namespaces.map((ns) => context.kernel.links(ns, call)))
  return new Map(namespaces.map((ns, index) => [ns, (dumps[index] ?? []).filter(({ name }) => isOurs(name))]))
}
