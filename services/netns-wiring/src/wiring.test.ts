/** What a real kernel does not do on demand: refusals in the middle, brains that are silent. On a kernel in memory. */
import { Endpoint } from '@heddle/contract'
import { macOf } from '@heddle/core'
import test from 'ava'
import { bridgeName, hostEndName } from './domain/names.ts'
import { bridgeRules } from './domain/nft-rules.ts'
import { NftTable } from './nft-table.ts'
import type { FakeBrains } from './testing/fake-brains.ts'
import { setUp } from './testing/fake-host.ts'
import { FakeKernel } from './testing/fake-kernel.ts'
import { until, within } from './testing/lab.ts'

const endpoint = Endpoint.fromPartial({
  id: 'e1',
  networkId: 'blue',
  host: 'a',
  mac: macOf('e1'),
  addresses: ['10.0.0.2/24'],
  sandbox: '/ns/c',
  interfaceName: 'eth0',
})
const lan = (brains: FakeBrains) => brains.network({ id: 'lan', kind: 'bridge', pools: [{ poolId: 'p', prefix: '10.9.0.0/24', gateway: '10.9.0.1' }] })
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
    ['network.id', { network: { ...network, id: 'a.b' }, endpoint }],
    ['network.kind', { network: { ...network, kind: 'token-ring' }, endpoint }],
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

test('what one caller puts while another one writes is written by the next', async (t) => {
  const kernel = new FakeKernel()
  const element = (value: string) => ({ key: [{ type: 'ifname' as const, value }] })
  const table = new NftTable(kernel, 'own', bridgeRules())
  await within((call) => table.read(call))
  let open = () => {}
  const write = kernel.nftElements.bind(kernel)
  const writing = new Promise<void>((started) => {
    kernel.nftElements = async (...args) => {
      kernel.nftElements = write
      started()
      await new Promise<void>((resolve) => (open = resolve))
      return write(...args)
    }
  })
  table.put('bridges', element('hb1'))
  const first = within((call) => table.flush(call))
  await writing
  table.put('bridges', element('hb2'))
  const second = within((call) => table.flush(call))
  open()
  await Promise.all([first, second])
  t.deepEqual(kernel.listed('heddle', 'bridges'), ['hb1', 'hb2'])

  kernel.refusals.set('nft', ['ENOMEM'])
  table.put('bridges', element('hb3'))
  await t.throwsAsync(within((call) => table.flush(call)))
  await within((call) => table.flush(call))
  t.deepEqual(kernel.listed('heddle', 'bridges'), ['hb1', 'hb2', 'hb3'], 'what was refused is tried again')
})

test('preparing an endpoint that is there in another shape changes nothing; attaching it replaces it', async (t) => {
  const { kernel, brains, wiring } = await setUp(t)
  const network = blue(brains)
  await within((call) => wiring.attach({ network, endpoint }, call))
  const others = [
    { ...endpoint, mac: macOf('another') },
    { ...endpoint, sandbox: '/ns/d' },
  ]
  for (const other of others) {
    const writes = kernel.writes.filter((write) => write.startsWith('remove')).length
    t.true((await within((call) => wiring.prepare({ network, endpoint: other }, call))).existed)
    t.is(kernel.writes.filter((write) => write.startsWith('remove')).length, writes)
    t.is(kernel.namespaces.get('/ns/c')?.links.get('eth0')?.mac, endpoint.mac)
    t.is(kernel.namespaces.get('/ns/d')?.links.size, 0)
  }
  await within((call) => wiring.attach({ network, endpoint: others[1] }, call))
  t.is(kernel.namespaces.get('/ns/c')?.links.size, 0)
  t.is(kernel.namespaces.get('/ns/d')?.links.get('eth0')?.mac, endpoint.mac)
})

test('a detach that failed is done by the next one, and the network is taken away after its linger', async (t) => {
  const { kernel, brains, wiring } = await setUp(t, { lingerMs: 1 })
  await within((call) => wiring.attach({ network: lan(brains), endpoint: { ...endpoint, networkId: 'lan' } }, call))
  kernel.refusals.set('remove', ['ENOBUFS'])
  await t.throwsAsync(within((call) => wiring.detach({ endpointId: 'e1' }, call)))
  t.true((await within((call) => wiring.detach({ endpointId: 'e1' }, call))).existed)
  await until('the bridge is gone', () => kernel.namespaces.get('own')?.links.has(bridgeName('lan')) === false)
  t.pass()
})

test('an endpoint attached while its network is about to be taken away keeps it', async (t) => {
  const { kernel, brains, wiring } = await setUp(t, { lingerMs: 1 })
  const network = lan(brains)
  const attach = () => within((call) => wiring.attach({ network, endpoint: { ...endpoint, networkId: 'lan' } }, call))
  await attach()
  await until('the round at start is over', () => brains.calls.includes('listEndpoints'))
  let open = () => {}
  const links = kernel.links.bind(kernel)
  const looking = new Promise<void>((started) => {
    kernel.links = async (ns) => {
      const found = await links(ns)
      started()
      await new Promise<void>((resolve) => (open = resolve))
      return found
    }
  })
  await within((call) => wiring.detach({ endpointId: 'e1' }, call))
  await looking
  kernel.links = links
  await attach()
  open()
  // Waits for the removal, which runs before it.
  t.like(await t.throwsAsync(within((call) => wiring.removeNetwork({ networkId: 'lan' }, call))), { code: 'network-in-use' })
  t.true(kernel.namespaces.get('own')?.links.has(bridgeName('lan')))
  t.true(kernel.namespaces.get('/ns/c')?.links.has('eth0'))
})

test('the published ports of an endpoint whose sandbox has ended lead nowhere', async (t) => {
  const { kernel, brains, wiring } = await setUp(t)
  const network = lan(brains)
  const ports = [{ protocol: 'tcp', hostAddress: '', hostPort: 48123, containerPort: 80 }]
  await within((call) => wiring.attach({ network, endpoint: { ...endpoint, networkId: 'lan' } }, call))
  await within((call) => wiring.publishPorts({ endpointId: 'e1', network, addresses: ['10.9.0.2'], ports }, call))
  t.is(kernel.listed('heddle', 'any4').length, 1)
  await kernel.removeLink('own', hostEndName('e1'))
  await until('the port is not published any more', () => kernel.listed('heddle', 'any4').length === 0)
  t.pass()
})

test('what is left over is told, and a feature that only some networks need is no error when it is missing', async (t) => {
  const { kernel, brains, wiring, fabric } = await setUp(t)
  const network = blue(brains)
  kernel.features.push(
    { name: 'vxlan over IPv6', present: false, detail: '' },
    { name: 'vxlan', present: false, detail: '' },
    { name: 'bridge', present: true, detail: '' },
  )
  const findings = async () => (await within((call) => wiring.inspect({}, call))).findings
  const left = async () => (await findings()).filter(({ subject }) => subject === 'leftover').map(({ message }) => message)
  t.deepEqual(await left(), [])
  t.deepEqual(
    (await findings()).flatMap(({ level, subject }) => (subject.startsWith('kernel') ? [`${level} ${subject}`] : [])),
    ['warning kernel vxlan over IPv6', 'error kernel vxlan', 'ok kernel bridge'],
  )
  brains.put(endpoint)
  await within((call) => wiring.attach({ network, endpoint }, call))
  t.deepEqual(await left(), [])
  brains.delete('e1')
  await kernel.run([{ op: 'bridge.add', ns: 'own', name: 'hb0123456789a' }])
  await kernel.nftElements('own', { family: 'inet', table: 'heddle', set: 'bridges' }, { add: [{ key: [{ type: 'ifname', value: 'hb1' }] }] })
  t.deepEqual(await left(), [
    'link hb0123456789a carries no mark of its endpoint or network',
    `link ${hostEndName('e1')} belongs to no recorded endpoint`,
    'nftables table inet heddle has 1 elements nobody asked for',
  ])
  kernel.namespaces.get(fabric)?.links.clear()
  t.true((await left()).includes(`the fabric namespace ${fabric} is empty`))
})

test('a host that the overlay service has forgotten registers again', async (t) => {
  const { brains } = await setUp(t)
  await until('the host is registered', () => brains.hosts.has('a'))
  const registrations = () => brains.calls.filter((call) => call === 'registerHost').length
  const before = registrations()
  brains.hosts.delete('a')
  await until('it is registered again', () => brains.hosts.has('a'))
  t.is(registrations(), before + 1)
})
