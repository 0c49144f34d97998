/** What a real kernel does not do on demand: refusals in the middle, brains that are silent. On a kernel in memory. */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, MemoryBus, MemoryHub } from '@heddle/bus'
import { busServices, Endpoint, type WiringDefinition } from '@heddle/contract'
import { macOf, randomId } from '@heddle/core'
import { createRuntime } from '@heddle/runtime'
import test, { type ExecutionContext } from 'ava'
import { wiringConfig } from './config.ts'
import { bridgeRules } from './domain/nft-rules.ts'
import { fabricPath, wiringService } from './main.ts'
import { NftTable } from './nft-table.ts'
import { FakeBrains } from './testing/fake-brains.ts'
import { FakeKernel } from './testing/fake-kernel.ts'
import { until, within } from './testing/lab.ts'

interface Setup {
  readonly kernel: FakeKernel
  readonly brains: FakeBrains
  readonly wiring: Client<WiringDefinition>
  readonly fabric: string
  stop(): Promise<void>
}

async function setUp(t: ExecutionContext): Promise<Setup> {
  const hub = new MemoryHub()
  const brains = await new FakeBrains(hub).start()
  const kernel = new FakeKernel('/ns/c')
  kernel.uplink('eth0', '192.0.2.1/24')
  const config = wiringConfig.parse({ runDir: join(tmpdir(), `heddle-fake-${randomId()}`), underlay: { interface: 'eth0' } })
  const runtime = createRuntime({ name: 'netns-wiring', host: 'a', version: 'test', log: { level: 'silent', pretty: false } })
  wiringService.build(runtime, { bus: new MemoryBus({ hub }), kernel }, config)
  await runtime.start()
  t.teardown(() => runtime.stop())
  return { kernel, brains, wiring: new MemoryBus({ hub }).client(busServices.wiring, 'a'), fabric: fabricPath(config), stop: () => runtime.stop() }
}

const endpoint = Endpoint.fromPartial({
  id: 'e1',
  networkId: 'blue',
  host: 'a',
  mac: macOf('e1'),
  addresses: ['10.0.0.2/24'],
  sandbox: '/ns/c',
  interfaceName: 'eth0',
})
const blue = (brains: FakeBrains) => brains.network({ id: 'blue', kind: 'overlay', vni: 4097 })

test('an attach that is refused in the middle takes back the link it made, and says what was refused', async (t) => {
  const { kernel, brains, wiring, fabric } = await setUp(t)
  kernel.refusals.set('route.replace', ['ENETUNREACH'])
  kernel.refusals.set('address.replace', ['EINVAL'])
  const error = await t.throwsAsync(within((call) => wiring.attach({ network: blue(brains), endpoint }, call)))
  t.like(error, { code: 'kernel-refused', details: { operation: 'address.replace', errno: 'EINVAL' } })
  t.is([...(kernel.namespaces.get('/ns/c')?.links.keys() ?? [])].length, 0)
  t.is([...(kernel.namespaces.get(fabric)?.links.keys() ?? [])].filter((name) => name.startsWith('hd')).length, 0)
})

test('an attach that finds its bridge gone makes the network again and goes on', async (t) => {
  const { kernel, brains, wiring } = await setUp(t)
  kernel.refusals.set('veth.add', ['ENODEV'])
  await within((call) => wiring.attach({ network: blue(brains), endpoint }, call))
  t.true(kernel.namespaces.get('/ns/c')?.links.has('eth0'))
})

test('peers that are refused are tried again until they are there', async (t) => {
  const { kernel, brains, wiring, fabric } = await setUp(t)
  const network = blue(brains)
  brains.hosts.set('b', { name: 'b', vtep: '192.0.2.2', epoch: 'x' })
  brains.put({ id: 'far', networkId: 'blue', host: 'b', mac: macOf('far'), addresses: ['10.0.0.3/24'] })
  kernel.refusals.set('fdb.bridge.replace', ['ENOBUFS', 'ENOBUFS'])
  // The refusals meet the peers or the endpoint's own entry, whichever comes first; a runtime repeats a failed call.
  for (let attempt = 0; attempt < 3; attempt++) {
    const outcome = await within((call) => wiring.attach({ network, endpoint }, call)).catch(() => undefined)
    if (outcome !== undefined) break
  }
  await until('all three entries are there', () => kernel.namespaces.get(fabric)?.entries.filter(({ mac }) => mac === macOf('far')).length === 3)
  t.deepEqual(kernel.listed('heddle-vxlan', 'members4'), ['192.0.2.2 . 4097'])
})

test('an attach succeeds while the overlay service is silent, and its peers follow later', async (t) => {
  const { kernel, brains, wiring, fabric } = await setUp(t)
  const network = blue(brains)
  brains.down = true
  brains.hosts.set('b', { name: 'b', vtep: '192.0.2.2', epoch: 'x' })
  brains.put({ id: 'far', networkId: 'blue', host: 'b', mac: macOf('far'), addresses: ['10.0.0.3/24'] })
  t.is((await within((call) => wiring.attach({ network, endpoint }, call))).interfaceName, 'eth0')
  t.is(kernel.namespaces.get(fabric)?.entries.filter(({ mac }) => mac === macOf('far')).length, 0)
  brains.down = false
  await until('the peer is there', () => kernel.namespaces.get(fabric)?.entries.some(({ mac }) => mac === macOf('far')) ?? false)
})

test('many endpoints at once make their network once', async (t) => {
  const { kernel, brains, wiring } = await setUp(t)
  const network = blue(brains)
  const many = Array.from({ length: 8 }, (_, index) => ({ ...endpoint, id: `m${index}`, mac: macOf(`m${index}`), interfaceName: `eth${index}` }))
  await Promise.all(many.map((one) => within((call) => wiring.attach({ network, endpoint: one }, call))))
  t.is(kernel.writes.filter((write) => write.startsWith('bridge.add')).length, 1)
  t.is(kernel.writes.filter((write) => write.startsWith('vxlan.add')).length, 1)
  t.is(brains.calls.filter((call) => call === 'snapshot').length, 1)
})

test('detaching what never was, or is gone already, succeeds', async (t) => {
  const { kernel, brains, wiring, fabric } = await setUp(t)
  t.false((await within((call) => wiring.detach({ endpointId: 'nobody' }, call))).existed)
  await within((call) => wiring.attach({ network: blue(brains), endpoint }, call))
  kernel.namespaces.delete('/ns/c')
  kernel.namespaces.delete(fabric)
  t.false((await within((call) => wiring.detach({ endpointId: 'e1' }, call))).existed)
})

test('a request that cannot be meant is refused with its field', async (t) => {
  const { brains, wiring } = await setUp(t)
  const network = blue(brains)
  const cases: [string, object][] = [
    ['network', { endpoint }],
    ['endpoint', { network }],
    ['endpoint.mac', { network, endpoint: { ...endpoint, mac: '02:AA:00:00:00:01' } }],
    ['endpoint.sandbox', { network, endpoint: { ...endpoint, sandbox: 'relative' } }],
    ['endpoint.interface_name', { network, endpoint: { ...endpoint, interfaceName: 'much-too-long-a-name' } }],
    ['endpoint.addresses', { network, endpoint: { ...endpoint, addresses: ['10.0.0'] } }],
    ['routes.destination', { network, endpoint, routes: [{ destination: 'default' }] }],
    ['network.kind', { network: { ...network, kind: 'macvlan' }, endpoint }],
  ]
  for (const [field, request] of cases) t.like(await t.throwsAsync(within((call) => wiring.attach(request, call))), { code: 'invalid-argument', field }, field)
})

test('elements nobody asked for go only when everything that is asked for is known', async (t) => {
  const kernel = new FakeKernel()
  const element = (value: string) => ({ key: [{ type: 'ifname' as const, value }] })
  const before = new NftTable(kernel, 'own', bridgeRules())
  before.put('bridges', element('hb1'))
  before.put('bridges', element('hb2'))
  await within((call) => before.flush(call))
  const after = new NftTable(kernel, 'own', bridgeRules())
  after.put('bridges', element('hb1'))
  kernel.writes.length = 0
  await within((call) => after.flush(call))
  await within((call) => after.verify(false, call))
  t.deepEqual(kernel.writes, [])
  await within((call) => after.verify(true, call))
  t.deepEqual(kernel.listed('heddle', 'bridges'), ['hb1'])
})
