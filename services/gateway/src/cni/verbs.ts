/** ADD and DEL, each as a call of a flow. */
import { type Call, invalid } from '@heddle/core'
import { inOwnWords } from '../fields.ts'
import { type Attached, attach } from '../flows/attach.ts'
import { detach } from '../flows/detach.ts'
import type { FlowParts } from '../flows/parts.ts'
import { gatewayFor } from '../flows/plan.ts'
import { type AddConfig, type CniConfig, parseAdd } from './config.ts'
import type { IpamDelegate } from './delegate.ts'
import { deviceInfoFile, forgetDeviceInfo, tellDeviceInfo } from './device-info.ts'
import { type CniEnvironment, checkNetns } from './environment.ts'
import { endpointIdOf } from './identity.ts'
import { networkFor } from './network.ts'
import { type CniResult, mergeResults, routeResult, serializeResult } from './result.ts'
import { optionOf } from './sriov.ts'

/** What a command of one attachment is given. */
export interface Asked {
  readonly env: CniEnvironment
  readonly config: CniConfig
  readonly deviceInfoDir: string
  /** Another plugin gives the addresses. */
  readonly delegate: IpamDelegate | undefined
}

/** Everything that can be wrong with the caller's input is found before the first command is sent. */
export async function add(parts: FlowParts, { env, config, deviceInfoDir, delegate }: Asked, call: Call): Promise<Record<string, unknown>> {
  const wish = parseAdd(config, env.args)
  if (wish.lacksAddress) throw invalid('ipam.addresses', 'ipam.addresses: type static has no address', 'give ipam.addresses, or the capability ips')
  const infoFile = deviceInfoFile(config, deviceInfoDir)
  checkNetns(env)
  const attaching = attach(
    parts,
    {
      endpoint: {
        id: endpointIdOf(env, config),
        containerId: env.containerId,
        containerName: podName(env.args),
        interfaceName: env.interfaceName,
        sandbox: env.netns,
        mac: wish.mac,
        aliases: [...wish.aliases],
        ports: [...wish.ports],
        runtime: 'cni',
      },
      network: (inner) => networkFor(parts, config, wish, inner),
      addresses: delegate === undefined ? wish.addresses : [],
      within: wish.within.map(({ prefix }) => prefix),
      given: delegate && { plugin: delegate.plugin, ask: (inner) => delegate.add(inner) },
      routes: wish.routes,
      onlyRoutes: wish.onlyRoutes,
      vf: wish.vf,
      onVf: infoFile === undefined ? undefined : (vf) => tellDeviceInfo(infoFile, vf),
    },
    call,
  )
  const attached = await inOwnWords(attaching, optionOf)
  const ours = { ...resultOf(attached, env), dns: await dnsOf(wish, delegate, call) }
  return serializeResult(wish.previous === undefined ? ours : mergeResults(wish.previous, ours), config.version)
}

export async function del(parts: FlowParts, { env, config, deviceInfoDir, delegate }: Asked, call: Call): Promise<void> {
  const network = parts.directory.peek(config.name)
  const wish = {
    endpointId: endpointIdOf(env, config),
    networkId: network?.id ?? '',
    networkKind: network?.kind,
    sandbox: env.netns,
    interfaceName: env.interfaceName,
  }
  await detach(parts, wish, call)
  await delegate?.del(call)
  forgetDeviceInfo(config, deviceInfoDir)
}

/**
 * Interfaces in the order the specification recommends: bridge, host's end, container's end. Those of an overlay are in a
 * namespace of Heddle's own, and the host, where a result without `sandbox` says they are, does not have them.
 */
function resultOf({ network, endpoint, routes, wiring, given }: Attached, env: CniEnvironment): Omit<CniResult, 'dns'> {
  const mtu = wiring.mtu === 0 ? {} : { mtu: wiring.mtu }
  const pciID = endpoint.vf === undefined ? {} : { pciID: endpoint.vf.pci }
  const onHost = [
    { name: wiring.bridge, mac: wiring.bridgeMac, ...mtu },
    { name: wiring.hostInterface, mac: wiring.hostMac, ...mtu },
  ]
  const host = network.kind === 'overlay' ? [] : onHost.filter((one) => one.name !== '')
  const own = { name: env.interfaceName, mac: wiring.mac || endpoint.mac, ...mtu, sandbox: env.netns, ...pciID }
  return {
    interfaces: network.kind === 'null' ? [] : [...host, own],
    ips: endpoint.addresses.map((address) => {
      const gateway = given?.gatewayOf.get(address) ?? gatewayFor(network, address)
      return { address, ...(gateway === '' ? {} : { gateway }), ...(network.kind === 'null' ? {} : { interface: host.length }) }
    }),
    routes: routes.map(routeResult),
  }
}

async function dnsOf({ dns }: AddConfig, delegate: IpamDelegate | undefined, call: Call): Promise<CniResult['dns']> {
  if (Object.keys(dns).length > 0 || delegate === undefined) return dns
  return (await delegate.add(call)).dns
}

/** What people call the container. */
export function podName(args: ReadonlyMap<string, string>): string {
  const [namespace, name] = [args.get('K8S_POD_NAMESPACE'), args.get('K8S_POD_NAME')]
  return namespace === undefined || name === undefined ? '' : `${namespace}/${name}`
}
