/** The contract service `wiring`: decode, validate, call, answer. */
import { isIP } from 'node:net'
import type { Handlers } from '@heddle/bus'
import { type Endpoint, isToken, type Network, type Route, type WiringDefinition } from '@heddle/contract'
import { checkInterfaceName, checkOpaqueId, checkPci, checkVfSettings, HeddleError, invalid, isOnWire } from '@heddle/core'
import { withoutLength } from './domain/endpoint-steps.ts'
import { findings, type InspectParts, inventory } from './inspect.ts'
import { bindVf, readVf } from './vf/read.ts'
import { setVfs } from './vf/set-vfs.ts'
import type { Ways } from './ways.ts'

export interface HandlerParts extends InspectParts {
  readonly ways: Ways
}

export function wiringHandlers(parts: HandlerParts): Handlers<WiringDefinition> {
  const { endpoints, publisher, ways, vfs } = parts
  return {
    async prepare(request, call) {
      const { network, endpoint } = checked(request)
      return { existed: await ways.of(network).prepare(network, endpoint, call) }
    },
    async attach(request, call) {
      const { network, endpoint } = checked(request)
      checkAddresses(endpoint.addresses, 'endpoint.addresses')
      checkRoutes(request.routes)
      return ways.of(network).attach(network, endpoint, request.routes, call)
    },
    async detach(request, call) {
      checkOpaqueId(request.endpointId, 'endpoint_id')
      if (request.vf !== undefined) checkPci(request.vf.pci, 'vf.pci')
      return { existed: await ways.detach(request, call) }
    },
    async check(request, call) {
      const { network, endpoint } = checked(request)
      return { differences: await ways.of(network).check(network, endpoint, request.routes, call) }
    },
    async publishPorts(request, call) {
      checkOpaqueId(request.endpointId, 'endpoint_id')
      if (request.ports.length === 0) {
        await publisher.unpublish(request.endpointId, call)
        return { ports: [] }
      }
      checkAddresses(request.addresses, 'addresses')
      const network = request.network
      if (network?.kind !== 'bridge' || network.internal) throw cannotPublish(network)
      return { ports: await endpoints.publish(network, request.endpointId, request.addresses.map(withoutLength), request.ports, call) }
    },
    async listAttachments(request, call) {
      return {
        attachments: await ways.attachments(call),
        sandboxes: request.sandboxes.filter((path) => path.startsWith('/') && parts.context.kernel.namespaceInode(path) !== undefined),
      }
    },
    async removeNetwork(request, call) {
      await ways.removeNetwork(checkNetworkId(request.networkId, 'network_id'), call)
      return {}
    },
    async inspect(_request, call) {
      return { findings: await findings(parts, call), inventory: await inventory(parts, call) }
    },
    async setVfs(request, call) {
      if (request.pf === '') throw invalid('pf', 'the PF is missing', 'name its PCI address or netdev')
      return setVfs(vfs.parts, request, call)
    },
    async readVf({ pci }, call) {
      return readVf(vfs.parts, checkPci(pci, 'pci'), call)
    },
    async repairVfs({ pci }, call) {
      return { repairs: await vfs.repairs.all(pci === '' ? '' : checkPci(pci, 'pci'), call) }
    },
    async bindVf({ pci, driver }, call) {
      return bindVf(vfs.parts, { pci: checkPci(pci, 'pci'), driver }, call)
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
  if (network.kind === 'sriov') {
    const { vf } = endpoint
    if (vf === undefined) throw invalid('endpoint.vf', `network ${network.name} is of kind sriov, but endpoint ${endpoint.id} names no VF`)
    checkPci(vf.pci, 'endpoint.vf.pci')
    if (vf.settings !== undefined) checkVfSettings(vf.settings, 'endpoint.vf.settings')
  }
  return { network, endpoint }
}

function cannotPublish(network: Network | undefined): HeddleError {
  const isOutside = isOnWire(network?.kind ?? '')
  const why = isOutside ? 'its endpoints are on the wire of the host themselves' : 'it has no way to the outside'
  return new HeddleError('unsupported', `ports cannot be published from network ${network?.name ?? '(none given)'}: ${why}`, {
    field: 'network',
    remedy: `${isOutside ? 'reach the container by its own address, or ' : ''}connect the container to a bridge network as well, and publish from there`,
  })
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
