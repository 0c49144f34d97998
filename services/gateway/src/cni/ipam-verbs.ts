/**
 * The commands as another plugin's IPAM (CNI spec 1.1.0, section 4: "Plugin Delegation"): addresses of a network for an interface
 * that it makes itself. Its whole configuration comes to us; ours is its `ipam`.
 */
import type { Route } from '@heddle/contract'
import type { Call } from '@heddle/core'
import { contains, parseIp, parsePrefix } from '@heddle/net'
import { address, forget } from '../flows/address.ts'
import { findEndpoint } from '../flows/attach.ts'
import type { FlowParts } from '../flows/parts.ts'
import { anywhere, familyOf } from '../flows/plan.ts'
import { together } from '../flows/undo.ts'
import { drifted, previousOf } from './check.ts'
import { type AddConfig, parseAdd } from './config.ts'
import { checkNetns } from './environment.ts'
import { endpointIdOf } from './identity.ts'
import { networkFor } from './network.ts'
import { routeResult, serializeIpam } from './result.ts'
import { type Asked, podName } from './verbs.ts'

export async function addAddresses(parts: FlowParts, { env, config }: Asked, call: Call): Promise<Record<string, unknown>> {
  const wish = parseAdd(config, env.args)
  checkNetns(env)
  const { containerId, interfaceName, netns: sandbox } = env
  const endpoint = { id: endpointIdOf(env, config), containerId, containerName: podName(env.args), interfaceName, sandbox }
  const given = await address(
    parts,
    { endpoint, network: (inner) => networkFor(parts, config, wish, inner), addresses: wish.addresses, within: wish.within.map(({ prefix }) => prefix) },
    call,
  )
  const claims = given.claims.map(({ claim, gateway }) => ({ claim, gateway: gatewayIn(wish, claim.address) ?? gateway }))
  const gateways = new Map(claims.flatMap(({ claim, gateway }) => (gateway === '' ? [] : [[familyOf(claim.address), gateway] as const])))
  const defaults = wish.onlyRoutes ? [] : [...gateways].map(([family, gateway]): Route => ({ destination: anywhere[family], gateway }))
  // The delegating plugin completes a route without a gateway by that of the address.
  const result = {
    interfaces: [],
    ips: claims.map(({ claim, gateway }) => ({ address: `${claim.address}/${claim.prefixLength}`, ...(gateway === '' ? {} : { gateway }) })),
    routes: [...defaults, ...wish.routes].map(routeResult),
    dns: wish.dns,
  }
  return serializeIpam(result, config.version)
}

/** The gateway that the configuration itself names for an address. */
function gatewayIn({ definition }: AddConfig, text: string): string | undefined {
  const ip = parseIp(text)
  return definition?.subnets.find(({ prefix }) => contains(parsePrefix(prefix), ip))?.auxiliary['gateway']
}

/** Succeeds when nothing is there. */
export function delAddresses(parts: FlowParts, { env, config }: Asked, call: Call): Promise<void> {
  return forget(parts, endpointIdOf(env, config), call)
}

/** Whether the addresses are still the endpoint's. Fails with drifted. */
export async function checkAddresses(parts: FlowParts, { env, config }: Asked, call: Call): Promise<void> {
  const previous = previousOf(config)
  const id = endpointIdOf(env, config)
  const [endpoint, { claims }] = await together([findEndpoint(parts, id, call), parts.cluster.ipam.listClaims({ owner: id }, call)])
  if (endpoint === undefined) throw drifted([`container ${env.containerId} has no addresses of network ${config.name}`])
  const claimed = new Set(claims.map((claim) => `${claim.address}/${claim.prefixLength}`))
  const resulted = new Set(previous.ips.map((ip) => ip.address))
  const all = [
    ...endpoint.addresses.filter((one) => !claimed.has(one)).map((one) => `address ${one} is not claimed`),
    ...endpoint.addresses.filter((one) => !resulted.has(one)).map((one) => `address ${one} is not in prevResult`),
    ...(endpoint.sandbox === env.netns ? [] : [`the endpoint is in ${endpoint.sandbox}, not in ${env.netns}`]),
  ]
  if (all.length > 0) throw drifted(all)
}
