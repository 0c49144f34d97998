/** Docker networks as Heddle networks: made or joined by CreateNetwork, known afterwards by an alias `docker:<host>:<id>`. */
import type { Network, Subnet } from '@heddle/contract'
import { allPages, type Call, HeddleError, invalid, isOnWire, isRoutedByLink } from '@heddle/core'
import { canonicalIp } from '@heddle/net'
import { hostIpField, prefixField } from '../fields.ts'
import { briefly } from '../flows/briefly.ts'
import { checkDefinition } from '../flows/definition.ts'
import { orUnknown } from '../flows/directory.ts'
import { later } from '../flows/later.ts'
import { createNetwork, deleteNetwork } from '../flows/network.ts'
import type { FlowParts } from '../flows/parts.ts'
import { together, undoing } from '../flows/undo.ts'
import type { Body, IpamData } from './bodies.ts'
import { addressSpace } from './ipam-driver.ts'
import { inOptionNames, linkMismatch, linksOf } from './link-options.ts'
import { type DriverName, gatewayModeOf, type NetworkOptions, parseNetworkOptions } from './options.ts'
import { type DockerScope, poolSpaceOf, swarmAlias } from './scope.ts'
import { checkVfSource, sriovMismatch } from './sriov-networks.ts'

const deleteTimeoutMs = 3000

/** The null IPAM driver's pools stand for none. */
const noPools: ReadonlySet<string> = new Set(['', '0.0.0.0/0', '::/0'])

export interface DockerNetworkWish {
  readonly alias: string
  readonly networkId: string
  /** As in CreateNetwork. */
  readonly options: Readonly<Record<string, unknown>>
  readonly data: readonly IpamData[]
}

export class DockerNetworks {
  readonly #parts: FlowParts
  readonly #scope: DockerScope

  constructor(parts: FlowParts, scope: DockerScope) {
    this.#parts = parts
    this.#scope = scope
  }

  /** Fails with network-unknown. */
  async find(networkId: string, call: Call): Promise<Network> {
    const network = (await this.#ofSwarm(networkId, call)) ?? (await orUnknown(this.#parts.directory.byAlias(this.#alias(networkId), call)))
    if (network !== undefined) return network
    throw new HeddleError('network-unknown', `Docker network ${networkId.slice(0, 12)} has no Heddle network`, {
      field: 'NetworkID',
      remedy: 'remove the Docker network with `docker network rm` and create it again',
    })
  }

  forget(network: Network): void {
    this.#parts.directory.forget(network)
  }

  /** Repeatable: a known id succeeds (a swarm node creates its networks again when it starts). */
  async create(driver: DriverName, body: Body<'createNetwork'>, call: Call): Promise<object> {
    const wish = { alias: this.#alias(body.NetworkID), networkId: body.NetworkID, options: body.Options, data: [...body.IPv4Data, ...body.IPv6Data] }
    const allocated = await this.#ofSwarm(body.NetworkID, call)
    if (allocated === undefined) await this.join(driver, wish, call)
    else checkJoin(allocated, parseNetworkOptions(body.Options, driver), withPools(wish.data))
    return {}
  }

  /** The network that the alias names from then on: it is there, or it is made. Repeatable: a known alias is not looked at again. */
  async join(driver: DriverName, wish: DockerNetworkWish, call: Call): Promise<Network> {
    const { directory, cluster } = this.#parts
    const { alias, networkId } = wish
    const options = parseNetworkOptions(wish.options, driver)
    const data = withPools(wish.data)
    // Docker waits for each of its plugin calls in turn, so what is to be read is read at once.
    const [known, existing, pools] = await together([
      orUnknown(directory.byAlias(alias, call)),
      options.network === '' ? undefined : orUnknown(cluster.networks.getNetwork({ name: options.network }, call)),
      this.#poolsBeside(options, data, call),
    ])
    if (known !== undefined) return known
    return undoing(this.#parts, call, async (undo) => {
      let network = existing?.network
      if (network === undefined) {
        const made = await this.#make(networkId, options, data, pools, call)
        network = made.network
        if (made.created) undo.add('delete the network', (late) => deleteNetwork(this.#parts, made.network, late))
      } else checkJoin(network, options, data)
      const { id } = network
      undo.add('unbind the alias', (late) => cluster.networks.unbindAlias({ alias }, late))
      await cluster.networks.bindAlias({ alias, networkId: id }, call)
      await this.#setAside(network, data, call)
      directory.learn(network, alias)
      return network
    })
  }

  /** Docker forgets the network whatever is answered, so what cannot be done now is done later. */
  async remove({ NetworkID }: Body<'network'>, call: Call): Promise<object> {
    const alias = this.#alias(NetworkID)
    const remove = async (inner: Call) => {
      const { network, aliasesLeft } = await this.#parts.cluster.networks.unbindAlias({ alias }, inner)
      this.#parts.directory.forgetAlias(alias)
      this.#parts.directory.forgetAlias(swarmAlias(NetworkID))
      if (network?.createdBy === 'docker' && aliasesLeft === 0) await deleteNetwork(this.#parts, network, inner)
    }
    // Once the alias is unbound only the network itself says what is left to do, so the second try asks for it by name.
    const known = await briefly(call, deleteTimeoutMs, (inner) => this.#parts.directory.byAlias(alias, inner)).catch(() => undefined)
    try {
      await briefly(call, deleteTimeoutMs, remove)
    } catch {
      later(this.#parts, `remove Docker network ${NetworkID.slice(0, 12)}`, async (inner) => {
        await remove(inner)
        if (known !== undefined) await this.#deleteUnaliased(known, inner)
      })
    }
    return {}
  }

  /** GwAllocCheck: whether Docker need not reserve a gateway that nobody would use. */
  async skipsGateway(driver: DriverName, body: Body<'options'>, call: Call): Promise<object> {
    const options = parseNetworkOptions(body.Options, driver)
    const existing = options.network === '' ? undefined : (await orUnknown(this.#parts.cluster.networks.getNetwork({ name: options.network }, call)))?.network
    const skip = options.internal || !(existing === undefined ? wantsGateway(options) : hasGateway(existing))
    return { SkipIPv4: skip, SkipIPv6: skip }
  }

  #alias(networkId: string): string {
    return `docker:${this.#parts.cluster.host}:${networkId}`
  }

  async #make(networkId: string, options: NetworkOptions, data: readonly IpamData[], pools: ReadonlySet<string>, call: Call) {
    const kind = options.kind || 'overlay'
    const space = this.#spaceOf(options)
    const routed = wantsGateway(options)
    const definition = inOptionNames(options.links, () =>
      checkDefinition({
        name: options.network || `docker-${networkId.slice(0, 12)}`,
        kind,
        mtu: options.mtu,
        vni: options.vni,
        internal: options.internal,
        options: recordedOptions(kind, options),
        subnets: data.map((one) => subnetOf(one, routed)),
        ...linksOf(options.links),
        sriov: options.sriov,
      }),
    )
    if (kind === 'sriov') await checkVfSource(this.#parts, options.sriov, call)
    checkSpace(pools, data)
    if (this.#scope === 'global') await this.#checkUnshared(space, data, call)
    // Docker's null IPAM: a network of frames alone, whose containers get addresses from somebody on it, or none.
    return createNetwork(this.#parts, { definition, createdBy: 'docker', space, addressedElsewhere: data.length === 0, isLookedFor: true }, call)
  }

  #spaceOf(options: NetworkOptions): string {
    return options.network || poolSpaceOf(this.#scope, this.#parts.cluster.host)
  }

  /** Prefixes of the pools in the space that the network will use, when Docker got one from us. */
  async #poolsBeside(options: NetworkOptions, data: readonly IpamData[], call: Call): Promise<ReadonlySet<string>> {
    if (!data.some(isOurs)) return new Set()
    const space = this.#spaceOf(options)
    const pools = await allPages(
      (pageToken) => this.#parts.cluster.ipam.listPools({ space, pageToken }, call),
      (page) => page.pools,
    )
    return new Set(pools.flatMap(({ pool }) => (pool === undefined ? [] : [pool.prefix])))
  }

  /** The nodes of a swarm share the pools of networks without a name, so who asks for a pool does not learn that it has one. */
  async #checkUnshared(space: string, data: readonly IpamData[], call: Call): Promise<void> {
    const networks = await allPages(
      (pageToken) => this.#parts.cluster.networks.listNetworks({ pageToken }, call),
      (page) => page.networks,
    )
    const wanted = new Set(data.map((one) => prefixField(one.Pool, 'Pool')))
    for (const { name, pools } of networks) {
      const shared = pools.find(({ poolId, prefix }) => poolId.startsWith(`${space}.`) && wanted.has(prefix))
      if (shared !== undefined)
        throw new HeddleError('pool-overlaps', `subnet ${shared.prefix} belongs to network ${name}`, { field: 'Pool', remedy: 'choose another --subnet' })
    }
  }

  /** What a swarm's manager allocated for all nodes. */
  async #ofSwarm(networkId: string, call: Call): Promise<Network | undefined> {
    return this.#scope === 'global' ? orUnknown(this.#parts.directory.byAlias(swarmAlias(networkId), call)) : undefined
  }

  /** Docker asks for auxiliary addresses before it names them; until now they were claims like any other. */
  async #setAside(network: Network, data: readonly IpamData[], call: Call): Promise<void> {
    const { host, ipam } = this.#parts.cluster
    for (const one of data) {
      const poolId = network.pools.find((pool) => pool.prefix === prefixField(one.Pool, 'Pool'))?.poolId
      if (poolId === undefined) continue
      for (const [auxiliaryName, text] of Object.entries(one.AuxAddresses)) {
        // What IPAM declined arrives as Go's print of a nil address.
        if (text === '<nil>' || text === '') continue
        const address = hostIpField(text, `AuxAddresses.${auxiliaryName}`)
        await ipam.release({ poolId, address, host }, call)
        await ipam.reserve({ poolId, address, auxiliaryName }, call)
      }
    }
  }

  async #deleteUnaliased(known: Network, call: Call): Promise<void> {
    const { network } = (await orUnknown(this.#parts.cluster.networks.getNetwork({ id: known.id }, call))) ?? {}
    // Refused with network-in-use while another host's Docker still has an alias: then it is not ours to delete.
    if (network?.createdBy === 'docker') await deleteNetwork(this.#parts, network, call)
  }
}

function isOurs(data: IpamData): boolean {
  return data.AddressSpace === addressSpace
}

/** A pool that Docker got from us must be in the space the network will use; else -o and --ipam-opt do not agree. */
function checkSpace(pools: ReadonlySet<string>, data: readonly IpamData[]): void {
  const stray = data.find((one) => isOurs(one) && !pools.has(prefixField(one.Pool, 'Pool')))
  if (stray !== undefined) {
    throw invalid('network', `pool ${stray.Pool} does not belong to this network`, 'give both -o network=NAME and --ipam-opt network=NAME, or neither')
  }
}

function withPools(data: readonly IpamData[]): IpamData[] {
  return data.filter((one) => !noPools.has(one.Pool))
}

function wantsGateway({ kind, gateway, links }: NetworkOptions): boolean {
  if (kind === 'null' || isRoutedByLink({ kind, parent: linksOf(links).parent })) return false
  return kind === 'bridge' || gatewayModeOf(kind, gateway) === 'network'
}

function hasGateway({ kind, options, pools }: Network): boolean {
  if (isOnWire(kind) || kind === 'null') return pools.some((pool) => pool.gateway !== '')
  return kind === 'bridge' || options['gateway'] === 'network'
}

function checkJoin(network: Network, options: NetworkOptions, data: readonly IpamData[]): void {
  const mismatch = (what: string, has: unknown) =>
    invalid(
      what,
      `network ${network.name} exists and its ${what} is ${String(has || 'none')}`,
      `leave -o ${what} out to join it as it is, or choose another name`,
    )
  if (options.kind !== '' && options.kind !== network.kind) throw mismatch('kind', network.kind)
  if (options.mtu !== 0 && options.mtu !== network.mtu) throw mismatch(options.spelling('mtu'), network.mtu)
  if (options.prefix !== '' && options.prefix !== network.options['prefix']) throw mismatch(options.spelling('prefix'), network.options['prefix'] ?? '')
  if (options.vni !== 0 && options.vni !== network.vni) throw mismatch('vni', network.vni)
  const gateway = gatewayModeOf(network.kind, network.options['gateway'])
  if (options.gateway !== '' && options.gateway !== gateway) throw mismatch('gateway', gateway)
  const differs = sriovMismatch(network, options) ?? linkMismatch(network, options.links)
  if (differs !== undefined) throw mismatch(differs.option, differs.has)
  if (options.internal && !network.internal) throw invalid('internal', `network ${network.name} exists and is not internal`, 'leave --internal out to join it')
  for (const one of data) {
    const prefix = prefixField(one.Pool, 'Pool')
    if (!network.pools.some((pool) => pool.prefix === prefix)) {
      throw invalid(
        'Pool',
        `network ${network.name} has no pool ${prefix}`,
        network.pools.length === 0
          ? 'give --ipam-driver null: it has no addresses'
          : `give --ipam-opt network=${network.name} and no --subnet, or one of ${network.pools.map((pool) => pool.prefix).join(', ')}`,
      )
    }
  }
}

function recordedOptions(kind: string, { gateway, prefix }: NetworkOptions): Record<string, string> {
  const mode = isOnWire(kind) ? gatewayModeOf(kind, gateway) : kind === 'bridge' && gateway === 'network' ? '' : gateway
  return { ...(mode === '' ? {} : { gateway: mode }), ...(prefix === '' ? {} : { prefix }) }
}

/** Docker's gateway is the network's own only where the network is routed through it. */
function subnetOf(data: IpamData, routed: boolean): Subnet {
  const gateway = routed && data.Gateway !== '' ? hostIpField(data.Gateway, 'Gateway') : ''
  return { prefix: prefixField(data.Pool, 'Pool'), ranges: [], gateway: gateway === '' ? '' : canonicalIp(gateway), excluded: [], auxiliary: {} }
}
