/** Makes and removes networks: pools, VNI and record, in this order and back. */
import type { CreateNetworkRequest, Network, PoolRef, Subnet } from '@heddle/contract'
import { allPages, type Call, HeddleError, hashId, isRoutedByLink, needsSubnet, randomId, sleep, undoCall, withCall } from '@heddle/core'
import { briefly } from './briefly.ts'
import { createDefaultPool } from './default-pools.ts'
import { checkDefinition, differencesTo, differs } from './definition.ts'
import { orUnknown } from './directory.ts'
import { later } from './later.ts'
import type { FlowParts } from './parts.ts'
import { together, type Undo, undoing } from './undo.ts'

export interface NetworkWish {
  readonly definition: CreateNetworkRequest
  readonly createdBy: 'cli' | 'cni' | 'docker'
  /** Of the pools; that of the network's name unless Docker asked for them before it named the network. */
  readonly space?: string
  /** The caller has just looked: there was none of the name. */
  readonly isLookedFor?: boolean
  /** Another IPAM plugin gives the addresses: no pool but of the subnets that the definition names. */
  readonly addressedElsewhere?: boolean
}

/** Somebody may be making the same network at this moment: look again. */
const lostRace: ReadonlySet<string> = new Set(['network-exists', 'vni-taken', 'conflict'])
const maxAttempts = 4
const cleanUpTimeoutMs = 3000
const hostTimeoutMs = 2000

/** The same definition again answers the network that is there; a different one fails with network-exists. */
export async function createNetwork(parts: FlowParts, wish: NetworkWish, call: Call): Promise<{ readonly network: Network; readonly created: boolean }> {
  const definition = checkDefinition(wish.definition)
  for (let attempt = 1; ; attempt++) {
    const looked = attempt === 1 && wish.isLookedFor === true
    const existing = looked ? undefined : (await orUnknown(parts.cluster.networks.getNetwork({ name: definition.name }, call)))?.network
    if (existing !== undefined) {
      const differences = differencesTo(existing, definition)
      if (differences.length > 0) throw differs(existing, differences)
      parts.directory.learn(existing)
      return { network: existing, created: false }
    }
    try {
      const network = await build(parts, { ...wish, definition }, call)
      parts.directory.learn(network)
      return { network, created: true }
    } catch (error) {
      if (!lostRace.has(HeddleError.from(error).code) || attempt === maxAttempts) throw error
      await sleep(parts.clock, Math.random() * 60 * attempt, call.signal)
    }
  }
}

/** Fails with network-in-use. What follows the record is cleaned up now or, when a part does not answer, later. */
export async function deleteNetwork(parts: FlowParts, network: Network, call: Call): Promise<void> {
  await parts.endpoints.freed(call)
  const { network: deleted } = await parts.cluster.networks.deleteNetwork({ id: network.id }, call)
  parts.directory.forget(network)
  const gone = deleted ?? network
  try {
    await briefly(call, cleanUpTimeoutMs, (inner) => cleanUp(parts, gone, inner))
  } catch {
    later(parts, `clean up after network ${gone.name}`, (inner) => cleanUp(parts, gone, inner))
  }
}

/** Deletes a pool that no network has. Claims of Docker endpoints that never came to be go with it. */
export async function deleteOrphanPool(parts: FlowParts, poolId: string, call: Call): Promise<void> {
  const networks = await allPages(
    (pageToken) => parts.cluster.networks.listNetworks({ pageToken }, call),
    (page) => page.networks,
  )
  if (networks.some((network) => network.pools.some((pool) => pool.poolId === poolId))) return
  await parts.cluster.ipam.deletePool({ id: poolId, purgeProvisional: true }, call)
}

async function build(parts: FlowParts, wish: NetworkWish, call: Call): Promise<Network> {
  const { networks, overlay } = parts.cluster
  const { definition, createdBy, space = definition.name } = wish
  // A new id each time: what an earlier network of the name left in a kernel or a cache can never be taken for this one's.
  const id = hashId('network', definition.name, randomId())
  return undoing(parts, call, async (undo) => {
    const pools = await makePools(parts, wish, space, undo, call)
    let vni = 0
    if (definition.kind === 'overlay') {
      undo.add('release the VNI', (late) => overlay.releaseVni({ networkId: id }, late))
      vni = (await overlay.claimVni({ networkId: id, vni: definition.vni }, call)).vni
    }
    const { name, kind, mtu, internal, options, parent, bridge, sriov } = definition
    undo.add('delete the network', (late) => networks.deleteNetwork({ id }, late))
    const record = { id, name, kind, vni, mtu, internal, options, createdBy, pools: pools.map(({ ref }) => ref), parent, bridge, sriov }
    const { network } = await networks.createNetwork({ network: record }, call)
    if (network === undefined) throw new HeddleError('internal', 'networks answered no network')
    if (network.id !== id) throw new HeddleError('network-exists', `network ${name} was created by somebody else meanwhile`)
    // A pool found rather than made may belong to an attempt that failed and took it back; the record now holds it.
    for (const { ref, subnet, made } of pools) if (!made) await parts.cluster.ipam.createPool({ pool: poolOf(space, subnet, ref) }, call)
    return network
  })
}

interface MadePool {
  readonly ref: PoolRef
  readonly subnet: Subnet
  readonly made: boolean
}

async function makePools(parts: FlowParts, wish: NetworkWish, space: string, undo: Undo, call: Call): Promise<MadePool[]> {
  const { ipam } = parts.cluster
  const { definition } = wish
  const made: MadePool[] = []
  // Links of a wire without addresses of ours are a network too: of frames alone.
  const subnets = definition.subnets.length === 0 && needsSubnet(definition.kind) && !wish.addressedElsewhere ? [undefined] : definition.subnets
  for (const subnet of subnets) {
    const { pool, created } =
      subnet === undefined
        ? { pool: await createDefaultPool(parts.cluster, { space, family: 4, provisionalHost: '' }, call), created: true }
        : await ipam.createPool({ pool: poolOf(space, subnet) }, call)
    if (pool === undefined) throw new HeddleError('internal', 'ipam answered no pool')
    if (created) undo.add(`delete pool ${pool.id}`, (late) => deleteOrphanPool(parts, pool.id, late))
    let gateway = ''
    if (definition.kind === 'bridge') gateway = pool.gateway || (await ipam.reserve({ poolId: pool.id }, call)).address
    else if (isWayOut(wish, subnet)) gateway = pool.gateway
    made.push({ ref: { poolId: pool.id, prefix: pool.prefix, gateway }, subnet: subnet ?? { ...emptySubnet, prefix: pool.prefix }, made: created })
  }
  return made
}

/** Docker engines up to 27 reserve a gateway in every pool, wanted or not; only one that was asked for is a way out. */
function isWayOut({ definition, createdBy }: NetworkWish, subnet: Subnet | undefined): boolean {
  if (definition.kind === 'null' || isRoutedByLink(definition)) return false
  const asked = definition.options['gateway']
  if (asked !== undefined) return asked === 'network'
  return createdBy !== 'docker' && subnet !== undefined && subnet.gateway !== ''
}

const emptySubnet: Subnet = { prefix: '', ranges: [], gateway: '', excluded: [], auxiliary: {} }

function poolOf(space: string, subnet: Subnet, ref?: PoolRef) {
  return { space, ...subnet, gateway: subnet.gateway || (ref?.gateway ?? '') }
}

async function cleanUp(parts: FlowParts, network: Network, call: Call): Promise<void> {
  const { overlay } = parts.cluster
  await together([
    removeFromHosts(parts, network, call),
    network.kind === 'overlay' ? overlay.releaseVni({ networkId: network.id }, call) : undefined,
    ...network.pools.map((pool) => deleteOrphanPool(parts, pool.poolId, call)),
  ])
}

/** Best effort: a host that does not answer removes what it holds when it reconciles. */
async function removeFromHosts(parts: FlowParts, network: Network, call: Call): Promise<void> {
  const { cluster, logger } = parts
  const hosts = await cluster.overlay.listHosts({}, call).then(
    (answer) => answer.hosts.filter((host) => host.alive).map((host) => host.name),
    () => [],
  )
  await Promise.all(
    [...new Set([cluster.host, ...hosts])].map((host) =>
      withCall(undoCall(call, hostTimeoutMs), (inner) => cluster.wiringOf(host).removeNetwork({ networkId: network.id }, inner)).catch((error: unknown) =>
        logger.info({ host, network: network.name, failure: HeddleError.from(error).message }, 'network left on a host'),
      ),
    ),
  )
}
