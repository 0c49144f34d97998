import { Endpoint, Network, NetworksDefinition } from '@heddle/contract'
import { allPages, maxPageBytes, withCall } from '@heddle/core'
import { MemoryStore } from '@heddle/store'
import test from 'ava'
import pino from 'pino'
import { networksHandlers } from './handlers.ts'
import { keys } from './keys.ts'
import { NetworksRepo } from './repo.ts'

const pad = (n: number) => String(n).padStart(5, '0')

test('lists larger than a message of the bus come page by page, whole and in order, and filtered as a whole', async (t) => {
  const store = new MemoryStore()
  const repo = new NetworksRepo(store, pino({ level: 'silent' }))
  await repo.ready
  const { listNetworks, listEndpoints } = networksHandlers(repo)
  const write = Array.from({ length: 3_000 }, (_, n) => {
    const network = Network.fromPartial({ id: `id-${pad(n)}`, name: `net-${pad(3_000 - n)}`, options: { note: 'x'.repeat(300) } })
    const endpoint = Endpoint.fromPartial({ id: `e-${pad(n)}`, networkId: `id-${pad(n % 2)}`, host: `h${n % 3}`, sandbox: 'y'.repeat(400) })
    return [
      { put: keys.network(network.id), value: JSON.stringify(Network.toJSON(network)) },
      { put: keys.endpoint(endpoint.networkId, endpoint.id), value: JSON.stringify(Endpoint.toJSON(endpoint)) },
    ]
  }).flat()
  await withCall({ timeoutMs: 60_000 }, async (call) => {
    for (let from = 0; from < write.length; from += 100) await store.commit({ when: [], write: write.slice(from, from + 100) }, call)
    const fits = <T>(codec: { encode(message: T): { finish(): Uint8Array } }, message: T) =>
      t.true(codec.encode(message).finish().length <= maxPageBytes + 10_000)
    const networks = await allPages(
      async (pageToken) => {
        const { networks: page = [], nextPageToken = '' } = await listNetworks({ pageToken }, call)
        const answer = { networks: page as Network[], nextPageToken }
        fits(NetworksDefinition.methods.listNetworks.responseType, answer)
        return answer
      },
      (page) => page.networks,
    )
    t.deepEqual(
      networks.map(({ name }) => name),
      Array.from({ length: 3_000 }, (_, n) => `net-${pad(n + 1)}`),
    )
    const endpoints = (filter: object) =>
      allPages(
        async (pageToken) => {
          const { endpoints: page = [], nextPageToken = '' } = await listEndpoints({ id: '', networkId: '', host: '', ...filter, pageToken }, call)
          const answer = { endpoints: page as Endpoint[], nextPageToken }
          fits(NetworksDefinition.methods.listEndpoints.responseType, answer)
          return answer
        },
        (page) => page.endpoints,
      )
    t.deepEqual(
      (await endpoints({})).map(({ id }) => id),
      Array.from({ length: 3_000 }, (_, n) => `e-${pad(n)}`),
    )
    t.is((await endpoints({ host: 'h1' })).length, 1_000)
    t.is((await endpoints({ networkId: 'id-00001', host: 'h2' })).length, 500)
    t.is((await endpoints({ id: 'e-00042' })).length, 1)
  })
  await repo.close()
})
