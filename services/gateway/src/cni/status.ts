/** STATUS: whether an ADD would succeed now, asked of each part with the cheapest question it has. */
import type { PoolUsage } from '@heddle/contract'
import { type Call, HeddleError } from '@heddle/core'
import { briefly } from '../flows/briefly.ts'
import type { FlowParts } from '../flows/parts.ts'
import { familyOf } from '../flows/plan.ts'
import { type CniConfig, parseAdd } from './config.ts'
import { degraded, networkUnknown, notReady } from './failure.ts'
import { lackOfVfs } from './vf-status.ts'

const timeoutMs = 2000

export interface StatusFailure {
  readonly code: typeof notReady | typeof degraded
  readonly error: HeddleError
}

/** Undefined when everything answers. */
export function status(parts: FlowParts, config: CniConfig, call: Call): Promise<StatusFailure | undefined> {
  const { host, ipam, networks, overlay, wiring } = parts.cluster
  return briefly(call, timeoutMs, async (inner) => {
    const [pools, network, attachments, hosts] = await Promise.allSettled([
      ipam.listPools({ space: config.name }, inner),
      networks.getNetwork({ name: config.name }, inner),
      wiring.listAttachments({}, inner),
      overlay.listHosts({}, inner),
    ])
    const unknown = network.status === 'rejected' && HeddleError.from(network.reason).code === 'network-unknown'
    for (const [what, outcome] of [
      ['ipam', pools],
      ['networks', network],
      ['netns-wiring', attachments],
    ] as const) {
      if (outcome.status === 'rejected' && !(outcome === network && unknown)) return { code: notReady, error: silent(what, outcome.reason) }
    }
    const { definition, vf } = parseAdd(config, new Map())
    if (unknown && definition === undefined) return { code: notReady, error: networkUnknown(config.name) }
    const exhausted = pools.status === 'fulfilled' ? exhaustedFamily(pools.value.pools) : undefined
    if (exhausted !== undefined) {
      const remedy = 'remove containers, or add a pool'
      return { code: notReady, error: new HeddleError('pool-exhausted', `every IPv${exhausted} pool of network ${config.name} is exhausted`, { remedy }) }
    }
    const kind = network.status === 'fulfilled' ? network.value.network?.kind : definition?.kind
    if (kind === 'sriov') {
      const sriov = network.status === 'fulfilled' ? network.value.network?.sriov : definition?.sriov
      const lack = await lackOfVfs(parts, config.name, sriov, vf, inner).catch((reason: unknown) => unlessNamed(reason))
      return lack === undefined ? undefined : { code: notReady, error: lack }
    }
    if (kind !== 'overlay') return undefined
    if (hosts.status === 'rejected') return { code: degraded, error: silent('overlay', hosts.reason) }
    if (!hosts.value.hosts.some((one) => one.name === host && one.alive)) {
      return {
        code: degraded,
        error: new HeddleError('host-unknown', `host ${host} is not alive in the overlay`, { remedy: 'look at the log of netns-wiring on this host' }),
      }
    }
    return undefined
  })
}

/** An ADD takes an address of each family that the network has. */
function exhaustedFamily(pools: readonly PoolUsage[]): 4 | 6 | undefined {
  return ([4, 6] as const).find((family) => {
    const ofFamily = pools.filter(({ pool }) => pool !== undefined && familyOf(pool.prefix) === family)
    return ofFamily.length > 0 && ofFamily.every(({ free }) => free === 0n)
  })
}

/** A pool or a PF that is not there keeps its own sentence. */
function unlessNamed(reason: unknown): HeddleError {
  const failure = HeddleError.from(reason)
  return failure.code === 'vf-pool-unknown' || failure.code === 'pf-unknown' ? failure : silent('vf-allocator', failure)
}

function silent(what: string, reason: unknown): HeddleError {
  const failure = HeddleError.from(reason)
  return new HeddleError('unavailable', `${what} does not answer: ${failure.message}`, { remedy: failure.remedy ?? 'look at `heddle doctor`' })
}
