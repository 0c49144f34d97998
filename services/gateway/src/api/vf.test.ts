import { type Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { CreateNetworkRequest, Failure, HeddleClient, HeddleSetVfsRequest, PutVfPoolRequest, type WhoHasResponse } from '@heddle/contract'
import anyTest, { type TestFn } from 'ava'
import { startGateway, type TestGateway } from '../testing/gateway.ts'
import { addBlue, addEnv, blueConfig } from '../testing/networks.ts'
import { failureTrailer } from './service.ts'

const test = anyTest as TestFn<{ gateway: TestGateway; ask: <T = any>(method: keyof HeddleClient, request: object) => Promise<T>; client: HeddleClient }>

test.beforeEach(async (t) => {
  const gateway = await startGateway()
  const client = new HeddleClient(`unix:${gateway.sockets.api}`, credentials.createInsecure())
  const ask = <T>(method: keyof HeddleClient, request: object) =>
    new Promise<T>((resolve, reject) => {
      const send = client[method] as (request: object, metadata: Metadata, done: (error: ServiceError | null, response: T) => void) => void
      send.call(client, request, new Metadata(), (error, response) => (error === null ? resolve(response) : reject(error)))
    })
  t.context = { gateway, client, ask }
  gateway.cluster.vfs.addPf('eth0', 4)
})
test.afterEach.always(async (t) => {
  ;(t.context.client as Client).close()
  await t.context.gateway.stop()
})

const failureOf = async (promise: Promise<unknown>) => {
  const error = (await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )) as ServiceError
  return Failure.decode(error.metadata.get(failureTrailer)[0] as Buffer)
}

/** A container on a VF of its own, and the VF's PCI address. */
async function attached({ gateway, ask }: { gateway: TestGateway; ask: (method: keyof HeddleClient, request: object) => Promise<any> }): Promise<string> {
  await ask(
    'createNetwork',
    CreateNetworkRequest.fromPartial({
      name: 'fast',
      kind: 'sriov',
      sriov: { selector: { pfNames: ['eth0'] }, settings: { vlan: 100 } },
      subnets: [{ prefix: '10.9.0.0/24' }],
    }),
  )
  const result = await gateway.cni(addEnv, { cniVersion: '1.1.0', name: 'fast', type: 'heddle' })
  const { vfs } = await ask('listVfs', { host: '', pf: '', pool: '' })
  const pci = vfs.find((one: any) => one.vf.claim !== undefined)?.vf.pci
  if (pci === undefined) throw new Error(`nobody holds a VF after ${JSON.stringify(result)}`)
  return pci
}

test('the VFs are listed with who holds each, and narrowed by PF and host', async (t) => {
  const pci = await attached(t.context)
  const { vfs } = await t.context.ask('listVfs', { host: '', pf: '', pool: '' })
  t.is(vfs.length, 4)
  t.like(
    vfs.find((one: any) => one.vf.pci === pci),
    { vf: { pfName: 'eth0' }, endpoint: { containerId: 'c1', networkName: 'fast' } },
  )
  t.true(vfs.filter((one: any) => one.vf.pci !== pci).every((one: any) => one.endpoint === undefined))
  t.deepEqual(await t.context.ask('listVfs', { host: '', pf: 'eth9', pool: '' }), { vfs: [] })
  t.deepEqual(await t.context.ask('listVfs', { host: 'h9', pf: '', pool: '' }), { vfs: [] })
  t.like(await t.context.ask('listPfs', { host: '' }), { pfs: [{ names: ['eth0'], totalVfs: 7 }] })
})

test('a VF is shown as recorded and as its kernel has it', async (t) => {
  const pci = await attached(t.context)
  t.like(await t.context.ask('getVf', { host: '', pci }), { vf: { vf: { pci }, endpoint: { containerId: 'c1' } }, kernel: { vf: { pci } } })
  t.like(await failureOf(t.context.ask('getVf', { host: '', pci: '0000:ff:00.1' })), { code: 'vf-unknown', field: 'pci' })
  t.like(await failureOf(t.context.ask('getVf', { host: '', pci: '' })), { code: 'invalid-argument', field: 'pci' })
})

test('a pool is made, listed with its usage, and deleted', async (t) => {
  const { ask } = t.context
  const request = PutVfPoolRequest.fromPartial({ pool: { name: 'fast', selectors: [{ pfNames: ['eth0#0-1'] }] }, createOnly: true })
  t.like(await ask('putVfPool', request), { created: true, pool: { name: 'fast' } })
  t.like(await ask('listVfPools', { name: '' }), { pools: [{ pool: { name: 'fast' }, claimed: 0 }] })
  t.deepEqual(await ask('deleteVfPool', { name: 'fast' }), { existed: true })
  t.deepEqual(await ask('listVfPools', { name: '' }), { pools: [] })
  t.like(await failureOf(ask('putVfPool', { pool: undefined, createOnly: true })), { code: 'invalid-argument', field: 'pool' })
})

test('who has an address, a MAC, a VF or a container is found by its shape', async (t) => {
  const { ask, gateway } = t.context
  const pci = await attached(t.context)
  addBlue(gateway.cluster)
  await gateway.cni({ ...addEnv, CNI_CONTAINERID: 'c2' }, blueConfig)
  const endpoints = [...gateway.cluster.endpoints.values()]
  const fast = endpoints.find((one) => one.networkName === 'fast')
  const blue = endpoints.find((one) => one.networkName === 'blue')
  const whoHas = (query: string) => ask<WhoHasResponse>('whoHas', { query })

  t.like(await whoHas(pci.toUpperCase()), { askedAs: 'pci', endpoints: [{ id: fast?.id }], vfs: [{ pci }] })
  t.like(await whoHas(fast?.addresses[0]?.split('/')[0] ?? ''), { askedAs: 'address', endpoints: [{ id: fast?.id }], vfs: { 0: { pci }, length: 1 } })
  t.like(await whoHas('10.1.0.2'), { askedAs: 'address', endpoints: [{ id: blue?.id }], claims: [{ owner: blue?.id }], vfs: [] })
  t.like(await whoHas('fd00:0::2'), { askedAs: 'address', endpoints: [{ id: blue?.id }] })
  t.like(await whoHas(fast?.mac.toUpperCase() ?? ''), { askedAs: 'mac', endpoints: [{ id: fast?.id }], vfs: { 0: { pci }, length: 1 } })
  t.like(await whoHas('c1'), { askedAs: 'container', endpoints: [{ id: fast?.id }], vfs: [{ pci }] })
  t.is((await whoHas('c')).endpoints.length, 2, 'the beginning of an id')
  for (const query of ['10.1.0.77', '02:00:00:00:00:99', '0000:ff:00.0', 'nobody'])
    t.like(await failureOf(whoHas(query)), { code: 'endpoint-unknown', field: 'query' }, query)
  t.like(await failureOf(whoHas(' ')), { code: 'invalid-argument', field: 'query' })
})

test('making VFs and repairing them is asked of the hands of the host', async (t) => {
  const { ask } = t.context
  t.like(await failureOf(ask('setVfs', { host: '', pf: '', count: 2 })), { code: 'invalid-argument', field: 'pf' })
  t.true(Array.isArray((await ask('repairVfs', { host: '', pci: '' })).repairs))
})

test('VFs are made for as long as the client waits, whatever other calls may take', async (t) => {
  const gateway = await startGateway({ api: { timeoutMs: 200 } })
  const client = new HeddleClient(`unix:${gateway.sockets.api}`, credentials.createInsecure())
  t.teardown(async () => {
    client.close()
    await gateway.stop()
  })
  const slowDriver = Promise.withResolvers<void>()
  gateway.cluster.faults.set('wiring.setVfs', slowDriver.promise)
  gateway.cluster.faults.set('vfAllocator.listPfs', 'hang')
  const made = new Promise((resolve) => client.setVfs(HeddleSetVfsRequest.fromPartial({ pf: 'eth0', count: 2 }), (error) => resolve(error)))
  const other = await new Promise<ServiceError | null>((resolve) => client.listPfs({ host: '' }, (error) => resolve(error)))
  t.is(other?.code, status.DEADLINE_EXCEEDED, 'begun after it')
  slowDriver.resolve()
  t.is(await made, null)
})
