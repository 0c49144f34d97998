/** Docker's calls as the engine makes and orders them. */
import type { TestGateway } from './gateway.ts'

export const NetworkID = 'a'.repeat(64)
export const EndpointID = 'e'.repeat(64)
export const ids = { NetworkID, EndpointID }

/** Calls that must succeed. */
export function client({ docker }: TestGateway) {
  return async (method: string, body?: unknown) => {
    const answer = await docker.call(method, body)
    if (answer.status !== 200) throw new Error(`${method}: ${answer.status} ${JSON.stringify(answer.json)}`)
    return answer.json
  }
}

export interface Created {
  readonly pool: { readonly PoolID: string; readonly Pool: string }
  readonly gateway: string
}

/** `docker network create` as the engine spells it. */
export async function createNetwork(
  gateway: TestGateway,
  generic: object,
  more: { ipam?: object; id?: string; pool?: string; subPool?: string; aux?: object; internal?: boolean } = {},
): Promise<Created> {
  const call = client(gateway)
  const { LocalDefaultAddressSpace: AddressSpace } = await call('IpamDriver.GetDefaultAddressSpaces')
  const pool = await call('IpamDriver.RequestPool', { AddressSpace, Pool: more.pool ?? '', SubPool: more.subPool ?? '', Options: more.ipam ?? null, V6: false })
  const given = pool.Data['com.docker.network.gateway']
  const type = { RequestAddressType: 'com.docker.network.gateway' }
  const Gateway = given ?? (await call('IpamDriver.RequestAddress', { PoolID: pool.PoolID, Address: '', Options: type })).Address
  const AuxAddresses: Record<string, string> = {}
  for (const [name, Address] of Object.entries(more.aux ?? {}))
    AuxAddresses[name] = (await call('IpamDriver.RequestAddress', { PoolID: pool.PoolID, Address, Options: null })).Address
  const data = { AddressSpace, Pool: pool.Pool, Gateway, ...(more.aux === undefined ? {} : { AuxAddresses }) }
  const Options = {
    'com.docker.network.enable_ipv6': false,
    'com.docker.network.generic': generic,
    ...(more.internal ? { 'com.docker.network.internal': true } : {}),
  }
  await call('NetworkDriver.CreateNetwork', { NetworkID: more.id ?? NetworkID, Options, IPv4Data: [data], IPv6Data: [] })
  return { pool, gateway: Gateway }
}

/** Reserve and wire, as `docker run`. */
export async function connect(gateway: TestGateway, { pool }: Created, more: { endpoint?: string; mac?: string; options?: object } = {}) {
  const call = client(gateway)
  const endpoint = { NetworkID, EndpointID: more.endpoint ?? EndpointID }
  const { Address } = await call('IpamDriver.RequestAddress', { PoolID: pool.PoolID, Address: '', Options: {} })
  const Interface = { Address, AddressIPv6: '', MacAddress: more.mac ?? '' }
  const created = await call('NetworkDriver.CreateEndpoint', { ...endpoint, Interface, Options: more.options ?? null })
  const joined = await call('NetworkDriver.Join', { ...endpoint, SandboxKey: '/var/run/docker/netns/0123456789ab', Options: more.options ?? null })
  return { Address, created, joined }
}

export async function disconnect(gateway: TestGateway, { pool }: Created, Address: string) {
  const call = client(gateway)
  await call('NetworkDriver.Leave', ids)
  await call('NetworkDriver.DeleteEndpoint', ids)
  await call('IpamDriver.ReleaseAddress', { PoolID: pool.PoolID, Address: Address.split('/')[0] })
}

export async function removeNetwork(gateway: TestGateway, { pool, gateway: address }: Created, id = NetworkID) {
  const call = client(gateway)
  await call('IpamDriver.ReleaseAddress', { PoolID: pool.PoolID, Address: address.split('/')[0] })
  await call('IpamDriver.ReleasePool', { PoolID: pool.PoolID })
  await call('NetworkDriver.DeleteNetwork', { NetworkID: id })
}
