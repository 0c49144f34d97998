/** A host that is gone for good is forgotten by every brain: its endpoints and their addresses, its VFs, then the host itself. */
import type { Endpoint } from '@heddle/contract'
import { allPages, type Call, HeddleError, invalid, sleep } from '@heddle/core'
import type { FlowParts } from './parts.ts'
import { together } from './undo.ts'

const atOnce = 16
/** The overlay hears of deleted endpoints by its watch. */
const pauseMs = 50

export interface Removed {
  readonly endpoints: number
  readonly vfClaims: number
}

/**
 * Fails with host-unknown; with host-in-use while the host is alive, since its containers would run on with addresses that others
 * are given, or has endpoints and `force` is not set. Repeatable: what was done before a failure stays done.
 */
export async function removeHost(parts: FlowParts, name: string, force: boolean, call: Call): Promise<Removed> {
  const { overlay, vfAllocator } = parts.cluster
  if (name === '') throw invalid('name', 'no host was named', 'list the hosts with `heddle host ls`')
  const [{ hosts }, { pfs }, endpoints] = await together([
    overlay.listHosts({}, call),
    vfAllocator.listPfs({ host: name }, call),
    endpointsOn(parts, name, call),
  ])
  const host = hosts.find((one) => one.name === name)
  if (host === undefined && pfs.length === 0 && endpoints.length === 0)
    throw new HeddleError('host-unknown', `there is no host ${JSON.stringify(name)}`, { field: 'name', remedy: 'list the hosts with `heddle host ls`' })
  if (host?.alive === true) throw inUse(`host ${name} is alive`, 'stop Heddle there first; it counts as gone when nothing was heard of it for 10 s')
  if (endpoints.length > 0 && !force)
    throw inUse(
      `host ${name} has ${endpoints.length} endpoint${endpoints.length === 1 ? '' : 's'}, ${endpoints[0]?.containerName || endpoints[0]?.id} in network ${endpoints[0]?.networkName} for one`,
      'when it comes back they are as they were; if it is gone for good, add --force: they are deleted and their addresses freed',
    )
  await deleteAll(parts, endpoints, call)
  const { claims } = await vfAllocator.forgetHost({ host: name }, call)
  await forgetInOverlay(parts, name, call)
  return { endpoints: endpoints.length, vfClaims: claims }
}

function endpointsOn(parts: FlowParts, host: string, call: Call): Promise<Endpoint[]> {
  return allPages(
    (pageToken) => parts.cluster.networks.listEndpoints({ host, pageToken }, call),
    (page) => page.endpoints,
  )
}

/** The record first: an address is nobody else's while a record names it. */
async function deleteAll(parts: FlowParts, endpoints: readonly Endpoint[], call: Call): Promise<void> {
  const { ipam, networks } = parts.cluster
  const waiting = [...endpoints]
  const work = async () => {
    for (let endpoint = waiting.pop(); endpoint !== undefined; endpoint = waiting.pop()) {
      await networks.deleteEndpoint({ id: endpoint.id }, call)
      await ipam.release({ owner: endpoint.id }, call)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
}

async function forgetInOverlay(parts: FlowParts, name: string, call: Call): Promise<void> {
  for (;;) {
    try {
      await parts.cluster.overlay.removeHost({ name }, call)
      return
    } catch (error) {
      if (HeddleError.from(error).code !== 'host-in-use') throw error
      await sleep(call.clock, pauseMs, call.signal)
    }
  }
}

function inUse(message: string, remedy: string): HeddleError {
  return new HeddleError('host-in-use', message, { field: 'name', remedy })
}
