/** CHECK: whether an attachment is as ADD left it. */
import type { Route } from '@heddle/contract'
import { type Call, HeddleError } from '@heddle/core'
import { contains, parseAddressPrefix, parseIp } from '@heddle/net'
import { findEndpoint, routesOf } from '../flows/attach.ts'
import type { FlowParts } from '../flows/parts.ts'
import { isClaimable } from '../flows/plan.ts'
import { together } from '../flows/undo.ts'
import { type CniConfig, parseAdd, parsePrevious } from './config.ts'
import { endpointIdOf } from './identity.ts'
import { type CniResult, routeOf } from './result.ts'
import type { Asked } from './verbs.ts'

/** Fails with drifted, every difference named. */
export async function check(parts: FlowParts, { env, config, delegate }: Asked, call: Call): Promise<void> {
  const previous = previousOf(config)
  const asked = parseAdd(config, env.args)
  const id = endpointIdOf(env, config)
  const network = await parts.directory.byName(config.name, call)
  const { ipam, vfAllocator, wiring } = parts.cluster
  const [endpoint, { claims }, { vfs }] = await together([
    findEndpoint(parts, id, call),
    ipam.listClaims({ owner: id }, call),
    network.kind === 'sriov' ? vfAllocator.listVfs({ owner: id }, call) : { vfs: [] },
  ])
  if (endpoint === undefined) throw drifted([`container ${env.containerId} has no endpoint on network ${config.name}`])
  const routes = delegate === undefined ? routesOf(network, endpoint.addresses, asked) : throughOurs(previous.routes, endpoint.addresses)
  const { differences } = await wiring.check({ network, endpoint, routes }, call)
  await delegate?.check(call)
  const claimed = new Set(claims.map((claim) => `${claim.address}/${claim.prefixLength}`))
  const resulted = new Set(previous.ips.map((ip) => ip.address))
  const all = [
    ...differences,
    ...(endpoint.state === 'wired' ? [] : [`the endpoint is ${endpoint.state}, not wired`]),
    ...(endpoint.sandbox === env.netns ? [] : [`the endpoint is in ${endpoint.sandbox}, not in ${env.netns}`]),
    ...endpoint.addresses.filter((address) => isClaimable(network, address) && !claimed.has(address)).map((address) => `address ${address} is not claimed`),
    ...endpoint.addresses.filter((address) => !resulted.has(address)).map((address) => `address ${address} is not in prevResult`),
    ...(endpoint.vf === undefined || vfs.some(({ pci }) => pci === endpoint.vf?.pci) ? [] : [`VF ${endpoint.vf.pci} is not claimed`]),
  ]
  if (all.length > 0) throw drifted(all)
}

/** Fails with invalid-argument when there is none. */
export function previousOf(config: CniConfig): CniResult {
  const previous = parsePrevious(config)
  if (previous !== undefined) return previous
  throw new HeddleError('invalid-argument', 'CHECK has no prevResult', { field: 'prevResult', remedy: 'give the result of ADD as prevResult' })
}

export function drifted(differences: readonly string[]): HeddleError {
  return new HeddleError('drifted', `the attachment is not as recorded: ${differences.join('; ')}`, {
    remedy: 'call DEL and ADD for this container, or wait for the repair and check again',
  })
}

/** What another plugin gave goes to a gateway beside one of our addresses; the other routes of the chain are other plugins'. */
function throughOurs(routes: CniResult['routes'], addresses: readonly string[]): Route[] {
  const prefixes = addresses.map((address) => parseAddressPrefix(address).prefix)
  return routes.map(routeOf).filter(({ gateway }) => gateway !== '' && prefixes.some((prefix) => contains(prefix, parseIp(gateway))))
}
