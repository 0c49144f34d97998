/**
 * Docker's swarm (scope `global`): its manager allocates a network once for all nodes, and each node then creates it under the
 * same id. The manager's Heddle network is found by the alias `docker:swarm:<NetworkID>`, so nodes come and go without a trace
 * and the network stays until the manager frees it.
 */
import type { Network } from '@heddle/contract'
import { type Call, HeddleError, invalid } from '@heddle/core'
import { ipField } from '../fields.ts'
import { briefly } from '../flows/briefly.ts'
import { orUnknown } from '../flows/directory.ts'
import { later } from '../flows/later.ts'
import { deleteNetwork } from '../flows/network.ts'
import type { FlowParts } from '../flows/parts.ts'
import type { Body } from './bodies.ts'
import type { DockerNetworks } from './networks.ts'
import type { DriverName } from './options.ts'
import { type DockerScope, swarmAlias } from './scope.ts'
import { SwarmAddresses } from './swarm-addresses.ts'

const freeTimeoutMs = 3000
const nodeDiscovery = 1

export class SwarmNetworks {
  readonly #parts: FlowParts
  readonly #networks: DockerNetworks
  readonly #scope: DockerScope
  readonly #addresses: SwarmAddresses

  constructor(parts: FlowParts, networks: DockerNetworks, scope: DockerScope) {
    this.#parts = parts
    this.#networks = networks
    this.#scope = scope
    this.#addresses = new SwarmAddresses(parts)
  }

  /**
   * Repeatable, with its own answer among the options: every new leader asks for every network again. What is answered
   * takes the place of the user's options, so these are echoed, and what the nodes need is added.
   */
  async allocate(driver: DriverName, body: Body<'allocateNetwork'>, call: Call): Promise<object> {
    if (this.#scope !== 'global') {
      throw new HeddleError('unsupported', 'this driver has local scope: a swarm allocates no network with it', {
        field: 'gateway.docker.scope',
        remedy: 'set gateway.docker.scope to global on every node and restart dockerd, or create the network without a swarm',
      })
    }
    const options = { 'com.docker.network.generic': body.Options }
    const data = [...body.IPv4Data, ...body.IPv6Data]
    const network = await this.#networks.join(driver, { alias: swarmAlias(body.NetworkID), networkId: body.NetworkID, options, data }, call)
    return { Options: { ...body.Options, ...(network.vni === 0 ? {} : { vni: String(network.vni) }) } }
  }

  /** Never fails: the manager would not release the pools then. What cannot be done now is done later. */
  async free({ NetworkID }: Body<'network'>, call: Call): Promise<object> {
    const alias = swarmAlias(NetworkID)
    let freed: Network | undefined
    const free = async (inner: Call) => {
      freed ??= (await orUnknown(this.#parts.cluster.networks.getNetwork({ alias }, inner)))?.network
      const { aliasesLeft } = await this.#parts.cluster.networks.unbindAlias({ alias }, inner)
      this.#parts.directory.forgetAlias(alias)
      if (freed?.createdBy !== 'docker' || aliasesLeft > 0) return
      await this.#addresses.freeAll(freed, inner)
      await deleteNetwork(this.#parts, freed, inner)
    }
    try {
      await briefly(call, freeTimeoutMs, free)
    } catch {
      later(this.#parts, `free swarm network ${NetworkID.slice(0, 12)}`, free)
    }
    return {}
  }

  /** Heddle's hosts tell of themselves; a node that Docker tells of is checked, so that nothing malformed passes unnoticed. */
  async discover(event: 'new' | 'gone', { DiscoveryType: type, DiscoveryData: node }: Body<'discover'>): Promise<object> {
    if (type !== nodeDiscovery) return {}
    if (node === null || node === undefined) throw invalid('DiscoveryData', 'the event names no node')
    const address = ipField(node.Address, 'DiscoveryData.Address')
    if (node.BindAddress !== '') ipField(node.BindAddress, 'DiscoveryData.BindAddress')
    this.#parts.logger.info({ address, event, self: node.Self || node.self }, "a node of Docker's swarm")
    return {}
  }
}
