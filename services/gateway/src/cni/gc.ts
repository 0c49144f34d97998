/** GC: what no valid attachment has is removed. */
import type { Endpoint } from '@heddle/contract'
import { allPages, type Call, HeddleError } from '@heddle/core'
import { forget } from '../flows/address.ts'
import { type DetachWish, detach } from '../flows/detach.ts'
import { orUnknown } from '../flows/directory.ts'
import type { FlowParts } from '../flows/parts.ts'
import { type CniConfig, parseValidAttachments } from './config.ts'
import type { IpamDelegate } from './delegate.ts'
import { endpointIdOf } from './identity.ts'

/**
 * Detaches this host's CNI endpoints of the network that are not in the list. One whose attach is under way when GC begins,
 * or begins before GC knows what is stale, cannot be in the list, so it is left alone. Goes on after a failure and reports
 * it at the end.
 */
export async function gc(parts: FlowParts, config: CniConfig, delegate: IpamDelegate | undefined, call: Call): Promise<void> {
  const valid = new Set(
    parseValidAttachments(config).map(({ containerID, ifname }) =>
      endpointIdOf({ containerId: containerID, interfaceName: config.interfaceName || ifname }, config),
    ),
  )
  const { stale, removed } = await parts.endpoints.whileAttaching(async (attaching) => {
    const found = await endpointsOf(parts, config, call)
    const stale = found.filter(({ id }) => !valid.has(id) && !attaching.has(id))
    const remove = config.isIpam ? (endpoint: Endpoint) => forget(parts, endpoint.id, call) : (endpoint: Endpoint) => detach(parts, detachWish(endpoint), call)
    // Each has its place in its endpoint's queue from here on: an attach that begins now comes after.
    return { stale, removed: Promise.allSettled<unknown>(stale.map(remove)) }
  })
  const outcomes = [...(await removed), ...(await giveBack(delegate, stale, call))]
  const failed = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [HeddleError.from(outcome.reason)] : []))
  if (failed[0] !== undefined) {
    throw new HeddleError(failed[0].code, `${failed.length} of ${stale.length} stale attachments could not be removed: ${failed[0].message}`, {
      remedy: failed[0].remedy ?? 'run GC again',
    })
  }
}

/** What this configuration has attached on this host; nothing of a network that is not there. */
async function endpointsOf(parts: FlowParts, config: CniConfig, call: Call): Promise<readonly Endpoint[]> {
  const { host, networks } = parts.cluster
  const answer = await orUnknown(networks.getNetwork({ name: config.name }, call))
  if (answer?.network === undefined) return []
  const networkId = answer.network.id
  const endpoints = await allPages(
    (pageToken) => networks.listEndpoints({ networkId, host, pageToken }, call),
    (page) => page.endpoints,
  )
  // The id says of which configuration an endpoint is: several may have addresses of one network.
  return endpoints.filter((one) => one.runtime === 'cni' && one.id === endpointIdOf(one, config))
}

/** A plugin of the time before GC is told of each by DEL. */
async function giveBack(delegate: IpamDelegate | undefined, stale: readonly Endpoint[], call: Call): Promise<PromiseSettledResult<unknown>[]> {
  if (delegate === undefined) return []
  const [forwarded] = await Promise.allSettled([delegate.forward('GC', call)])
  if (forwarded.status === 'rejected' || forwarded.value) return [forwarded]
  return Promise.allSettled(stale.map(({ containerId, interfaceName, sandbox }) => delegate.del(call, { containerId, interfaceName, netns: sandbox })))
}

function detachWish({ id, networkId, networkKind, sandbox, interfaceName, vf }: Endpoint): DetachWish {
  return { endpointId: id, networkId, networkKind, sandbox, interfaceName, vf }
}
