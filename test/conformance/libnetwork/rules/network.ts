/** Capabilities, networks, and what a swarm tells its drivers. */
import { expect, type Rule, skip } from '../../report.ts'
import { newId } from '../plugin.ts'
import { makeEndpoint, makeNetwork, needs, removeEndpoint, removeNetwork, type Subject, withNetwork } from '../stage.ts'

async function capabilities(subject: Subject): Promise<any> {
  needs(subject, 'NetworkDriver')
  return subject.plugin.ok('NetworkDriver.GetCapabilities')
}

/** Of a driver of scope global, as the allocator of a swarm's manager calls it. */
async function allocation(subject: Subject): Promise<{ request: any; NetworkID: string }> {
  needs(subject, 'NetworkDriver')
  if (subject.scope !== 'global') skip('the scope of the driver is local: no swarm calls it')
  const NetworkID = newId().slice(0, 25)
  const data = [{ AddressSpace: '', Pool: subject.nextSubnet(), Gateway: '' }]
  return { NetworkID, request: { NetworkID, Options: subject.options, IPv4Data: data, IPv6Data: null } }
}

const node = (more: object) => ({ DiscoveryType: 1, DiscoveryData: { Address: '192.0.2.7', ...more } })

export const networkRules: readonly Rule<Subject>[] = [
  {
    id: 'CAP-1',
    section: 'remote.md, Set capability',
    text: 'the scope is "local" or "global": with anything else the driver is not registered',
    prove: async (subject) => {
      const { Scope } = await capabilities(subject)
      expect(Scope === 'local' || Scope === 'global', `Scope is ${JSON.stringify(Scope)}`)
    },
  },
  {
    id: 'CAP-2',
    section: 'remote.md, Set capability',
    text: 'the scope of its connectivity is "local", "global" or left out, and whether it judges gateways is a boolean',
    prove: async (subject) => {
      const { ConnectivityScope = '', GwAllocChecker = false } = await capabilities(subject)
      expect(['', 'local', 'global'].includes(ConnectivityScope), `ConnectivityScope is ${JSON.stringify(ConnectivityScope)}`)
      expect(typeof GwAllocChecker === 'boolean', `GwAllocChecker is ${JSON.stringify(GwAllocChecker)}`)
    },
  },
  {
    id: 'CAP-3',
    section: 'drivers/remote/api, GwAllocCheckerResponse',
    text: 'a driver that judges gateways says for each family whether the engine is to reserve none',
    prove: async (subject) => {
      const { GwAllocChecker = false } = await capabilities(subject)
      if (!GwAllocChecker) skip('the driver does not judge gateways')
      const Options = { 'com.docker.network.enable_ipv4': true, 'com.docker.network.generic': subject.options }
      const { SkipIPv4 = false, SkipIPv6 = false } = await subject.plugin.ok('NetworkDriver.GwAllocCheck', { Options })
      expect(typeof SkipIPv4 === 'boolean' && typeof SkipIPv6 === 'boolean', `SkipIPv4 is ${SkipIPv4}, SkipIPv6 is ${SkipIPv6}`)
    },
  },
  {
    id: 'NET-1',
    section: 'remote.md, Create network',
    text: 'a network with an IPv4 pool is created',
    prove: (subject) => withNetwork(subject, async () => {}),
  },
  {
    id: 'NET-2',
    section: 'remote.md, Create network',
    text: 'a network that no container leaves (--internal) is created',
    prove: (subject) => withNetwork(subject, async () => {}, { internal: true }),
  },
  {
    id: 'NET-3',
    section: 'cluster/executor, CreateManagedNetwork',
    text: 'a network that is there is created again with success: a node of a swarm does so whenever its engine starts',
    prove: (subject) => withNetwork(subject, ({ request }) => subject.plugin.ok('NetworkDriver.CreateNetwork', request)),
  },
  {
    id: 'NET-4',
    section: 'remote.md, Create network',
    text: 'several networks are created at once and are there side by side',
    prove: async (subject) => {
      const made = await Promise.allSettled(Array.from({ length: 4 }, () => makeNetwork(subject)))
      const nets = made.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
      try {
        for (const one of made) if (one.status === 'rejected') throw one.reason
        for (const net of nets) await removeEndpoint(subject, net, await makeEndpoint(subject, net))
      } finally {
        for (const net of nets) await removeNetwork(subject, net)
      }
    },
  },
  {
    id: 'NET-5',
    section: 'remote.md, Create network',
    text: 'a pool that is none is refused, and the network is not there then',
    prove: async (subject) => {
      needs(subject, 'NetworkDriver')
      const { plugin } = subject
      const ids = { NetworkID: newId(), EndpointID: newId() }
      const Options = { 'com.docker.network.generic': subject.options }
      const data = [{ AddressSpace: '', Pool: '10.0.0.0/99', Gateway: '10.0.0.1/99' }]
      await plugin.refused('NetworkDriver.CreateNetwork', { NetworkID: ids.NetworkID, Options, IPv4Data: data, IPv6Data: [] }, 'with the pool 10.0.0.0/99')
      const Interface = { Address: '10.0.0.2/24', AddressIPv6: '', MacAddress: '' }
      await plugin.refused('NetworkDriver.CreateEndpoint', { ...ids, Interface, Options: {} }, 'on a network that was refused')
    },
  },
  {
    id: 'NET-6',
    section: 'remote.md, Delete network',
    text: 'a network is deleted, and takes no endpoint then',
    prove: async (subject) => {
      const net = await makeNetwork(subject)
      await removeNetwork(subject, net)
      const Interface = { Address: net.gateway.replace(/\.\d+\//, '.77/'), AddressIPv6: '', MacAddress: '' }
      const ids = { NetworkID: net.NetworkID, EndpointID: newId() }
      await subject.plugin.refused('NetworkDriver.CreateEndpoint', { ...ids, Interface, Options: {} }, 'on a network that was deleted')
    },
  },
  {
    id: 'NET-7',
    section: 'remote.md, Delete network',
    text: 'deleting a network again, or one that never was, succeeds: the engine has forgotten it whatever is answered',
    prove: async (subject) => {
      const net = await makeNetwork(subject)
      await removeNetwork(subject, net)
      for (const NetworkID of [net.NetworkID, newId()]) await subject.plugin.ok('NetworkDriver.DeleteNetwork', { NetworkID })
    },
  },
  {
    id: 'NET-8',
    section: 'remote.md, Delete network',
    text: 'what a deleted network had is free: a network with the same pool, and one with the same id, are created',
    prove: async (subject) => {
      const net = await makeNetwork(subject)
      await removeNetwork(subject, net)
      await withNetwork(subject, async () => {}, { prefix: net.prefix })
      await withNetwork(subject, async () => {}, { NetworkID: net.NetworkID })
    },
  },
  {
    id: 'DISC-1',
    section: 'remote.md, DiscoverNew Notification',
    text: 'a node that joins is answered with success, with the fields of the documentation and with those of the engine, and again',
    prove: async (subject) => {
      needs(subject, 'NetworkDriver')
      const engine = { BindAddress: '192.0.2.7', Self: true }
      for (const more of [engine, { ...engine, Self: false }, engine, { self: true }]) await subject.plugin.ok('NetworkDriver.DiscoverNew', node(more))
    },
  },
  {
    id: 'DISC-2',
    section: 'remote.md, DiscoverDelete Notification',
    text: 'a node that leaves is answered with success, also one that never joined',
    prove: async (subject) => {
      needs(subject, 'NetworkDriver')
      for (const Address of ['192.0.2.7', '192.0.2.7', '192.0.2.99'])
        await subject.plugin.ok('NetworkDriver.DiscoverDelete', node({ Address, BindAddress: '', Self: false }))
    },
  },
  {
    id: 'SWARM-1',
    section: 'drivers/remote/api, AllocateNetworkResponse',
    text: 'AllocateNetwork answers text by name, with what the user gave in it: it takes the place of the options',
    prove: async (subject) => {
      const { request, NetworkID } = await allocation(subject)
      const { Options } = await subject.plugin.ok('NetworkDriver.AllocateNetwork', request)
      await subject.plugin.ok('NetworkDriver.FreeNetwork', { NetworkID })
      const lost = Object.entries(subject.options).find(([name, value]) => Options?.[name] !== value)
      expect(lost === undefined, `the option ${lost?.[0]} is lost`)
      expect(
        typeof Options === 'object' && Options !== null && Object.values(Options).every((value) => typeof value === 'string'),
        `Options is ${JSON.stringify(Options)}`,
      )
    },
  },
  {
    id: 'SWARM-2',
    section: 'drivers/remote/api, AllocateNetworkRequest',
    text: 'AllocateNetwork of the same network, with its own answer, answers the same: a new leader repeats it',
    prove: async (subject) => {
      const { request, NetworkID } = await allocation(subject)
      const first = (await subject.plugin.ok('NetworkDriver.AllocateNetwork', request)).Options
      const again = (await subject.plugin.ok('NetworkDriver.AllocateNetwork', { ...request, Options: first })).Options
      await subject.plugin.ok('NetworkDriver.FreeNetwork', { NetworkID })
      expect(JSON.stringify(first) === JSON.stringify(again), `first ${JSON.stringify(first)}, then ${JSON.stringify(again)}`)
    },
  },
  {
    id: 'SWARM-3',
    section: 'drivers/remote/api, FreeNetworkRequest',
    text: 'FreeNetwork succeeds, also again and for a network that never was: else the manager releases no pool',
    prove: async (subject) => {
      const { request, NetworkID } = await allocation(subject)
      await subject.plugin.ok('NetworkDriver.AllocateNetwork', request)
      for (const id of [NetworkID, NetworkID, newId()]) await subject.plugin.ok('NetworkDriver.FreeNetwork', { NetworkID: id })
    },
  },
  {
    id: 'SWARM-4',
    section: 'cluster/executor, CreateManagedNetwork',
    text: 'a node creates the network with the options that AllocateNetwork answered, again and again, and deletes it before it is freed',
    prove: async (subject) => {
      const { request, NetworkID } = await allocation(subject)
      const { Options } = await subject.plugin.ok('NetworkDriver.AllocateNetwork', request)
      const onNode = { NetworkID, Options: { 'com.docker.network.generic': Options }, IPv4Data: request.IPv4Data, IPv6Data: [] }
      for (let start = 0; start < 2; start++) await subject.plugin.ok('NetworkDriver.CreateNetwork', onNode)
      for (let stop = 0; stop < 2; stop++) await subject.plugin.ok('NetworkDriver.DeleteNetwork', { NetworkID })
      await subject.plugin.ok('NetworkDriver.CreateNetwork', onNode)
      await subject.plugin.ok('NetworkDriver.DeleteNetwork', { NetworkID })
      await subject.plugin.ok('NetworkDriver.FreeNetwork', { NetworkID })
    },
  },
]
