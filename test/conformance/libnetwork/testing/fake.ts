/** A plugin in memory that keeps every rule, for both drivers and a swarm; a fault makes it break one. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { bare, hostOf, isCidr, isIn } from '../stage.ts'

/** An answer as it goes over the wire. */
export interface Reply {
  readonly status: number
  readonly body: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** What a fault sees of a request, and what it does instead. */
export interface Fault {
  /** Before anything is read of the body; undefined: nothing special. */
  readonly http?: (request: { readonly method: string; readonly verb: string; readonly text: string; readonly accept: string }) => Reply | undefined
  /** In place of a method; `honest` is what it would answer. */
  readonly methods?: Readonly<Record<string, (body: any, honest: () => any, fake: FakePlugin) => any>>
}

interface FakePool {
  readonly id: string
  readonly prefix: string
  readonly part: string
  gateway: string
  readonly taken: Set<string>
}

class Refused extends Error {}

function refuse(text: string): never {
  throw new Refused(text)
}

const contentType = 'application/vnd.docker.plugins.v1.2+json'

export class FakePlugin {
  readonly networks = new Map<string, any>()
  readonly endpoints = new Map<string, { readonly request: any; readonly mac: string; readonly name: string }>()
  readonly pools = new Map<string, FakePool>()
  fault: Fault = {}
  #count = 0
  readonly #server: Server

  constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response))
  }

  listen(path: string): Promise<void> {
    return new Promise((resolve) => this.#server.listen(path, resolve))
  }

  close(): Promise<void> {
    this.#server.closeAllConnections()
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }

  /** As new, with another fault. */
  reset(fault: Fault): void {
    this.fault = fault
    for (const map of [this.networks, this.endpoints, this.pools]) map.clear()
  }

  readonly honest: Readonly<Record<string, (body: any) => any>> = {
    'Plugin.Activate': () => ({ Implements: ['NetworkDriver', 'IpamDriver'] }),
    'NetworkDriver.GetCapabilities': () => ({ Scope: 'global', ConnectivityScope: 'global', GwAllocChecker: true }),
    'NetworkDriver.GwAllocCheck': () => ({ SkipIPv4: false, SkipIPv6: false }),
    'NetworkDriver.AllocateNetwork': ({ Options }) => ({ Options: { ...Options, vni: '4097' } }),
    'NetworkDriver.FreeNetwork': () => ({}),
    'NetworkDriver.CreateNetwork': (body) => {
      for (const { Pool } of [...(body.IPv4Data ?? []), ...(body.IPv6Data ?? [])]) if (!isCidr(Pool)) refuse(`${Pool} is no prefix`)
      const shared = [...this.networks.values()].find((one) => one.NetworkID !== body.NetworkID && one.IPv4Data[0].Pool === body.IPv4Data[0].Pool)
      if (shared !== undefined) refuse('the pool is taken')
      this.networks.set(body.NetworkID, body)
      return {}
    },
    'NetworkDriver.DeleteNetwork': ({ NetworkID }) => {
      this.networks.delete(NetworkID)
      return {}
    },
    'NetworkDriver.CreateEndpoint': (body) => {
      if (!this.networks.has(body.NetworkID)) refuse('there is no such network')
      const known = this.endpoints.get(body.EndpointID)
      const mac = known?.mac ?? (body.Interface.MacAddress || `02:00:00:00:00:${(++this.#count % 256).toString(16).padStart(2, '0')}`)
      const clash = [...this.endpoints.values()].find(
        ({ request: one }) => one.EndpointID !== body.EndpointID && one.Interface.Address === body.Interface.Address && one.NetworkID === body.NetworkID,
      )
      if (clash !== undefined) refuse('the address is taken')
      this.endpoints.set(body.EndpointID, { request: body, mac, name: known?.name ?? `fake${++this.#count}` })
      return { Interface: body.Interface.MacAddress ? {} : { MacAddress: mac } }
    },
    'NetworkDriver.EndpointOperInfo': ({ EndpointID }) => ({ Value: this.endpoints.has(EndpointID) ? { 'fake.endpoint': EndpointID } : {} }),
    'NetworkDriver.DeleteEndpoint': ({ EndpointID }) => {
      this.endpoints.delete(EndpointID)
      return {}
    },
    'NetworkDriver.Join': ({ EndpointID, NetworkID }) => {
      const endpoint = this.endpoints.get(EndpointID) ?? refuse('there is no such endpoint')
      const network = this.networks.get(NetworkID)
      const gateway = network.Options?.['com.docker.network.internal'] ? '' : bare(network.IPv4Data[0].Gateway ?? '')
      const route = { Destination: '198.51.100.0/24', RouteType: 1, NextHop: '' }
      return { InterfaceName: { SrcName: endpoint.name, DstPrefix: 'eth' }, Gateway: gateway, GatewayIPv6: '', StaticRoutes: [route] }
    },
    'NetworkDriver.Leave': () => ({}),
    'NetworkDriver.ProgramExternalConnectivity': () => ({}),
    'NetworkDriver.RevokeExternalConnectivity': () => ({}),
    'NetworkDriver.DiscoverNew': () => ({}),
    'NetworkDriver.DiscoverDelete': () => ({}),
    'IpamDriver.GetCapabilities': () => ({ RequiresMACAddress: false }),
    'IpamDriver.GetDefaultAddressSpaces': () => ({ LocalDefaultAddressSpace: 'here', GlobalDefaultAddressSpace: 'everywhere' }),
    'IpamDriver.RequestPool': ({ Pool, SubPool, V6 }) => {
      if (Pool === '' && SubPool !== '') refuse('a part of no pool')
      if (Pool !== '' && !isCidr(Pool)) refuse(`${Pool} is no prefix`)
      const third = ++this.#count % 256
      const prefix = Pool || (V6 ? `fd00:${third}::/64` : `10.209.${third}.0/24`)
      const pool = this.pools.get(prefix) ?? { id: prefix, prefix, part: SubPool || prefix, gateway: '', taken: new Set() }
      this.pools.set(prefix, pool)
      return { PoolID: pool.id, Pool: prefix, Data: {} }
    },
    'IpamDriver.ReleasePool': ({ PoolID }) => {
      this.pools.delete(PoolID)
      return {}
    },
    'IpamDriver.RequestAddress': ({ PoolID, Address, Options }) => {
      const pool = this.pools.get(PoolID) ?? refuse('there is no such pool')
      const isGateway = Options?.RequestAddressType === 'com.docker.network.gateway'
      if (Address !== '' && !(isCidr(`${Address}/32`) && isIn(pool.prefix, Address))) refuse(`${Address} is outside the pool`)
      if (isGateway && pool.gateway !== '') return this.#given(pool, pool.gateway)
      const address = Address || this.#free(pool)
      if (pool.taken.has(address)) refuse(`${address} is taken`)
      pool.taken.add(address)
      if (isGateway) pool.gateway = address
      return this.#given(pool, address)
    },
    'IpamDriver.ReleaseAddress': ({ PoolID, Address }) => {
      this.pools.get(PoolID)?.taken.delete(Address)
      return {}
    },
  }

  #given({ prefix }: FakePool, address: string): object {
    return { Address: `${address}/${prefix.split('/')[1]}`, Data: {} }
  }

  #free({ prefix, part, taken }: FakePool): string {
    const last = prefix.endsWith('/29') ? 6 : 254
    for (let n = 1; n <= last; n++) {
      const address = prefix.includes(':') ? `${bare(prefix)}${n.toString(16)}` : hostOf(prefix, n)
      if (isIn(part, address) && !taken.has(address)) return address
    }
    return refuse('no address is left')
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const { status, body, headers } = this.#reply(request, Buffer.concat(chunks).toString())
    response.writeHead(status, { 'content-type': contentType, ...headers })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }

  #reply(request: IncomingMessage, text: string): Reply {
    const method = (request.url ?? '').slice(1)
    const verb = request.method ?? ''
    const special = this.fault.http?.({ method, verb, text, accept: String(request.headers.accept) })
    if (special !== undefined) return special
    const honest = this.honest[method]
    if (honest === undefined) return failed(404, `there is no ${method}`)
    if (verb !== 'POST') return failed(405, 'POST only')
    let body: any = {}
    if (!/\.(Activate|GetCapabilities|GetDefaultAddressSpaces)$/.test(method)) {
      try {
        body = JSON.parse(text)
      } catch {
        return failed(400, 'the body is not JSON')
      }
      if (typeof body !== 'object' || Array.isArray(body)) return failed(400, 'the body is no object')
    }
    try {
      const instead = this.fault.methods?.[method]
      const answer = instead === undefined ? honest(body) : instead(body, () => honest(body), this)
      return answer?.status === undefined ? { status: 200, body: answer } : answer
    } catch (error) {
      return failed(500, (error as Error).message)
    }
  }
}

export function failed(status: number, text: string): Reply {
  return { status, body: { Err: text, Error: text } }
}
