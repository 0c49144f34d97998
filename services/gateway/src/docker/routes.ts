/**
 * The 22 methods of Docker's plugin protocol: NetworkDriver and IpamDriver under the name `heddle`, NetworkDriver alone under
 * the name `sriov`. Both names see the same networks and endpoints.
 */
import type { FlowParts } from '../flows/parts.ts'
import { bodies } from './bodies.ts'
import { ExternalConnectivity } from './external-connectivity.ts'
import { ipamRoutes } from './ipam-driver.ts'
import { KnownEndpoints } from './known-endpoints.ts'
import { NetworkDriver } from './network-driver.ts'
import { DockerNetworks } from './networks.ts'
import type { DriverName } from './options.ts'
import { constant, type Route, type RouteTrace, route } from './route.ts'
import type { DockerScope } from './scope.ts'
import { SwarmNetworks } from './swarm.ts'
import { endpointTrace } from './trace.ts'

export function dockerRoutes(
  parts: FlowParts,
  scope: DockerScope = 'local',
  known = new KnownEndpoints(),
): Readonly<Record<DriverName, ReadonlyMap<string, Route>>> {
  const networks = new DockerNetworks(parts, scope)
  const endpoints = new NetworkDriver(parts, networks, known, scope)
  const swarm = new SwarmNetworks(parts, networks, scope)
  const outside = new ExternalConnectivity(parts, networks, known)
  const connect = (body: { NetworkID: string; EndpointID: string }) => endpointTrace('connect', body)
  const disconnect = (body: { NetworkID: string; EndpointID: string }) => endpointTrace('disconnect', body)
  const routes = (driver: DriverName): [string, Route][] => [
    ['NetworkDriver.GetCapabilities', constant({ Scope: scope, ConnectivityScope: scope, GwAllocChecker: true })],
    ['NetworkDriver.GwAllocCheck', route(bodies.options, (body, call) => networks.skipsGateway(driver, body, call))],
    ['NetworkDriver.AllocateNetwork', route(bodies.allocateNetwork, (body, call) => swarm.allocate(driver, body, call), networkTrace)],
    ['NetworkDriver.FreeNetwork', route(bodies.network, (body, call) => swarm.free(body, call), networkTrace)],
    ['NetworkDriver.CreateNetwork', route(bodies.createNetwork, (body, call) => networks.create(driver, body, call), networkTrace)],
    ['NetworkDriver.DeleteNetwork', route(bodies.network, (body, call) => networks.remove(body, call), networkTrace)],
    ['NetworkDriver.CreateEndpoint', route(bodies.createEndpoint, (body, call) => endpoints.createEndpoint(body, call), connect)],
    ['NetworkDriver.EndpointOperInfo', route(bodies.endpoint, (body) => endpoints.endpointInfo(body))],
    ['NetworkDriver.DeleteEndpoint', route(bodies.endpoint, (body, call) => endpoints.deleteEndpoint(body, call), disconnect)],
    ['NetworkDriver.Join', route(bodies.join, (body, call) => endpoints.join(body, call), connect)],
    ['NetworkDriver.Leave', route(bodies.endpoint, async () => ({}))],
    ['NetworkDriver.ProgramExternalConnectivity', route(bodies.externalConnectivity, (body, call) => outside.program(body, call), connect)],
    ['NetworkDriver.RevokeExternalConnectivity', route(bodies.endpoint, (body, call) => outside.revoke(body, call), disconnect)],
    ['NetworkDriver.DiscoverNew', route(bodies.discover, (body) => swarm.discover('new', body))],
    ['NetworkDriver.DiscoverDelete', route(bodies.discover, (body) => swarm.discover('gone', body))],
  ]
  return {
    heddle: new Map([activate(['NetworkDriver', 'IpamDriver']), ...routes('heddle'), ...ipamRoutes(parts, known, scope)]),
    sriov: new Map([activate(['NetworkDriver']), ...routes('sriov')]),
  }
}

function activate(manifest: readonly string[]): [string, Route] {
  return ['Plugin.Activate', constant({ Implements: manifest })]
}

function networkTrace({ NetworkID }: { readonly NetworkID: string }): RouteTrace {
  return { key: NetworkID, attributes: { 'docker.network_id': NetworkID } }
}
