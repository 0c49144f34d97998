/** The network a configuration names or defines. */
import type { Network } from '@heddle/contract'
import { type Call, HeddleError } from '@heddle/core'
import { differs } from '../flows/definition.ts'
import { orUnknown } from '../flows/directory.ts'
import { createNetwork } from '../flows/network.ts'
import type { FlowParts } from '../flows/parts.ts'
import { wantsOf } from '../flows/plan.ts'
import { planVf } from '../flows/vf.ts'
import type { AddConfig, CniConfig } from './config.ts'
import { networkUnknown } from './failure.ts'
import { noLegacyResult } from './result.ts'
import { shapeOf } from './versions.ts'

/** The network of an ADD: found, or made of what the configuration says of it. Fails when it does not suit the wish. */
export async function networkFor(parts: FlowParts, config: CniConfig, wish: AddConfig, call: Call): Promise<Network> {
  const network = (await orUnknown(parts.directory.byName(config.name, call))) ?? (await created(parts, config, wish, call))
  const differences = wish.differences(network)
  if (differences.length > 0) throw differs(network, differences)
  checkPorts(network, wish)
  checkResult(config, wish, network.pools.length)
  await checkRanges(parts, network, wish, call)
  return network
}

/** A range narrower than its pool's cannot be kept to: what is free in it is not what the pool has free. */
async function checkRanges(parts: FlowParts, network: Network, { within }: AddConfig, call: Call): Promise<void> {
  for (const { prefix, ranges } of within) {
    const field = 'ipRanges'
    const ref = network.pools.find((pool) => pool.prefix === prefix)
    if (ref === undefined) {
      const remedy = `choose from ${network.pools.map((pool) => pool.prefix).join(', ') || 'a network that has it'}`
      throw new HeddleError('address-outside-pool', `ipRanges: network ${network.name} has no subnet ${prefix}`, { field, remedy })
    }
    if (ranges.length === 0) continue
    const { pools } = await parts.cluster.ipam.listPools({ id: ref.poolId }, call)
    if (JSON.stringify(pools[0]?.pool?.ranges) === JSON.stringify(ranges)) continue
    throw new HeddleError('unsupported', `ipRanges: subnet ${prefix} of network ${network.name} has other ranges`, {
      field,
      remedy: 'leave rangeStart and rangeEnd out, or make the network with these ranges',
    })
  }
}

/** What the endpoint will have no result in is said before it is attached. */
function checkResult(config: CniConfig, { previous, ipamPlugin }: AddConfig, pools: number): void {
  if (pools === 0 && ipamPlugin === undefined && shapeOf(config.version).legacy && (previous?.ips ?? []).length === 0) throw noLegacyResult()
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
  if (wish.ipamPlugin === undefined && (pools.length > 0 || definition.kind === 'sriov'))
    wantsOf(
      { name: config.name, pools },
      wish.addresses,
      wish.within.map(({ prefix }) => prefix),
    )
  if (definition.kind === 'sriov') {
    planVf(definition, wish.vf)
    checkResult(config, wish, pools.length)
  }
  return (await createNetwork(parts, { definition, createdBy: 'cni', addressedElsewhere: wish.ipamPlugin !== undefined }, call)).network
}
