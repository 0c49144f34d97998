/** The CNI commands, each as a call of a flow. */
import type { Endpoint, Network } from '@heddle/contract'
import { allPages, type Call, HeddleError, hashId, invalid } from '@heddle/core'
import { inOwnWords } from '../fields.ts'
import { type Attached, attach, findEndpoint, routesOf } from '../flows/attach.ts'
import { differs } from '../flows/definition.ts'
import { type DetachWish, detach } from '../flows/detach.ts'
import { orUnknown } from '../flows/directory.ts'
import { createNetwork } from '../flows/network.ts'
import type { FlowParts } from '../flows/parts.ts'
import { gatewayFor, wantsOf } from '../flows/plan.ts'
import { together } from '../flows/undo.ts'
import { planVf } from '../flows/vf.ts'
import { type AddConfig, type CniConfig, parseAdd, parsePrevious, parseValidAttachments } from './config.ts'
import { deviceInfoFile, forgetDeviceInfo, tellDeviceInfo } from './device-info.ts'
import { type CniEnvironment, checkNetns } from './environment.ts'
import { networkUnknown } from './failure.ts'
import { type CniResult, mergeResults, noLegacyResult, serializeResult } from './result.ts'
import { optionOf } from './sriov.ts'
import { shapeOf } from './versions.ts'

export function endpointIdOf(env: Pick<CniEnvironment, 'containerId' | 'interfaceName'>, networkName: string): string {
  return hashId(env.containerId, env.interfaceName, networkName)
}

/** Everything that can be wrong with the caller's input is found before the first command is sent. */
export async function add(parts: FlowParts, env: CniEnvironment, config: CniConfig, deviceInfoDir: string, call: Call): Promise<Record<string, unknown>> {
  const wish = parseAdd(config, env.args)
  if (wish.lacksAddress) throw invalid('ipam.addresses', 'ipam.addresses: type static has no address', 'give ipam.addresses, or the capability ips')
  const infoFile = deviceInfoFile(config, deviceInfoDir)
  checkNetns(env)
  const attaching = attach(
    parts,
    {
      endpoint: {
        id: endpointIdOf(env, config.name),
        containerId: env.containerId,
        containerName: podName(env.args),
        interfaceName: env.interfaceName,
        sandbox: env.netns,
        mac: wish.mac,
        ports: [...wish.ports],
        runtime: 'cni',
      },
      network: (inner) => networkFor(parts, config, wish, inner),
      addresses: wish.addresses,
      routes: wish.routes,
      onlyRoutes: wish.onlyRoutes,
      vf: wish.vf,
      onVf: infoFile === undefined ? undefined : (vf) => tellDeviceInfo(infoFile, vf),
    },
    call,
  )
  const attached = await inOwnWords(attaching, optionOf)
  const ours = resultOf(attached, env, wish)
  return serializeResult(wish.previous === undefined ? ours : mergeResults(wish.previous, ours), config.version)
}

export async function del(parts: FlowParts, env: CniEnvironment, config: CniConfig, deviceInfoDir: string, call: Call): Promise<void> {
  const network = parts.directory.peek(config.name)
  const wish = {
    endpointId: endpointIdOf(env, config.name),
    networkId: network?.id ?? '',
    networkKind: network?.kind,
    sandbox: env.netns,
    interfaceName: env.interfaceName,
  }
  await detach(parts, wish, call)
  forgetDeviceInfo(config, deviceInfoDir)
}

/** Fails with drifted, every difference named. */
export async function check(parts: FlowParts, env: CniEnvironment, config: CniConfig, call: Call): Promise<void> {
  const previous = parsePrevious(config)
  if (previous === undefined)
    throw new HeddleError('invalid-argument', 'CHECK has no prevResult', { field: 'prevResult', remedy: 'give the result of ADD as prevResult' })
  const asked = parseAdd(config, env.args)
  const id = endpointIdOf(env, config.name)
  const network = await parts.directory.byName(config.name, call)
  const { ipam, vfAllocator, wiring } = parts.cluster
  const [endpoint, { claims }, { vfs }] = await together([
    findEndpoint(parts, id, call),
    ipam.listClaims({ owner: id }, call),
    network.kind === 'sriov' ? vfAllocator.listVfs({ owner: id }, call) : { vfs: [] },
  ])
  if (endpoint === undefined) throw drifted([`container ${env.containerId} has no endpoint on network ${config.name}`])
  const routes = routesOf(network, endpoint.addresses, asked)
  const { differences } = await wiring.check({ network, endpoint, routes }, call)
  const claimed = new Set(claims.map((claim) => `${claim.address}/${claim.prefixLength}`))
  const resulted = new Set(previous.ips.map((ip) => ip.address))
  const all = [
    ...differences,
    ...(endpoint.state === 'wired' ? [] : [`the endpoint is ${endpoint.state}, not wired`]),
    ...(endpoint.sandbox === env.netns ? [] : [`the endpoint is in ${endpoint.sandbox}, not in ${env.netns}`]),
    ...endpoint.addresses.filter((address) => !claimed.has(address)).map((address) => `address ${address} is not claimed`),
    ...endpoint.addresses.filter((address) => !resulted.has(address)).map((address) => `address ${address} is not in prevResult`),
    ...(endpoint.vf === undefined || vfs.some(({ pci }) => pci === endpoint.vf?.pci) ? [] : [`VF ${endpoint.vf.pci} is not claimed`]),
  ]
  if (all.length > 0) throw drifted(all)
}

/**
 * Detaches this host's CNI endpoints of the network that are not in the list. One that is being attached while GC
 * runs cannot be in the list yet, so it is left alone. Goes on after a failure and reports it at the end.
 */
export async function gc(parts: FlowParts, config: CniConfig, call: Call): Promise<void> {
  const attaching = parts.endpoints.attaching()
  const valid = new Set(parseValidAttachments(config).map(({ containerID, ifname }) => hashId(containerID, ifname, config.name)))
  const answer = await orUnknown(parts.cluster.networks.getNetwork({ name: config.name }, call))
  if (answer?.network === undefined) return
  const networkId = answer.network.id
  const endpoints = await allPages(
    (pageToken) => parts.cluster.networks.listEndpoints({ networkId, host: parts.cluster.host, pageToken }, call),
    (page) => page.endpoints,
  )
  const stale = endpoints.filter(({ id, runtime }) => runtime === 'cni' && !valid.has(id) && !attaching.has(id) && !parts.endpoints.attaching().has(id))
  const outcomes = await Promise.allSettled(stale.map((endpoint) => detach(parts, detachWish(endpoint), call)))
  const failed = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [HeddleError.from(outcome.reason)] : []))
  if (failed[0] !== undefined) {
    throw new HeddleError(failed[0].code, `${failed.length} of ${stale.length} stale attachments could not be removed: ${failed[0].message}`, {
      remedy: failed[0].remedy ?? 'run GC again',
    })
  }
}

async function networkFor(parts: FlowParts, config: CniConfig, wish: AddConfig, call: Call): Promise<Network> {
  const network = (await orUnknown(parts.directory.byName(config.name, call))) ?? (await created(parts, config, wish, call))
  const differences = wish.differences(network)
  if (differences.length > 0) throw differs(network, differences)
  checkPorts(network, wish)
  checkResult(config, wish, network.pools.length)
  return network
}

/** What the endpoint will have no result in is said before it is attached. */
function checkResult(config: CniConfig, { previous }: AddConfig, pools: number): void {
  if (pools === 0 && shapeOf(config.version).legacy && (previous?.ips ?? []).length === 0) throw noLegacyResult()
}

function checkPorts({ name, kind }: Pick<Network, 'name' | 'kind'>, wish: AddConfig): void {
  if (wish.ports.length === 0 || kind === 'bridge') return
  throw new HeddleError('unsupported', `portMappings cannot be published on ${name}: it is an ${kind} network`, {
    field: 'portMappings',
    remedy: 'publish ports of a bridge network, or add the portmap plugin to the chain and take the portMappings capability from this one',
  })
}

/** What the wish cannot have of the network is said before the network is made: it stays, whatever becomes of this ADD. */
async function created(parts: FlowParts, config: CniConfig, wish: AddConfig, call: Call): Promise<Network> {
  const { definition } = wish
  if (definition === undefined) throw networkUnknown(config.name)
  checkPorts(definition, wish)
  const pools = definition.subnets.map(({ prefix, gateway }) => ({ poolId: '', prefix, gateway }))
  if (pools.length > 0 || definition.kind === 'sriov') wantsOf({ name: config.name, pools }, wish.addresses)
  if (definition.kind === 'sriov') {
    planVf(definition, wish.vf)
    checkResult(config, wish, pools.length)
  }
  return (await createNetwork(parts, { definition, createdBy: 'cni' }, call)).network
}

/** Interfaces in the order the specification recommends: bridge, host's end, container's end. */
function resultOf({ network, endpoint, routes, wiring }: Attached, env: CniEnvironment, wish: AddConfig): CniResult {
  const mtu = wiring.mtu === 0 ? {} : { mtu: wiring.mtu }
  const pciID = endpoint.vf === undefined ? {} : { pciID: endpoint.vf.pci }
  const host = [
    { name: wiring.bridge, mac: wiring.bridgeMac, ...mtu },
    { name: wiring.hostInterface, mac: wiring.hostMac, ...mtu },
  ].filter((one) => one.name !== '')
  return {
    interfaces: [...host, { name: env.interfaceName, mac: endpoint.mac, ...mtu, sandbox: env.netns, ...pciID }],
    ips: endpoint.addresses.map((address) => {
      const gateway = gatewayFor(network, address)
      return { address, ...(gateway === '' ? {} : { gateway }), interface: host.length }
    }),
    routes: routes.map((route) => ({ dst: route.destination, ...(route.gateway === '' ? {} : { gw: route.gateway }) })),
    dns: wish.dns,
  }
}

function detachWish({ id, networkId, networkKind, sandbox, interfaceName, vf }: Endpoint): DetachWish {
  return { endpointId: id, networkId, networkKind, sandbox, interfaceName, vf }
}

function podName(args: ReadonlyMap<string, string>): string {
  const [namespace, name] = [args.get('K8S_POD_NAMESPACE'), args.get('K8S_POD_NAME')]
  return namespace === undefined || name === undefined ? '' : `${namespace}/${name}`
}

function drifted(differences: readonly string[]): HeddleError {
  return new HeddleError('drifted', `the attachment is not as recorded: ${differences.join('; ')}`, {
    remedy: 'call DEL and ADD for this container, or wait for the repair and check again',
  })
}
