/** For each rule what breaks it: a fake with that fault fails the rule. */
import { hostOf } from '../stage.ts'
import { type Fault, failed, type Reply } from './fake.ts'

type Instead = NonNullable<Fault['methods']>[string]

const one = (method: string, instead: Instead): Fault => ({ methods: { [method]: instead } })
const network = (method: string, instead: Instead) => one(`NetworkDriver.${method}`, instead)
const ipam = (method: string, instead: Instead) => one(`IpamDriver.${method}`, instead)
const always =
  (body: object): Instead =>
  () =>
    body
const succeeds = (when: (request: Parameters<NonNullable<Fault['http']>>[0]) => boolean): Fault => ({
  http: (request) => (when(request) ? { status: 200, body: {} } : undefined),
})
const refusedTwice = (method: string): Fault => {
  const seen = new Set<string>()
  return network(method, (body, honest) => {
    const key = JSON.stringify(body)
    if (seen.has(key)) throw new Error('again')
    seen.add(key)
    return honest()
  })
}
/** Refuses what is not there, as drivers do that take a free for a question. */
const strict = (method: string, has: (body: any, fake: Parameters<Instead>[2]) => boolean): Fault =>
  one(method, (body, honest, fake) => (has(body, fake) ? honest() : failed(500, 'there is no such thing')))
const differently = (method: string, change: (answer: any, n: number) => any): Fault => {
  let n = 0
  return one(method, (_body, honest) => change(honest(), n++))
}
const join = (change: (answer: any) => object) => differently('NetworkDriver.Join', (answer) => ({ ...answer, ...change(answer) }))

export const faults: Readonly<Record<string, Fault>> = {
  'ACT-1': one('Plugin.Activate', always({ Implements: ['VolumeDriver'] })),
  'ACT-2': differently('Plugin.Activate', (answer, n) => ({ ...answer, n })),
  'HTTP-1': { http: ({ method }) => (method === 'Plugin.Activate' ? { status: 200, body: { Implements: [] }, headers: { connection: 'close' } } : undefined) },
  'HTTP-2': { http: ({ accept }) => (accept.includes('v1.1') ? failed(406, 'not acceptable') : undefined) },
  'HTTP-3': { http: ({ method }) => (method.endsWith('Teleport') ? failed(500, 'Unhandled API request') : undefined) },
  'HTTP-4': succeeds(({ verb }) => verb === 'PUT'),
  'HTTP-5': succeeds(({ method, text }) => method.endsWith('.Leave') && text === 'nonsense'),
  'HTTP-6': succeeds(({ method, text }) => method.endsWith('.Leave') && text === '7'),
  'HTTP-7': succeeds(({ method, text }) => method === 'IpamDriver.ReleaseAddress' && text === ''),
  'HTTP-8': { http: ({ text }) => (text.includes('ANewKey') ? failed(400, 'ANewKey is unknown') : undefined) },
  'HTTP-9': network('Join', ({ Options }, honest) => (Options === null ? failed(500, 'Options is null') : honest())),
  'ERR-1': network('Join', (_body, honest, fake) => (fake.endpoints.size === 0 ? { status: 500, body: 'it did not work' } : honest())),
  'ERR-2': ipam('RequestAddress', ({ PoolID }, honest, fake) => (fake.pools.has(PoolID) ? honest() : { Err: 'there is no such pool' })),
  'ERR-3': ((): Fault => {
    let broken = false
    return {
      http: ({ text }): Reply | undefined => {
        broken ||= text === '{"NetworkID":'
        return broken ? failed(500, 'out of order') : undefined
      },
    }
  })(),
  'CAP-1': network('GetCapabilities', always({ Scope: 'cluster' })),
  'CAP-2': network('GetCapabilities', always({ Scope: 'local', ConnectivityScope: 'some' })),
  'CAP-3': network('GwAllocCheck', always({ SkipIPv4: 'no' })),
  'NET-1': network('CreateNetwork', always(failed(201, 'Created'))),
  'NET-2': network('CreateNetwork', ({ Options }, honest) => (Options['com.docker.network.internal'] ? failed(500, 'not internal') : honest())),
  'NET-3': refusedTwice('CreateNetwork'),
  'NET-4': network('CreateNetwork', (_body, honest, fake) => {
    fake.networks.clear()
    return honest()
  }),
  'NET-5': network('CreateNetwork', (body, _honest, fake) => {
    fake.networks.set(body.NetworkID, body)
    return {}
  }),
  'NET-6': network('DeleteNetwork', always({})),
  'NET-7': strict('NetworkDriver.DeleteNetwork', ({ NetworkID }, fake) => fake.networks.has(NetworkID)),
  'NET-8': ((): Fault => {
    const had = new Set<string>()
    return network('CreateNetwork', ({ NetworkID, IPv4Data }, honest) => {
      if (had.has(NetworkID) || had.has(IPv4Data[0].Pool)) return failed(500, 'it was there before')
      had.add(NetworkID).add(IPv4Data[0].Pool)
      return honest()
    })
  })(),
  'DISC-1': network('DiscoverNew', ({ DiscoveryData }, honest) => (DiscoveryData.Self === undefined ? failed(400, 'Self is missing') : honest())),
  'DISC-2': network('DiscoverDelete', always(failed(500, 'no such node'))),
  'SWARM-1': network('AllocateNetwork', always({ Options: { vni: 4097 } })),
  'SWARM-2': differently('NetworkDriver.AllocateNetwork', (answer, n) => ({ Options: { ...answer.Options, vni: `${4097 + n}` } })),
  'SWARM-3': refusedTwice('FreeNetwork'),
  'SWARM-4': refusedTwice('CreateNetwork'),
  'EP-1': network('CreateEndpoint', ({ Interface }, honest) => {
    const { Interface: answer } = honest()
    return { Interface: { ...answer, Address: Interface.Address } }
  }),
  'EP-2': network('CreateEndpoint', ({ Interface }, honest) => {
    honest()
    return { Interface: { MacAddress: Interface.MacAddress } }
  }),
  'EP-3': network('CreateEndpoint', (_body, honest) => {
    honest()
    return { Interface: { MacAddress: '01:00:5e:00:00:01' } }
  }),
  'EP-4': network('CreateEndpoint', ({ Options }, honest) => (Object.keys(Options ?? {}).length > 0 ? failed(500, 'unknown options') : honest())),
  'EP-5': network('CreateEndpoint', (body, honest, fake) => {
    fake.networks.set(body.NetworkID, fake.networks.get(body.NetworkID) ?? body)
    return honest()
  }),
  'EP-6': refusedTwice('CreateEndpoint'),
  'EP-7': strict('NetworkDriver.DeleteEndpoint', ({ EndpointID }, fake) => fake.endpoints.has(EndpointID)),
  'EP-8': strict('NetworkDriver.Leave', ({ EndpointID }, fake) => fake.endpoints.has(EndpointID)),
  'EP-9': strict('NetworkDriver.DeleteEndpoint', ({ NetworkID }, fake) => fake.networks.has(NetworkID)),
  'EP-10': network('DeleteEndpoint', always({})),
  'INFO-1': network('EndpointOperInfo', always({ Value: ['fake'] })),
  'INFO-2': network('EndpointOperInfo', always({ Value: { 'fake.endpoint': 'there' } })),
  'EXT-1': refusedTwice('ProgramExternalConnectivity'),
  'EXT-2': strict('NetworkDriver.RevokeExternalConnectivity', ({ EndpointID }, fake) => fake.endpoints.has(EndpointID)),
  'PAR-1': join(() => ({ InterfaceName: { SrcName: 'fake', DstPrefix: 'eth' } })),
  'PAR-2': network('DeleteEndpoint', (_body, _honest, fake) => {
    fake.endpoints.clear()
    return {}
  }),
  'JOIN-1': join(() => ({ InterfaceName: { SrcName: 'a-name-of-16-byte', DstPrefix: 'eth' } })),
  'JOIN-2': join(({ Gateway }) => ({ Gateway: `${Gateway}/24` })),
  'JOIN-3': join(() => ({ Gateway: '203.0.113.1' })),
  'JOIN-4': join(() => ({ StaticRoutes: [{ Destination: '', RouteType: 1, NextHop: '' }] })),
  'JOIN-5': network('Join', ({ NetworkID }, honest, fake) => ({ ...honest(), Gateway: hostOf(fake.networks.get(NetworkID).IPv4Data[0].Pool, 1) })),
  'JOIN-6': network('Join', always({ InterfaceName: null })),
  'JOIN-7': network('DeleteEndpoint', always({})),
  'JOIN-8': differently('NetworkDriver.Join', (answer, n) => ({ ...answer, InterfaceName: { SrcName: `fake${n}`, DstPrefix: 'eth' } })),
  'JOIN-9': network('Leave', ({ EndpointID }, honest, fake) => {
    fake.endpoints.delete(EndpointID)
    return honest()
  }),
  'JOIN-10': join(() => ({ InterfaceName: { SrcName: 'fake', DstPrefix: 'eth' } })),
  'LEAVE-1': refusedTwice('Leave'),
  'LEAVE-2': strict('NetworkDriver.Leave', ({ EndpointID }, fake) => fake.endpoints.has(EndpointID)),
  // The fake has no interfaces: the names it tells are nobody's.
  'LINK-1': {},
  'LINK-2': join(() => ({ InterfaceName: { SrcName: 'lo', DstPrefix: 'eth' } })),
  'LINK-3': join(() => ({ InterfaceName: { SrcName: 'lo', DstPrefix: 'eth' } })),
  'IPAM-1': ipam('GetCapabilities', always({ RequiresMACAddress: 'no' })),
  'IPAM-2': ipam('GetDefaultAddressSpaces', always({ LocalDefaultAddressSpace: 'here', GlobalDefaultAddressSpace: '' })),
  'POOL-1': differently('IpamDriver.RequestPool', (answer) => ({ ...answer, PoolID: '' })),
  'POOL-2': differently('IpamDriver.RequestPool', (answer, n) => ({ ...answer, PoolID: `${answer.PoolID}#${n}` })),
  'POOL-3': differently('IpamDriver.RequestPool', () => ({ PoolID: '10.209.0.0/24', Pool: '10.209.0.0/24', Data: {} })),
  'POOL-4': differently('IpamDriver.RequestPool', (answer) => ({ ...answer, Pool: '10.209.0.0/24' })),
  'POOL-5': ipam('RequestPool', ({ Pool, SubPool }, honest) => (Pool === '' && SubPool !== '' ? { PoolID: 'any', Pool: '10.209.0.0/24' } : honest())),
  'POOL-6': ipam('RequestPool', (body, _honest, fake) => fake.honest['IpamDriver.RequestPool']?.({ ...body, SubPool: '' })),
  'POOL-7': strict('IpamDriver.ReleasePool', ({ PoolID }, fake) => fake.pools.has(PoolID)),
  'POOL-8': ipam('ReleasePool', always({})),
  'ADDR-1': differently('IpamDriver.RequestAddress', ({ Address }) => ({ Address: Address.split('/')[0] })),
  'ADDR-2': ipam('RequestAddress', ({ PoolID, Address, Options }, honest, fake) => {
    const pool = fake.pools.get(PoolID)
    if (Options === null && Address === '') pool?.taken.delete(pool.gateway)
    return honest()
  }),
  'ADDR-3': differently('IpamDriver.RequestAddress', (answer, n) => (n % 8 === 7 ? { Address: '10.210.0.1/24' } : answer)),
  'ADDR-4': ipam('RequestAddress', ({ PoolID, Address }, honest, fake) => {
    fake.pools.get(PoolID)?.taken.delete(Address)
    return honest()
  }),
  'ADDR-5': ipam('RequestAddress', ({ Address }, honest) => (Address.startsWith('192.') ? { Address: `${Address}/24` } : honest())),
  'ADDR-6': ipam('RequestAddress', ({ PoolID }, honest, fake) => (fake.pools.has(PoolID) ? honest() : { Address: '10.0.0.1/24' })),
  'ADDR-7': ipam('ReleaseAddress', always({})),
  'ADDR-8': ipam('ReleaseAddress', always({})),
  'ADDR-9': strict('IpamDriver.ReleaseAddress', ({ PoolID, Address }, fake) => fake.pools.get(PoolID)?.taken.has(Address) === true),
  'ADDR-10': ipam('RequestAddress', (body, honest, fake) =>
    body.Options === null ? honest() : fake.honest['IpamDriver.RequestAddress']?.({ ...body, Address: '' }),
  ),
  'ADDR-11': ipam('RequestAddress', ({ PoolID }, honest) => (PoolID.includes(':') ? { Address: '10.0.0.1/24' } : honest())),
}
