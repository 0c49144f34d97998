/**
 * Compares this host's kernel with the records and repairs it: level-triggered, whatever was missed. At start this is also
 * how a new process takes over what an earlier one made. When the brains do not answer, nothing is removed.
 */
import { busServices, type Endpoint, type Network } from '@heddle/contract'
import { allPages, type Call, sleep, undoCall, withCall } from '@heddle/core'
import type { LinkEvent, LinkInfo, Namespace } from '@heddle/kernel'
import { withoutLength } from './domain/endpoint-steps.ts'
import { isOurs, parseEndpointAlias, parseNetworkAlias } from './domain/names.ts'
import { Suspects } from './domain/suspects.ts'
import type { Endpoints } from './endpoints.ts'
import type { Fabric } from './fabric.ts'
import type { ForwardPolicy } from './forward-policy.adapter.ts'
import { background, type HostContext } from './host-context.ts'
import type { LoneHost } from './lone/host.ts'
import type { HostNetworks } from './networks.ts'
import type { NftTable } from './nft-table.ts'
import type { NullEndpoints } from './null.ts'
import type { Publisher } from './publisher.ts'

export interface ReconcileParts {
  readonly context: HostContext
  readonly fabric: Fabric
  readonly networks: HostNetworks
  readonly endpoints: Endpoints
  readonly publisher: Publisher
  readonly vxlanTable: NftTable
  readonly bridgeTable: NftTable
  readonly forwardPolicy: ForwardPolicy
  readonly lone: LoneHost
  readonly nulls: NullEndpoints
  readonly graceMs: number
}

interface Records {
  readonly networks: ReadonlyMap<string, Network>
  readonly endpoints: readonly Endpoint[]
}

/** Link events of one repair or attach come together. */
const settleMs = 100
const adoptionRetryMs = 500
const roundTimeoutMs = 60_000
const recordsTimeoutMs = 3000

export class Reconciler {
  readonly #parts: ReconcileParts
  readonly #suspects: Suspects
  readonly #soon = new Set<string>()
  /** As the last round read them; undefined when it could not. */
  #records: Records | undefined
  /** As last read by any round: good enough to repair a port, not to remove anything. */
  #lastEndpoints: readonly Endpoint[] = []

  constructor(parts: ReconcileParts) {
    this.#parts = parts
    this.#suspects = new Suspects(parts.graceMs)
  }

  /** Whether the records have been read since start. */
  get informed(): boolean {
    return this.#records !== undefined
  }

  /** Before anything is served: what is in the kernel is ours already. Writes nothing. */
  async adopt(call: Call): Promise<void> {
    const { context, fabric, endpoints } = this.#parts
    if (fabric.exists) await fabric.ensure(call)
    for (const [ns, links] of await this.#dumps(call)) endpoints.adopt(ns, links)
    context.logger.debug({ endpoints: endpoints.count }, 'adopted')
  }

  /** Rounds in quick succession until the records have been read once. */
  async untilInformed(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.round(signal)
      if (this.informed) return
      await sleep(this.#parts.context.clock, adoptionRetryMs, signal).catch(() => {})
    }
  }

  async round(signal: AbortSignal): Promise<void> {
    await background(this.#parts.context, roundTimeoutMs, signal, async (call) => {
      await this.#fetchRecords(call)
      const dumps = await this.#dumps(call)
      for (const [ns, links] of dumps) this.#parts.endpoints.adopt(ns, links)
      const well = await this.#verifyNetworks(dumps, call)
      await this.#verifyTables(well && this.#records !== undefined, call).catch((error: unknown) => {
        this.#parts.context.logger.warn({ err: error }, 'the nftables table of bridge networks could not be verified')
      })
      if (this.#records !== undefined) await this.#removeOrphans(this.#records, dumps, call)
      await this.#verifyOthers(call).catch((error: unknown) => {
        this.#parts.context.logger.warn({ err: error }, 'links in sandboxes could not be compared with the records')
      })
    })
  }

  /** A link event: one of our devices gone or changed has its network looked at within a moment. */
  onLink(event: LinkEvent): void {
    this.#parts.lone.reconciler.onLink(event)
    if (!isOurs(event.name)) return
    const { networks, endpoints } = this.#parts
    const isDevice = event.name.startsWith('hx') || (event.kind === 'gone' && event.name.startsWith('hb'))
    if (isDevice) {
      for (const { shape } of networks.present.values()) if (event.name === shape.vxlan?.name || event.name === shape.bridge) this.soon(shape.id)
    } else if (event.kind === 'gone' && event.name.startsWith('hd')) endpoints.onLinkGone(event.name)
  }

  /** Verifies a network shortly; several wishes become one. */
  soon(networkId: string): void {
    if (this.#soon.has(networkId)) return
    this.#soon.add(networkId)
    const { context, networks } = this.#parts
    context.clock.after(settleMs, () => {
      this.#soon.delete(networkId)
      if (!networks.present.has(networkId)) return
      context.jobs.once(`verify network ${networkId}`, (signal) => background(context, roundTimeoutMs, signal, (call) => this.#verifyNetwork(networkId, call)))
    })
  }

  async #verifyNetwork(networkId: string, call: Call, record?: Network): Promise<void> {
    const { networks, endpoints } = this.#parts
    if (record === undefined) await networks.verify(networkId, call)
    else await networks.ensure(record, call)
    const present = networks.present.get(networkId)
    if (present !== undefined) await endpoints.verifyPorts(present, this.#lastEndpoints, call)
  }

  /** Every network with an endpoint or a device here; whether all are well. One that fails does not keep the others from repair. */
  async #verifyNetworks(dumps: ReadonlyMap<Namespace, readonly LinkInfo[]>, call: Call): Promise<boolean> {
    const { networks, context } = this.#parts
    // A VF's netdev that waits for dockerd bears an endpoint's mark too, but its network has nothing on the host.
    const links = [...dumps.values()].flat().filter(({ name }) => isOurs(name))
    const used = new Set(links.flatMap(({ alias }) => parseEndpointAlias(alias)?.networkId ?? []))
    const devices = links.flatMap(({ alias }) => parseNetworkAlias(alias) ?? [])
    let well = true
    for (const networkId of new Set([...networks.present.keys(), ...used, ...devices])) {
      try {
        if (networks.users(networkId).size === 0) networks.linger(networkId)
        await this.#verifyNetwork(networkId, call, used.has(networkId) ? this.#records?.networks.get(networkId) : undefined)
      } catch (error) {
        well = false
        context.logger.warn({ err: error, network: networkId }, 'a network could not be verified')
      }
    }
    return well && [...networks.present.values()].every(({ peers }) => peers?.isReady ?? true)
  }

  /** `strict`: every network's elements are known, so what else is in the tables goes. */
  async #verifyTables(strict: boolean, call: Call): Promise<void> {
    const { networks, endpoints, vxlanTable, bridgeTable, forwardPolicy, publisher, context } = this.#parts
    const kinds = new Set([...networks.present.values()].map(({ shape }) => shape.kind))
    const vxlan = async () => {
      if (kinds.has('overlay') || (await vxlanTable.present(call))) await vxlanTable.verify(strict, call)
    }
    await vxlan().catch((error: unknown) => context.logger.warn({ err: error }, 'the nftables table of VXLAN could not be verified'))
    if (!kinds.has('bridge') && !(await bridgeTable.present(call))) return
    await bridgeTable.read(call)
    const records = (this.#records?.endpoints ?? []).filter(({ id }) => endpoints.has(id))
    publisher.adopt(records.map(({ id, addresses, ports }) => ({ id, addresses: addresses.map(withoutLength), ports })))
    await bridgeTable.verify(strict, call)
    if (!kinds.has('bridge')) return
    for (const { ok, message, remedy } of await forwardPolicy.verify(call)) if (!ok) context.logger.warn({ remedy }, message)
  }

  /** Names of links marked with an endpoint that no record names; none when the records cannot be read. Removes nothing. */
  async orphans(call: Call): Promise<readonly string[]> {
    const dumps = await this.#dumps(call)
    await this.#fetchRecords(call)
    return this.#records === undefined ? [] : [...orphansOf(this.#records, dumps)].flatMap(([name, { endpointId }]) => (endpointId === undefined ? [] : [name]))
  }

  async #verifyOthers(call: Call): Promise<void> {
    const { lone, nulls } = this.#parts
    const records = this.#records
    nulls.learn(this.#lastEndpoints)
    await lone.reconciler.round(records === undefined ? undefined : { networkIds: records.networks.keys(), endpoints: records.endpoints }, call)
  }

  async #removeOrphans(records: Records, dumps: ReadonlyMap<Namespace, readonly LinkInfo[]>, call: Call): Promise<void> {
    const { context, endpoints } = this.#parts
    const found = orphansOf(records, dumps)
    for (const name of this.#suspects.round(found.keys(), context.clock.monotonicMs())) {
      const orphan = found.get(name)
      if (orphan === undefined) continue
      context.logger.warn({ link: name, endpoint: orphan.endpointId }, 'removing a link that belongs to no recorded endpoint')
      const removal = orphan.endpointId === undefined ? context.kernel.removeLink(orphan.ns, name, call) : endpoints.detach(orphan.endpointId, '', call)
      await removal.catch((error: unknown) => context.logger.warn({ err: error, link: name }, 'it could not be removed'))
    }
  }

  async #fetchRecords(call: Call): Promise<void> {
    const { context } = this.#parts
    const client = context.bus.client(busServices.networks)
    try {
      // A client asks again until its deadline: without one of its own this would use up the round's.
      const [networks, endpoints] = await withCall({ ...undoCall(call, recordsTimeoutMs), signal: call.signal }, (inner) =>
        Promise.all([
          allPages(
            (pageToken) => client.listNetworks({ pageToken }, inner),
            (page) => page.networks,
          ),
          allPages(
            (pageToken) => client.listEndpoints({ host: context.host, pageToken }, inner),
            (page) => page.endpoints,
          ),
        ]),
      )
      this.#records = { networks: new Map(networks.map((network) => [network.id, network])), endpoints }
      this.#lastEndpoints = endpoints
    } catch (error) {
      this.#records = undefined
      context.logger.warn({ err: error }, 'the networks service does not answer; the host is kept as it is')
    }
  }

  async #dumps(call: Call): Promise<ReadonlyMap<Namespace, readonly LinkInfo[]>> {
    const { context, fabric } = this.#parts
    const dumps = new Map<Namespace, readonly LinkInfo[]>([[context.hostNs, await context.kernel.links(context.hostNs, call)]])
    if (fabric.exists) dumps.set(fabric.ns, await context.kernel.links(fabric.ns, call))
    return dumps
  }
}

interface Orphan {
  readonly ns: Namespace
  readonly endpointId: string | undefined
}

/** Links of endpoints that no record names, by name. */
function orphansOf(records: Records, dumps: ReadonlyMap<Namespace, readonly LinkInfo[]>): ReadonlyMap<string, Orphan> {
  const known = new Set(records.endpoints.map(({ id }) => id))
  const found = new Map<string, Orphan>()
  for (const [ns, links] of dumps) {
    for (const { name, alias } of links) {
      if (!name.startsWith('hd') || !isOurs(name)) continue
      const endpointId = parseEndpointAlias(alias)?.endpointId
      if (endpointId === undefined || !known.has(endpointId)) found.set(name, { ns, endpointId })
    }
  }
  return found
}
