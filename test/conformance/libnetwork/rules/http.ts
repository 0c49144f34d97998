/** The transport: activation, verbs, bodies, and how a failure is told. */
import { expect, type Rule } from '../../report.ts'
import { brief, newId, refusalOf } from '../plugin.ts'
import { hasIpam, joinRequest, makeNetwork, needs, removeNetwork, requestPool, type Subject, withEndpoint, withNetwork, withPool } from '../stage.ts'

/** A request of each method that has a body, of things that are not there. */
function requests(subject: Subject): [method: string, body: object][] {
  const ids = { NetworkID: newId(), EndpointID: newId() }
  const data = [{ AddressSpace: '', Pool: '10.212.0.0/24', Gateway: '10.212.0.1/24' }]
  const network: [string, object][] = [
    ['NetworkDriver.CreateNetwork', { NetworkID: ids.NetworkID, Options: {}, IPv4Data: data, IPv6Data: [] }],
    ['NetworkDriver.DeleteNetwork', { NetworkID: ids.NetworkID }],
    ['NetworkDriver.CreateEndpoint', { ...ids, Interface: { Address: '10.212.0.2/24', AddressIPv6: '', MacAddress: '' }, Options: {} }],
    ['NetworkDriver.EndpointOperInfo', ids],
    ['NetworkDriver.DeleteEndpoint', ids],
    ['NetworkDriver.Join', joinRequest(ids)],
    ['NetworkDriver.Leave', ids],
  ]
  const PoolID = newId().slice(0, 16)
  const ipam: [string, object][] = [
    ['IpamDriver.RequestPool', { AddressSpace: '', Pool: '10.212.0.0/24', SubPool: '', Options: null, V6: false }],
    ['IpamDriver.ReleasePool', { PoolID }],
    ['IpamDriver.RequestAddress', { PoolID, Address: '', Options: null }],
    ['IpamDriver.ReleaseAddress', { PoolID, Address: '10.212.0.2' }],
  ]
  return [...(subject.implements.includes('NetworkDriver') ? network : []), ...(hasIpam(subject) ? ipam : [])]
}

export const httpRules: readonly Rule<Subject>[] = [
  {
    id: 'ACT-1',
    section: 'plugin_api.md, Handshake API',
    text: 'Plugin.Activate, without a body, answers which drivers the plugin implements: NetworkDriver, IpamDriver or both',
    prove: async ({ plugin }) => {
      const { Implements } = await plugin.ok('Plugin.Activate')
      expect(Array.isArray(Implements), `Implements is ${JSON.stringify(Implements)}, not a list`)
      expect(Implements.includes('NetworkDriver') || Implements.includes('IpamDriver'), `it implements ${JSON.stringify(Implements)}`)
    },
  },
  {
    id: 'ACT-2',
    section: 'plugin_api.md, Handshake API',
    text: 'Plugin.Activate answers the same each time: dockerd asks once, and again when it starts',
    prove: async ({ plugin }) => {
      const [first, second] = [(await plugin.call('Plugin.Activate')).text, (await plugin.call('Plugin.Activate')).text]
      expect(first === second, `first ${brief(first)}, then ${brief(second)}`)
    },
  },
  {
    id: 'HTTP-1',
    section: 'plugin_api.md, API design',
    text: 'the connection is kept after an answer',
    prove: async ({ plugin }) => expect((await plugin.call('Plugin.Activate')).kept, 'the answer says Connection: close'),
  },
  {
    id: 'HTTP-2',
    section: 'plugin_api.md, API design',
    text: 'requests are answered without Content-Type, and whichever version of the API they accept',
    prove: async ({ plugin }) => {
      for (const version of ['v1', 'v1.1', 'v1.2']) {
        const answer = await plugin.send('Plugin.Activate', { headers: { accept: `application/vnd.docker.plugins.${version}+json` } })
        expect(answer.status === 200, `accepting ${version}: status ${answer.status}`)
      }
    },
  },
  {
    id: 'HTTP-3',
    section: 'drivers/remote/driver.go, ProgramExternalConnectivity',
    text: 'a method that the plugin does not know is answered with 404, by which the engine knows that it is optional',
    prove: async ({ plugin }) => {
      for (const method of ['NetworkDriver.Teleport', 'Nothing.At.All']) {
        const { status } = await plugin.call(method, {})
        expect(status === 404, `${method}: status ${status}`)
      }
    },
  },
  {
    id: 'HTTP-4',
    section: 'plugin_api.md, API design',
    text: 'requests are POST: another verb is refused, with 404 or 405',
    prove: async ({ plugin }) => {
      for (const verb of ['GET', 'PUT', 'DELETE']) {
        const { status } = await plugin.send('Plugin.Activate', { verb })
        expect(status === 404 || status === 405, `${verb}: status ${status}`)
      }
    },
  },
  {
    id: 'HTTP-5',
    section: 'plugin_api.md, API design',
    text: 'a request that is not JSON is refused by every method that takes one',
    prove: async (subject) => {
      for (const [method, body] of requests(subject)) {
        for (const text of ['{', 'nonsense', JSON.stringify(body).slice(0, -1)])
          await subject.plugin.refusedText(method, { text }, `with the body ${brief(text)}`)
      }
    },
  },
  {
    id: 'HTTP-6',
    section: 'plugin_api.md, API design',
    text: 'JSON that is no object is refused by every method that takes one',
    prove: async (subject) => {
      for (const [method] of requests(subject))
        for (const text of ['[]', '7', '"x"']) await subject.plugin.refusedText(method, { text }, `with the body ${text}`)
    },
  },
  {
    id: 'HTTP-7',
    section: 'plugin_api.md, Plugin retries',
    text: 'a request without its body is refused by every method that needs one: so dockerd repeats a request whose connection was lost (moby/moby#39331)',
    prove: async (subject) => {
      for (const [method] of requests(subject)) for (const sent of [{}, { text: '' }]) await subject.plugin.refusedText(method, sent, 'without a body')
    },
  },
  {
    id: 'HTTP-8',
    section: 'plugin_api.md, API design',
    text: 'keys that the plugin does not know are ignored: newer engines send more',
    prove: async (subject) => {
      const more = { ANewKey: { of: ['the', 'next', 'engine'] } }
      if (!subject.implements.includes('NetworkDriver')) {
        const { PoolID } = await requestPool(subject, { Pool: subject.nextSubnet(), ...more })
        return void (await subject.plugin.ok('IpamDriver.ReleasePool', { PoolID, ...more }))
      }
      await withEndpoint(subject, async ({ ids, request }, net) => {
        await subject.plugin.ok('NetworkDriver.CreateNetwork', { ...net.request, ...more })
        await subject.plugin.ok('NetworkDriver.CreateEndpoint', { ...request, ...more })
        await subject.plugin.ok('NetworkDriver.Join', { ...joinRequest(ids), ...more })
        await subject.plugin.ok('NetworkDriver.Leave', { ...ids, ...more })
        await subject.plugin.ok('NetworkDriver.DeleteEndpoint', { ...ids, ...more })
      })
    },
  },
  {
    id: 'HTTP-9',
    section: 'remote.md, Create network',
    text: 'every map and list may be null, as Go writes those that are not there',
    prove: async (subject) => {
      if (!subject.implements.includes('NetworkDriver')) return withPool(subject, async () => {})
      const net = await makeNetwork(subject)
      try {
        const ids = { NetworkID: net.NetworkID, EndpointID: newId() }
        await subject.plugin.ok('NetworkDriver.CreateNetwork', { ...net.request, IPv6Data: null })
        const address =
          net.PoolID === undefined
            ? `${net.prefix.replace('.0/', '.9/')}`
            : (await subject.plugin.ok('IpamDriver.RequestAddress', { PoolID: net.PoolID, Address: '', Options: null })).Address
        await subject.plugin.ok('NetworkDriver.CreateEndpoint', { ...ids, Interface: { Address: address, AddressIPv6: '', MacAddress: '' }, Options: null })
        await subject.plugin.ok('NetworkDriver.Join', { ...joinRequest(ids), Options: null })
        await subject.plugin.ok('NetworkDriver.Leave', ids)
        await subject.plugin.ok('NetworkDriver.DeleteEndpoint', ids)
      } finally {
        await removeNetwork(subject, net)
      }
    },
  },
  {
    id: 'ERR-1',
    section: 'remote.md, Protocol',
    text: 'the network driver tells a failure as {"Err": text}',
    prove: async (subject) => {
      needs(subject, 'NetworkDriver')
      const ids = { NetworkID: newId(), EndpointID: newId() }
      const answer = await subject.plugin.call('NetworkDriver.Join', joinRequest(ids))
      expect(typeof answer.json?.Err === 'string' && answer.json.Err !== '', `Join of what is not there: status ${answer.status}, ${brief(answer.text)}`)
    },
  },
  {
    id: 'ERR-2',
    section: 'ipam.md, Protocol',
    text: 'the IPAM driver tells a failure as {"Error": text}, or as {"Err": text} with a status that is not 200',
    prove: async (subject) => {
      needs(subject, 'IpamDriver')
      const answer = await subject.plugin.call('IpamDriver.RequestAddress', { PoolID: 'there-is-no-such-pool', Address: '', Options: null })
      expect(refusalOf('IpamDriver.RequestAddress', answer) !== undefined, `an unknown pool: status ${answer.status}, ${brief(answer.text)}`)
      const said = answer.status === 200 ? answer.json?.Error : (answer.json?.Err ?? answer.json?.Error)
      expect(typeof said === 'string' && said !== '', `an unknown pool: status ${answer.status}, ${brief(answer.text)}`)
    },
  },
  {
    id: 'ERR-3',
    section: 'plugin_api.md, API design',
    text: 'after requests that it refused the plugin goes on as before',
    prove: async (subject) => {
      for (const [method] of requests(subject)) await subject.plugin.send(method, { text: '{"NetworkID":' })
      if (subject.implements.includes('NetworkDriver')) await withNetwork(subject, async () => {})
      else await withPool(subject, async () => {})
    },
  },
]
