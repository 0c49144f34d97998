/** Docker's calls for networks of kind sriov, with Docker's own IPAM: the addresses are in the requests. */
import { EndpointID, NetworkID } from './docker-calls.ts'
import type { TestGateway } from './gateway.ts'

export type Door = 'docker' | 'sriov'

/** The former plugin's own example. */
export const vfnet = { pf_iface: 'eth0', vlanid: '100' }

export function createBody(generic: object, more: { id?: string; internal?: boolean; pool?: string; gateway?: string } = {}) {
  const { pool = '172.18.0.0/16', gateway = '172.18.0.1/16' } = more
  return {
    NetworkID: more.id ?? NetworkID,
    Options: {
      'com.docker.network.enable_ipv6': false,
      'com.docker.network.generic': generic,
      ...(more.internal ? { 'com.docker.network.internal': true } : {}),
    },
    IPv4Data: [{ AddressSpace: pool === '0.0.0.0/0' ? 'null' : 'LocalDefault', Pool: pool, ...(gateway === '' ? {} : { Gateway: gateway }) }],
    IPv6Data: [],
  }
}

/** One door's calls, which must succeed; `refused` answers the sentence of one that must not. */
export function caller(gateway: TestGateway, door: Door = 'sriov') {
  const call = async (method: string, body: object) => {
    const { status, json } = await gateway[door].call(`NetworkDriver.${method}`, body)
    if (status !== 200) throw new Error(`${method}: ${status} ${json.Err}`)
    return json
  }
  return {
    call,
    create: (generic: object, more: Parameters<typeof createBody>[1] = {}) => call('CreateNetwork', createBody(generic, more)),
    endpoint: (id = EndpointID, asked: { address?: string; mac?: string; network?: string } = {}) => {
      const Interface = { Address: asked.address ?? '172.18.0.2/16', AddressIPv6: '', MacAddress: asked.mac ?? '' }
      return call('CreateEndpoint', { NetworkID: asked.network ?? NetworkID, EndpointID: id, Interface, Options: {} })
    },
    join: (id = EndpointID, network = NetworkID) =>
      call('Join', { NetworkID: network, EndpointID: id, SandboxKey: '/var/run/docker/netns/0123456789ab', Options: {} }),
    leave: async (id = EndpointID, network = NetworkID) => {
      const ids = { NetworkID: network, EndpointID: id }
      await call('Leave', ids)
      await call('DeleteEndpoint', ids)
    },
    async refused(method: string, body: object): Promise<string> {
      const { status, json } = await gateway[door].call(`NetworkDriver.${method}`, body)
      if (status !== 500) throw new Error(`${method}: ${status} ${JSON.stringify(json)}`)
      return json.Err
    },
  }
}
