/** Endpoints: made, looked at, deleted; in and out of order, again, and many at once. */
import { expect, type Rule, skip } from '../../report.ts'
import { newId } from '../plugin.ts'
import {
  addressIn,
  bare,
  type Endpoint,
  hostOf,
  join,
  makeEndpoint,
  makeNetwork,
  type Net,
  removeEndpoint,
  removeNetwork,
  type Subject,
  withEndpoint,
  withNetwork,
} from '../stage.ts'

const mac = '02:42:0a:d4:00:09'
const ports = { 'com.docker.network.portmap': [{ Proto: 6, IP: '', Port: 80, HostIP: '', HostPort: 0, HostPortEnd: 0 }] }

/** Calls that are optional: 404 says that the plugin has no such method. */
async function optional({ plugin }: Subject, method: string, body: object): Promise<void> {
  if ((await plugin.call(method, body)).status === 404) skip(`the plugin has no ${method}`)
  await plugin.ok(method, body)
}

async function several<T>(subject: Subject, net: Net, count: number, body: (endpoints: readonly Endpoint[]) => Promise<T>): Promise<T> {
  const made = await Promise.allSettled(Array.from({ length: count }, () => makeEndpoint(subject, net)))
  const endpoints = made.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  try {
    for (const one of made) if (one.status === 'rejected') throw one.reason
    return await body(endpoints)
  } finally {
    await Promise.all(endpoints.map((endpoint) => removeEndpoint(subject, net, endpoint)))
  }
}

export const endpointRules: readonly Rule<Subject>[] = [
  {
    id: 'EP-1',
    section: 'remote.md, Create endpoint',
    text: 'an endpoint is created with the address it was given, and the answer repeats no field of the request: the engine would take it for a change',
    prove: (subject) =>
      withEndpoint(subject, async ({ answer }) => {
        const { Address = '', AddressIPv6 = '' } = answer.Interface ?? {}
        expect(Address === '', `the answer has the address ${Address}, which the request had`)
        expect(AddressIPv6 === '' || AddressIPv6.includes(':'), `AddressIPv6 is ${AddressIPv6}`)
      }),
  },
  {
    id: 'EP-2',
    section: 'remote.md, Create endpoint',
    text: 'a MAC address that was asked for is taken, and is not repeated in the answer',
    prove: (subject) =>
      withEndpoint(
        subject,
        async ({ answer }) => expect((answer.Interface?.MacAddress ?? '') === '', `the answer has the MAC address ${answer.Interface?.MacAddress}`),
        { MacAddress: mac },
      ),
  },
  {
    id: 'EP-3',
    section: 'remote.md, Create endpoint',
    text: 'a MAC address that the driver chooses is that of one interface: not a group, not zero',
    prove: (subject) =>
      withEndpoint(subject, async ({ answer }) => {
        const chosen: string = answer.Interface?.MacAddress ?? ''
        if (chosen === '') skip('the driver leaves the MAC address to the engine')
        expect(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(chosen), `${chosen} is no MAC address`)
        expect((Number.parseInt(chosen.slice(0, 2), 16) & 1) === 0 && !/^(00:)+00$/.test(chosen), `${chosen} is not the address of one interface`)
      }),
  },
  {
    id: 'EP-4',
    section: 'remote.md, Create endpoint',
    text: 'what the engine always sends with an endpoint (published ports, exposed ports, DNS servers, a MAC address in base64) is taken',
    prove: (subject) =>
      withEndpoint(subject, async () => {}, {
        MacAddress: mac,
        Options: {
          ...ports,
          'com.docker.network.endpoint.exposedports': [{ Proto: 6, Port: 80 }],
          'com.docker.network.endpoint.dnsservers': ['192.0.2.53'],
          'com.docker.network.endpoint.macaddress': Buffer.from(mac.replaceAll(':', ''), 'hex').toString('base64'),
        },
      }),
  },
  {
    id: 'EP-5',
    section: 'remote.md, Create endpoint',
    text: 'an endpoint on a network that is not there is refused',
    prove: (subject) =>
      withNetwork(subject, async (net) => {
        const Interface = { Address: await addressIn(subject, net), AddressIPv6: '', MacAddress: '' }
        const ids = { NetworkID: newId(), EndpointID: newId() }
        await subject.plugin.refused('NetworkDriver.CreateEndpoint', { ...ids, Interface, Options: {} }, 'on a network that never was')
      }),
  },
  {
    id: 'EP-6',
    section: 'plugin_api.md, Plugin retries',
    text: 'an endpoint that is there is created again with the same answer',
    prove: (subject) =>
      withEndpoint(subject, async ({ request, answer }) => {
        const again = await subject.plugin.ok('NetworkDriver.CreateEndpoint', request)
        expect(JSON.stringify(again) === JSON.stringify(answer), `first ${JSON.stringify(answer)}, then ${JSON.stringify(again)}`)
      }),
  },
  {
    id: 'EP-7',
    section: 'design.md, The Container Network Model',
    text: 'deleting an endpoint succeeds, also again, and for one that never was: the engine has forgotten it whatever is answered',
    prove: (subject) =>
      withEndpoint(subject, async ({ ids }) => {
        for (const EndpointID of [ids.EndpointID, ids.EndpointID, newId()]) await subject.plugin.ok('NetworkDriver.DeleteEndpoint', { ...ids, EndpointID })
      }),
  },
  {
    id: 'EP-8',
    section: 'design.md, The Container Network Model',
    text: 'an endpoint in a sandbox is deleted without a Leave before it (after a crash of dockerd), and a Leave after that succeeds',
    prove: (subject) =>
      withEndpoint(subject, async (endpoint) => {
        await join(subject, endpoint)
        await subject.plugin.ok('NetworkDriver.DeleteEndpoint', endpoint.ids)
        await subject.plugin.ok('NetworkDriver.Leave', endpoint.ids)
      }),
  },
  {
    id: 'EP-9',
    section: 'design.md, The Container Network Model',
    text: 'an endpoint of a network that is gone is deleted with success',
    prove: async (subject) => {
      const net = await makeNetwork(subject)
      await removeNetwork(subject, net)
      await subject.plugin.ok('NetworkDriver.DeleteEndpoint', { NetworkID: net.NetworkID, EndpointID: newId() })
    },
  },
  {
    id: 'EP-10',
    section: 'design.md, The Container Network Model',
    text: 'the address of a deleted endpoint is there for the next one',
    prove: (subject) =>
      withNetwork(subject, async (net) => {
        const Address = net.PoolID === undefined ? `${hostOf(net.prefix, 9)}/24` : undefined
        const first = await makeEndpoint(subject, net, Address === undefined ? {} : { Address })
        await removeEndpoint(subject, net, first)
        if (net.PoolID !== undefined) await subject.plugin.ok('IpamDriver.RequestAddress', { PoolID: net.PoolID, Address: bare(first.Address), Options: null })
        const second = await makeEndpoint(subject, net, { Address: first.Address })
        await removeEndpoint(subject, net, second)
      }),
  },
  {
    id: 'INFO-1',
    section: 'remote.md, Endpoint operational info',
    text: 'what the driver tells of an endpoint is a map by the name of Value',
    prove: (subject) =>
      withEndpoint(subject, async ({ ids }) => {
        const { Value } = await subject.plugin.ok('NetworkDriver.EndpointOperInfo', ids)
        expect(Value === undefined || Value === null || (typeof Value === 'object' && !Array.isArray(Value)), `Value is ${JSON.stringify(Value)}`)
      }),
  },
  {
    id: 'INFO-2',
    section: 'remote.md, Endpoint operational info',
    text: 'of an endpoint that is not there it tells nothing, or that it is not there',
    prove: (subject) =>
      withNetwork(subject, async (net) => {
        const { json } = await subject.plugin.call('NetworkDriver.EndpointOperInfo', { NetworkID: net.NetworkID, EndpointID: newId() })
        const told = Object.keys(json?.Value ?? {})
        expect(json !== undefined && told.length === 0, `it tells ${JSON.stringify(json?.Value)}`)
      }),
  },
  {
    id: 'EXT-1',
    section: 'drivers/remote/api, ProgramExternalConnectivityRequest',
    text: 'external connectivity is programmed for a joined endpoint, also again, and revoked, also again',
    prove: (subject) =>
      withEndpoint(subject, async (endpoint) => {
        await join(subject, endpoint)
        for (let time = 0; time < 2; time++)
          await optional(subject, 'NetworkDriver.ProgramExternalConnectivity', {
            ...endpoint.ids,
            Options: { 'com.docker.network.portmap': [], 'com.docker.network.endpoint.exposedports': [] },
          })
        for (let time = 0; time < 2; time++) await optional(subject, 'NetworkDriver.RevokeExternalConnectivity', endpoint.ids)
      }),
  },
  {
    id: 'EXT-2',
    section: 'drivers/remote/api, RevokeExternalConnectivityRequest',
    text: 'external connectivity that never was programmed is revoked with success, also of an endpoint that is not there',
    prove: (subject) =>
      withEndpoint(subject, async ({ ids }) => {
        for (const EndpointID of [ids.EndpointID, newId()]) await optional(subject, 'NetworkDriver.RevokeExternalConnectivity', { ...ids, EndpointID })
      }),
  },
  {
    id: 'PAR-1',
    section: 'design.md, The Container Network Model',
    text: 'sixteen endpoints of one network live and die at once, with names and MAC addresses of their own',
    prove: (subject) =>
      withNetwork(subject, (net) =>
        several(subject, net, 16, async (endpoints) => {
          const joined = await Promise.all(endpoints.map((endpoint) => join(subject, endpoint)))
          const distinct = (what: string, values: readonly string[]) => {
            const given = values.filter((value) => value !== '')
            expect(new Set(given).size === given.length, `two of them have the same ${what}: ${given.sort().join(' ')}`)
          }
          distinct(
            'interface',
            joined.map(({ InterfaceName }) => InterfaceName?.SrcName ?? ''),
          )
          distinct(
            'MAC address',
            endpoints.map(({ answer }) => answer.Interface?.MacAddress ?? ''),
          )
        }),
      ),
  },
  {
    id: 'PAR-2',
    section: 'design.md, The Container Network Model',
    text: 'a container that restarts has its old endpoint deleted while the new one is created',
    prove: (subject) =>
      withNetwork(subject, async (net) => {
        let current = await makeEndpoint(subject, net)
        for (let restart = 0; restart < 4; restart++) {
          await join(subject, current)
          const [next] = await Promise.all([makeEndpoint(subject, net), removeEndpoint(subject, net, current)])
          current = next
        }
        await join(subject, current)
        await removeEndpoint(subject, net, current)
      }),
  },
]
