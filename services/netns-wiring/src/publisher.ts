/** Published ports of this host's endpoints: elements of the DNAT maps, nothing else. */
import type { PortMapping } from '@heddle/contract'
import { type Call, HeddleError, KeyedQueue } from '@heddle/core'
import { checkMapping, choosePort, elementsOf, mappingOf, type PortMap, type PublishedElement, portMaps } from './domain/ports.ts'
import type { NftTable } from './nft-table.ts'

export class Publisher {
  readonly #table: NftTable
  readonly #inUse: (call: Call) => Promise<ReadonlySet<string>>
  readonly #published = new Map<string, PublishedElement[]>()
  /** Choosing a port and taking it is one step. */
  readonly #queue = new KeyedQueue()

  /** `inUse` answers `tcp 8080` for each port a local socket holds. */
  constructor(table: NftTable, inUse: (call: Call) => Promise<ReadonlySet<string>>) {
    this.#table = table
    this.#inUse = inUse
  }

  get count(): number {
    return portMaps.reduce((sum, map) => sum + this.#table.elements(map).length, 0)
  }

  has(endpointId: string): boolean {
    return this.#published.has(endpointId)
  }

  /**
   * Replaces what the endpoint had. A mapping with host port 0 keeps the port it was given before. Throws port-taken.
   * `addresses` without length.
   */
  publish(endpointId: string, addresses: readonly string[], ports: readonly PortMapping[], call: Call): Promise<PortMapping[]> {
    for (const [index, port] of ports.entries()) checkMapping(port, index)
    return this.#queue.run('', async () => {
      const before = this.#published.get(endpointId) ?? []
      const own = new Set(before.map(idOf))
      const busy = ports.length === 0 ? new Set<string>() : await this.#inUse(call)
      const isTaken = (port: PortMapping) =>
        busy.has(`${port.protocol} ${port.hostPort}`) ||
        elementsOf(port, addresses).some((published) => !own.has(idOf(published)) && this.#table.desired(published.map, published.element) !== undefined)
      const given: PortMapping[] = []
      for (const [index, port] of ports.entries()) {
        const isSame = (published: PublishedElement) => {
          const { hostPort, containerPort } = mappingOf(published).port
          if (containerPort !== port.containerPort || given.some((done) => done.hostPort === hostPort)) return false
          return elementsOf({ ...port, hostPort }, addresses).some((wanted) => idOf(wanted) === idOf(published))
        }
        const same = port.hostPort === 0 ? before.find(isSame) : undefined
        const kept = same === undefined ? undefined : { ...port, hostPort: mappingOf(same).port.hostPort }
        const chosen = kept ?? {
          ...port,
          hostPort: port.hostPort || choosePort((hostPort) => isTaken({ ...port, hostPort }) || given.some((done) => done.hostPort === hostPort)),
        }
        if (kept === undefined && isTaken(chosen) && !elementsOf(chosen, addresses).some((published) => own.has(idOf(published)))) {
          throw new HeddleError('port-taken', `${port.protocol} port ${port.hostPort} of the host is in use`, {
            field: `ports[${index}].host_port`,
            remedy: 'choose another host port, or 0 to have one chosen',
          })
        }
        given.push(chosen)
      }
      const after = given.flatMap((port) => elementsOf(port, addresses))
      this.#replace(endpointId, after)
      try {
        await this.#table.flush(call)
      } catch (error) {
        // What the kernel refused must not stand in the way of every later change.
        this.#replace(endpointId, before)
        throw error
      }
      return given
    })
  }

  /** Succeeds when nothing was published. */
  async unpublish(endpointId: string, call: Call): Promise<void> {
    if (!this.#published.has(endpointId)) return
    await this.#queue.run('', async () => {
      this.#replace(endpointId, [])
      await this.#table.flush(call)
    })
  }

  /**
   * After a restart or a repair, with the endpoints that have an interface here: an element in the kernel belongs to the
   * endpoint with its container address, whether the record names it or not; one whose address none has is nobody's and
   * goes with the next strict verify.
   */
  adopt(endpoints: readonly { readonly id: string; readonly addresses: readonly string[]; readonly ports: readonly PortMapping[] }[]): void {
    const owner = new Map(endpoints.flatMap(({ id, addresses }) => addresses.map((address) => [address, id] as const)))
    for (const map of portMaps) {
      for (const element of this.#table.elements(map)) {
        const id = owner.get(mappingOf({ map, element }).address)
        if (id !== undefined && this.#table.desired(map, element) === undefined) this.#add(id, { map, element })
      }
    }
    for (const { id, addresses, ports } of endpoints) {
      for (const published of ports.filter((port) => port.hostPort !== 0).flatMap((port) => elementsOf(port, addresses))) {
        if (this.#table.desired(published.map, published.element) === undefined) this.#add(id, published)
      }
    }
  }

  /** Mappings of the endpoint that are not in the kernel as of the last read. */
  missing(addresses: readonly string[], ports: readonly PortMapping[]): PortMapping[] {
    return ports.filter((port) => port.hostPort !== 0 && elementsOf(port, addresses).some(({ map, element }) => !this.#table.holds(map, element)))
  }

  #add(endpointId: string, published: PublishedElement): void {
    this.#published.set(endpointId, [...(this.#published.get(endpointId) ?? []), published])
    this.#table.put(published.map, published.element)
  }

  #replace(endpointId: string, after: PublishedElement[]): void {
    const keep = new Set(after.map(idOf))
    for (const published of this.#published.get(endpointId) ?? []) if (!keep.has(idOf(published))) this.#table.drop(published.map, published.element)
    for (const published of after) this.#table.put(published.map, published.element)
    if (after.length === 0) this.#published.delete(endpointId)
    else this.#published.set(endpointId, after)
  }
}

function idOf({ map, element }: { readonly map: PortMap; readonly element: PublishedElement['element'] }): string {
  return `${map} ${element.key.map(({ value }) => value).join(' ')}`
}
