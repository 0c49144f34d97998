/** Published ports (`docker run -p`). Docker asks for them of the endpoint that is the container's way out. */
import type { PortMapping } from '@heddle/contract'
import { type Call, HeddleError } from '@heddle/core'
import { briefly } from '../flows/briefly.ts'
import type { FlowParts } from '../flows/parts.ts'
import { boundPorts, routesByLink } from '../flows/plan.ts'
import { together } from '../flows/undo.ts'
import type { Body } from './bodies.ts'
import { endpointUnknown, type KnownEndpoint, type KnownEndpoints } from './known-endpoints.ts'
import type { DockerNetworks } from './networks.ts'
import { type PortRange, parsePorts } from './options.ts'

export class ExternalConnectivity {
  readonly #parts: FlowParts
  readonly #networks: DockerNetworks
  readonly #known: KnownEndpoints

  constructor(parts: FlowParts, networks: DockerNetworks, known: KnownEndpoints) {
    this.#parts = parts
    this.#networks = networks
    this.#known = known
  }

  /** An overlay without a way out of its own publishes nothing: its way out is Docker's bridge, which does. */
  async program(body: Body<'externalConnectivity'>, call: Call): Promise<object> {
    const asked = parsePorts(body.Options)
    const network = await this.#networks.find(body.NetworkID, call)
    if (network.internal || asked.length === 0) return {}
    if (network.kind !== 'bridge') {
      if (network.pools.every((pool) => pool.gateway === '') && !routesByLink(network)) return {}
      throw new HeddleError('unsupported', `ports cannot be published on ${network.name}: it is of kind ${network.kind}, with a gateway of its own`, {
        field: 'portmap',
        remedy: 'leave -p out, or connect the container to a bridge network and publish there, or create the network with -o gateway=docker',
      })
    }
    return this.#parts.endpoints.run(body.EndpointID, call, async () => {
      const found = await this.#known.find(this.#parts, body.EndpointID, call)
      if (found === undefined) throw endpointUnknown(body.EndpointID)
      const addresses = found.endpoint.addresses.map((address) => address.split('/', 1)[0] ?? '')
      const ports = await this.#publish(boundPorts(network, asked), (wanted) =>
        this.#parts.cluster.wiring.publishPorts({ endpointId: body.EndpointID, network, addresses, ports: [...wanted] }, call),
      )
      await this.#record(found, ports, call)
      return {}
    })
  }

  /** Never fails: the ports go with the endpoint at the latest. What the record names, the hands would publish again. */
  async revoke({ EndpointID }: Body<'endpoint'>, call: Call): Promise<object> {
    const { cluster, endpoints, logger, releaseTimeoutMs } = this.#parts
    try {
      await briefly(call, releaseTimeoutMs, (inner) =>
        endpoints.run(EndpointID, inner, () =>
          together([cluster.wiring.publishPorts({ endpointId: EndpointID, ports: [] }, inner), this.#recordNone(EndpointID, inner)]),
        ),
      )
    } catch (error) {
      logger.warn({ endpoint: EndpointID, failure: HeddleError.from(error).message }, 'ports not revoked; they go with the endpoint')
    }
    return {}
  }

  async #recordNone(id: string, call: Call): Promise<void> {
    const found = await this.#known.find(this.#parts, id, call)
    if (found !== undefined && found.endpoint.ports.length > 0) await this.#record(found, [], call)
  }

  async #record(found: KnownEndpoint, ports: PortMapping[], call: Call): Promise<void> {
    const known = { ...found, endpoint: { ...found.endpoint, ports } }
    await this.#parts.cluster.networks.putEndpoint({ endpoint: known.endpoint, claimRevision: known.claimRevision }, call)
    this.#known.learn(known)
  }

  /** A range of host ports (`-p 8000-8010:80`) means any of them: the next while one is taken. */
  async #publish(asked: readonly PortRange[], publish: (ports: readonly PortMapping[]) => Promise<{ ports: PortMapping[] }>): Promise<PortMapping[]> {
    const widest = Math.max(...asked.map((port) => port.hostPortEnd - port.hostPort))
    for (let step = 0; ; step++) {
      try {
        return (await publish(asked.map(({ hostPortEnd, ...port }) => ({ ...port, hostPort: Math.min(port.hostPort + step, hostPortEnd) })))).ports
      } catch (error) {
        if (HeddleError.from(error).code !== 'port-taken' || step >= widest) throw error
      }
    }
  }
}
