/** Pools and addresses. */
import { isIP } from 'node:net'
import { expect, type Rule, skip } from '../../report.ts'
import {
  bare,
  expectAddressIn,
  gatewayType,
  hostOf,
  isCidr,
  isIn,
  needs,
  type Pool,
  releaseAddress,
  requestAddress,
  requestPool,
  type Subject,
  withPool,
} from '../stage.ts'

/** All addresses that a pool gives, until it refuses. */
async function drain(subject: Subject, { PoolID }: Pool, limit: number): Promise<string[]> {
  const given: string[] = []
  while (given.length <= limit) {
    const { status, json } = await subject.plugin.call('IpamDriver.RequestAddress', { PoolID, Address: '', Options: null })
    if (status !== 200 || json?.Error) return given
    given.push(json.Address)
  }
  return given
}

const small = (subject: Subject) => subject.nextSubnet().replace('/24', '/29')

export const ipamRules: readonly Rule<Subject>[] = [
  {
    id: 'IPAM-1',
    section: 'ipam.md, GetCapabilities',
    text: 'the capabilities are booleans, or there are none',
    prove: async (subject) => {
      needs(subject, 'IpamDriver')
      const { status, json } = await subject.plugin.call('IpamDriver.GetCapabilities')
      if (status !== 200) return
      for (const name of ['RequiresMACAddress', 'RequiresRequestReplay'])
        expect(['boolean', 'undefined'].includes(typeof json?.[name]), `${name} is ${JSON.stringify(json?.[name])}`)
    },
  },
  {
    id: 'IPAM-2',
    section: 'ipam.md, GetDefaultAddressSpaces',
    text: 'there is a default address space for local and one for global networks, the same each time',
    prove: async (subject) => {
      needs(subject, 'IpamDriver')
      const spaces = async () => subject.plugin.ok('IpamDriver.GetDefaultAddressSpaces')
      const [first, second] = [await spaces(), await spaces()]
      for (const name of ['LocalDefaultAddressSpace', 'GlobalDefaultAddressSpace']) {
        expect(typeof first[name] === 'string' && first[name] !== '', `${name} is ${JSON.stringify(first[name])}`)
        expect(first[name] === second[name], `${name} is first ${first[name]}, then ${second[name]}`)
      }
    },
  },
  {
    id: 'POOL-1',
    section: 'ipam.md, RequestPool',
    text: 'a pool that is asked for by its prefix is answered with it, with an id, and with data that are text',
    prove: async (subject) => {
      const prefix = subject.nextSubnet()
      await withPool(
        subject,
        async ({ PoolID, Pool, Data }) => {
          expect(typeof PoolID === 'string' && PoolID !== '', `PoolID is ${JSON.stringify(PoolID)}`)
          expect(Pool === prefix, `Pool is ${Pool}, not ${prefix}`)
          expect(
            Object.values(Data).every((value) => typeof value === 'string'),
            `Data is ${JSON.stringify(Data)}`,
          )
        },
        { Pool: prefix },
      )
    },
  },
  {
    id: 'POOL-2',
    section: 'ipam.md, RequestPool',
    text: 'identical requests have the same result',
    prove: (subject) =>
      withPool(subject, async ({ PoolID, Pool }) => {
        const again = await requestPool(subject, { Pool })
        expect(again.PoolID === PoolID, `first ${PoolID}, then ${again.PoolID}`)
      }),
  },
  {
    id: 'POOL-3',
    section: 'ipam.md, RequestPool',
    text: 'without a prefix the driver chooses an IPv4 pool, another one each time: the engine asks until it finds one that overlaps nothing of the host',
    prove: (subject) =>
      withPool(
        subject,
        (first) =>
          withPool(
            subject,
            async (second) => {
              for (const { Pool } of [first, second]) expect(isCidr(Pool) && isIP(bare(Pool)) === 4, `Pool is ${JSON.stringify(Pool)}`)
              expect(first.Pool !== second.Pool && first.PoolID !== second.PoolID, `it is ${first.Pool} twice`)
            },
            { Pool: '' },
          ),
        { Pool: '' },
      ),
  },
  {
    id: 'POOL-4',
    section: 'ipam.md, RequestPool',
    text: 'without a prefix and with V6 the driver chooses an IPv6 pool, or refuses',
    prove: async (subject) => {
      needs(subject, 'IpamDriver')
      const request = { AddressSpace: 'any', Pool: '', SubPool: '', Options: null, V6: true }
      const spaces = await subject.plugin.ok('IpamDriver.GetDefaultAddressSpaces')
      const { status, json } = await subject.plugin.call('IpamDriver.RequestPool', { ...request, AddressSpace: spaces.LocalDefaultAddressSpace })
      if (status !== 200 || json?.Error) skip('the driver chooses no IPv6 pools')
      await subject.plugin.ok('IpamDriver.ReleasePool', { PoolID: json.PoolID })
      expect(isCidr(json.Pool) && isIP(bare(json.Pool)) === 6, `Pool is ${JSON.stringify(json.Pool)}`)
    },
  },
  {
    id: 'POOL-5',
    section: 'ipam.md, RequestPool',
    text: 'what is no prefix, and a part of a pool that is not named, are refused',
    prove: async (subject) => {
      needs(subject, 'IpamDriver')
      const spaces = await subject.plugin.ok('IpamDriver.GetDefaultAddressSpaces')
      const request = { AddressSpace: spaces.LocalDefaultAddressSpace, SubPool: '', Options: null, V6: false }
      for (const Pool of ['10.0.0.0/99', 'ten']) await subject.plugin.refused('IpamDriver.RequestPool', { ...request, Pool }, `for the pool ${Pool}`)
      await subject.plugin.refused('IpamDriver.RequestPool', { ...request, Pool: '', SubPool: '10.211.0.0/25' }, 'for a part of no pool')
    },
  },
  {
    id: 'POOL-6',
    section: 'ipam.md, RequestPool',
    text: 'with a part of the pool (--ip-range) free addresses come from it, and one outside it is given to who names it',
    prove: async (subject) => {
      const prefix = subject.nextSubnet()
      const part = `${hostOf(prefix, 128)}/28`
      await withPool(
        subject,
        async ({ PoolID }) => {
          for (let n = 0; n < 3; n++) {
            const address = await requestAddress(subject, PoolID)
            expect(isIn(part, address), `${address} is outside ${part}`)
          }
          expect(bare(await requestAddress(subject, PoolID, hostOf(prefix, 9))) === hostOf(prefix, 9), 'another address is given')
        },
        { Pool: prefix, SubPool: part },
      )
    },
  },
  {
    id: 'POOL-7',
    section: 'ipam.md, ReleasePool',
    text: 'releasing a pool succeeds, also again, and for one that never was',
    prove: async (subject) => {
      needs(subject, 'IpamDriver')
      const { PoolID } = await requestPool(subject, { Pool: subject.nextSubnet() })
      for (const id of [PoolID, PoolID, 'there-is-no-such-pool']) await subject.plugin.ok('IpamDriver.ReleasePool', { PoolID: id })
    },
  },
  {
    id: 'POOL-8',
    section: 'network.go, ipamAllocateVersion',
    text: 'a released pool can be had again with all its addresses: when an address fails, the engine releases the pool alone',
    prove: async (subject) => {
      needs(subject, 'IpamDriver')
      const prefix = small(subject)
      const first = await requestPool(subject, { Pool: prefix })
      const had = await drain(subject, first, 8)
      await subject.plugin.ok('IpamDriver.ReleasePool', { PoolID: first.PoolID })
      await withPool(
        subject,
        async (again) => {
          const has = await drain(subject, again, 8)
          expect(has.length === had.length && had.length > 0, `first ${had.length} addresses, then ${has.length}`)
        },
        { Pool: prefix },
      )
    },
  },
  {
    id: 'ADDR-1',
    section: 'ipam.md, RequestAddress',
    text: "an address is answered in CIDR form, inside the pool, with the pool's length or as a host",
    prove: (subject) =>
      withPool(subject, async ({ PoolID, Pool }) => {
        const address = await requestAddress(subject, PoolID)
        expectAddressIn(Pool, address)
        expect(/\/(24|32)$/.test(address), `${address} has neither /24 nor /32`)
      }),
  },
  {
    id: 'ADDR-2',
    section: 'ipam.md, RequestAddress',
    text: 'no address is given twice, nor the network address, the broadcast address or the gateway: a pool of eight gives five at most',
    prove: (subject) =>
      withPool(
        subject,
        async (pool) => {
          const gateway = pool.Data['com.docker.network.gateway'] ?? (await requestAddress(subject, pool.PoolID, '', gatewayType))
          const given = (await drain(subject, pool, 8)).map(bare)
          expect(new Set(given).size === given.length && given.length > 0, `it gives ${given.join(' ')}`)
          for (const barred of [hostOf(pool.Pool, 0), hostOf(pool.Pool, 7), bare(gateway)]) expect(!given.includes(barred), `it gives ${barred}`)
        },
        { Pool: subject.nextSubnet().replace('/24', '/29') },
      ),
  },
  {
    id: 'ADDR-3',
    section: 'ipam.md, RequestAddress',
    text: 'thirty-two requests at once get thirty-two addresses',
    prove: (subject) =>
      withPool(subject, async ({ PoolID }) => {
        const given = await Promise.all(Array.from({ length: 32 }, () => requestAddress(subject, PoolID)))
        expect(new Set(given).size === 32, `they get ${new Set(given).size}`)
      }),
  },
  {
    id: 'ADDR-4',
    section: 'ipam.md, RequestAddress',
    text: 'a required address is given, and is refused to the next who requires it',
    prove: (subject) =>
      withPool(subject, async ({ PoolID, Pool }) => {
        const wanted = hostOf(Pool, 77)
        const address = await requestAddress(subject, PoolID, wanted)
        expect(bare(address) === wanted, `it gives ${address}, not ${wanted}`)
        await subject.plugin.refused('IpamDriver.RequestAddress', { PoolID, Address: wanted, Options: null }, `twice for ${wanted}`)
      }),
  },
  {
    id: 'ADDR-5',
    section: 'ipam.md, RequestAddress',
    text: 'an address that cannot be is refused: outside the pool, or none at all',
    prove: (subject) =>
      withPool(subject, async ({ PoolID }) => {
        for (const Address of ['192.0.2.1', 'ten'])
          await subject.plugin.refused('IpamDriver.RequestAddress', { PoolID, Address, Options: null }, `for ${Address}`)
      }),
  },
  {
    id: 'ADDR-6',
    section: 'ipam.md, RequestAddress',
    text: 'an address of a pool that is not there is refused',
    prove: async (subject) => {
      needs(subject, 'IpamDriver')
      await subject.plugin.refused('IpamDriver.RequestAddress', { PoolID: 'there-is-no-such-pool', Address: '', Options: null }, 'for a pool that never was')
    },
  },
  {
    id: 'ADDR-7',
    section: 'ipam.md, RequestAddress',
    text: 'a pool that has no address left refuses, and gives the one that is released',
    prove: (subject) =>
      withPool(
        subject,
        async (pool) => {
          const given = await drain(subject, pool, 8)
          expect(given.length <= 8 && given.length > 0, `a pool of eight gives ${given.length} addresses`)
          const [last = ''] = given.slice(-1)
          await releaseAddress(subject, pool.PoolID, last)
          const again = await requestAddress(subject, pool.PoolID)
          expect(again === last, `it gives ${again}, not ${last}`)
        },
        { Pool: small(subject) },
      ),
  },
  {
    id: 'ADDR-8',
    section: 'ipam.md, ReleaseAddress',
    text: 'a released address can be required again',
    prove: (subject) =>
      withPool(subject, async ({ PoolID }) => {
        const address = await requestAddress(subject, PoolID)
        await releaseAddress(subject, PoolID, address)
        const again = await requestAddress(subject, PoolID, bare(address))
        expect(again === address, `it gives ${again}, not ${address}`)
      }),
  },
  {
    id: 'ADDR-9',
    section: 'ipam.md, ReleaseAddress',
    text: 'releasing succeeds for an address that was released, that nobody had, of the gateway, and of a pool that is not there',
    prove: (subject) =>
      withPool(subject, async ({ PoolID, Pool }) => {
        const gateway = await requestAddress(subject, PoolID, hostOf(Pool, 1), gatewayType)
        const address = await requestAddress(subject, PoolID)
        for (const one of [address, address, hostOf(Pool, 200), gateway]) await releaseAddress(subject, PoolID, one)
        await releaseAddress(subject, 'there-is-no-such-pool', address)
      }),
  },
  {
    id: 'ADDR-10',
    section: 'ipam.md, IPAM Configuration and flow',
    text: 'the gateway is the address that is required (--gateway), and no endpoint gets it',
    prove: (subject) =>
      withPool(subject, async ({ PoolID, Pool }) => {
        const wanted = hostOf(Pool, 2)
        const gateway = await requestAddress(subject, PoolID, wanted, gatewayType)
        expect(bare(gateway) === wanted, `it is ${gateway}, not ${wanted}`)
        const given = await Promise.all(Array.from({ length: 8 }, () => requestAddress(subject, PoolID)))
        expect(!given.map(bare).includes(wanted), `an endpoint gets ${wanted}`)
      }),
  },
  {
    id: 'ADDR-11',
    section: 'ipam.md, RequestAddress',
    text: 'an IPv6 pool gives IPv6 addresses',
    prove: async (subject) => {
      needs(subject, 'IpamDriver')
      const third = subject.nextSubnet().split('.')[2]
      await withPool(subject, async ({ PoolID, Pool }) => expectAddressIn(Pool, await requestAddress(subject, PoolID)), { Pool: `fd53:7::${third}:0/112` })
    },
  },
]
