/** Published ports (`docker run -p`). Docker asks for them of the endpoint that is the container's way out. */
import type { PortMapping } from '@heddle/contract'
import { type Call, HeddleError, undoCall, withCall } from '@heddle/core'
import type { FlowParts } from '../flows/parts.ts'
import type { Body } from './bodies.ts'
import type { KnownEndpoints } from './known-endpoints.ts'
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

  /** An overlay publishes nothing: its way out is Docker's own bridge, which does. */
  async program(body: Body<'externalConnectivity'>, call: Call): Promise<object> {
    const asked = parsePorts(body.Options)
    const network = await this.#networks.find(body.NetworkID, call)
    if (network.kind !== 'bridge' || network.internal || asked.length === 0) return {}
    return this.#parts.endpoints.run(body.EndpointID, call, async () => {
      const found = await this.#known.find(this.#parts, body.EndpointID, call)
      if (found === undefined) {
        throw new HeddleError('endpoint-unknown', `endpoint ${body.EndpointID.slice(0, 12)} is not recorded`, {
          field: 'EndpointID',
          remedy: 'start the container again',
        })
      }
      const { cluster } = this.#parts
      const addresses = found.endpoint.addresses.map((address) => address.split('/', 1)[0] ?? '')
      const ports = await this.#publish(asked, (wanted) =>
        cluster.wiring.publishPorts({ endpointId: body.EndpointID, network, addresses, ports: [...wanted] }, call),
      )
      const known = { ...found, endpoint: { ...found.endpoint, ports } }
      await cluster.networks.putEndpoint({ endpoint: known.endpoint, claimRevision: known.claimRevision }, call)
      this.#known.learn(known)
      return {}
    })
  }

  /** Never fails: the ports go with the endpoint at the latest. */
  async revoke(body: Body<'endpoint'>, call: Call): Promise<object> {
    try {
      await withCall({ ...undoCall(call, this.#parts.releaseTimeoutMs), signal: call.signal }, (inner) =>
        this.#parts.cluster.wiring.publishPorts({ endpointId: body.EndpointID, ports: [] }, inner),
      )
    } catch (error) {
      this.#parts.logger.warn({ endpoint: body.EndpointID, failure: HeddleError.from(error).message }, 'ports not revoked; they go with the endpoint')
    }
    return {}
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
