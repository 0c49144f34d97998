/** The contract service `wiring`: decode, validate, call, answer. */
import { isIP } from 'node:net'
import type { Handlers } from '@heddle/bus'
import { type Endpoint, isToken, type Network, type Route, type WiringDefinition } from '@heddle/contract'
import { checkInterfaceName, checkOpaqueId, HeddleError, invalid } from '@heddle/core'
import { checkEndpoint } from './check.ts'
import { withoutLength } from './domain/endpoint-steps.ts'
import { attachments, findings, type InspectParts, inventory } from './inspect.ts'

export type HandlerParts = InspectParts

export function wiringHandlers(parts: HandlerParts): Handlers<WiringDefinition> {
  const { endpoints, networks, publisher } = parts
  return {
    async prepare(request, call) {
      const { network, endpoint } = checked(request)
      return { existed: await endpoints.prepare(network, endpoint, call) }
    },
    async attach(request, call) {
      const { network, endpoint } = checked(request)
      checkAddresses(endpoint.addresses, 'endpoint.addresses')
      checkRoutes(request.routes)
      return endpoints.attach(network, endpoint, request.routes, call)
    },
    async detach(request, call) {
      return { existed: await endpoints.detach(checkOpaqueId(request.endpointId, 'endpoint_id'), request.networkId, call) }
    },
    async check(request, call) {
      const { network, endpoint } = checked(request)
      return { differences: await checkEndpoint(parts, network, endpoint, request.routes, call) }
    },
    async publishPorts(request, call) {
      checkOpaqueId(request.endpointId, 'endpoint_id')
      if (request.ports.length === 0) {
        await publisher.unpublish(request.endpointId, call)
        return { ports: [] }
      }
      checkAddresses(request.addresses, 'addresses')
      const network = request.network
      if (network?.kind !== 'bridge' || network.internal) {
        throw new HeddleError('unsupported', `ports cannot be published from network ${network?.name ?? '(none given)'}: it has no way to the outside`, {
          field: 'network',
          remedy: 'connect the container to a bridge network as well, and publish from there',
        })
      }
      return { ports: await endpoints.publish(request.endpointId, request.addresses.map(withoutLength), request.ports, call) }
    },
    async listAttachments(_request, call) {
      return { attachments: await attachments(parts, call) }
    },
    async removeNetwork(request, call) {
      await networks.remove(checkNetworkId(request.networkId, 'network_id'), call)
      return {}
    },
    async inspect(_request, call) {
      return { findings: await findings(parts, call), inventory: await inventory(parts, call) }
    },
  }
}

function checked(request: { network?: Network | undefined; endpoint?: Endpoint | undefined }): { readonly network: Network; readonly endpoint: Endpoint } {
  const { network, endpoint } = request
  if (network === undefined) throw invalid('network', 'the network is missing')
  if (endpoint === undefined) throw invalid('endpoint', 'the endpoint is missing')
  checkNetworkId(network.id, 'network.id')
  checkOpaqueId(endpoint.id, 'endpoint.id')
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(endpoint.mac))
    throw invalid('endpoint.mac', `${JSON.stringify(endpoint.mac)} is no MAC address`, 'use six pairs of lower-case hex digits with colons')
  if (endpoint.sandbox !== '') {
    if (!endpoint.sandbox.startsWith('/') || endpoint.sandbox.includes('\0'))
      throw invalid('endpoint.sandbox', `${JSON.stringify(endpoint.sandbox)} is no absolute path`)
    checkInterfaceName(endpoint.interfaceName, 'endpoint.interface_name')
  }
  return { network, endpoint }
}

/** It becomes a token of a subject, and the last part of an alias. */
function checkNetworkId(id: string, field: string): string {
  if (!isToken(id)) throw invalid(field, `${JSON.stringify(id.slice(0, 200))} is no network id`, 'use 1 to 128 letters, digits, "_" or "-"')
  return id
}

function checkAddresses(addresses: readonly string[], field: string): void {
  for (const address of addresses) if (isIP(withoutLength(address)) === 0) throw invalid(field, `${JSON.stringify(address)} is no IP address`)
}

function checkRoutes(routes: readonly Route[]): void {
  for (const { destination, gateway } of routes) {
    if (isIP(withoutLength(destination)) === 0 || !destination.includes('/'))
      throw invalid('routes.destination', `${JSON.stringify(destination)} is no prefix`, 'write address/length; the default route is 0.0.0.0/0 or ::/0')
    if (gateway !== '' && isIP(gateway) === 0) throw invalid('routes.gateway', `${JSON.stringify(gateway)} is no IP address`)
  }
}
