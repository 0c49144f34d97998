import { Endpoint, Network } from '@heddle/contract'
import type { LinkInfo } from '@heddle/kernel'
import test from 'ava'
import { chooseUnderlay } from '../underlay.ts'
import { configureSteps, endpointShape } from './endpoint-steps.ts'
import { bridgeName, endpointAlias, hostEndName, isOurs, parseEndpointAlias, vxlanName } from './names.ts'
import { shapeOf } from './network-shape.ts'
import { planNetwork } from './network-steps.ts'
import { Suspects } from './suspects.ts'

const underlay = { interface: 'eth0', address: '192.0.2.1', mtu: 1500 }
const context = { host: 'a', vxlanPort: 4789, underlay }
const blue = Network.fromPartial({ id: 'n1', name: 'blue', kind: 'overlay', vni: 4096 })
const lan = Network.fromPartial({ id: 'n2', name: 'lan', kind: 'bridge', pools: [{ prefix: '10.9.0.0/24', gateway: '10.9.0.1' }] })
const ns = { path: '/fabric' }

test('names fit IFNAMSIZ and an alias tells its endpoint and network, colons included', (t) => {
  for (const name of [hostEndName('x'.repeat(64)), bridgeName('n1'), vxlanName('n1')]) t.true(name.length <= 13 && isOurs(name))
  t.false(isOurs('hdparm'))
  t.deepEqual(parseEndpointAlias(endpointAlias('docker:e1', 'n1')), { endpointId: 'docker:e1', networkId: 'n1' })
  t.is(parseEndpointAlias('something else'), undefined)
})

test('an overlay takes the MTU the underlay leaves: 50 bytes less over IPv4, 70 over IPv6', (t) => {
  t.is(shapeOf(blue, context).mtu, 1450)
  t.is(shapeOf(blue, { ...context, underlay: { ...underlay, address: '2001:db8::1' } }).mtu, 1430)
  t.is(shapeOf({ ...blue, mtu: 1400 }, context).mtu, 1400)
})

test('a network whose MTU the underlay cannot carry is refused with both figures', (t) => {
  const error = t.throws(() => shapeOf({ ...blue, mtu: 1500 }, context), { message: /MTU 1500, but eth0 of host a carries at most 1450/ })
  t.is((error as { code?: string }).code, 'unsupported')
})

test('an overlay on a host without underlay is unavailable, a bridge network is not', (t) => {
  t.throws(() => shapeOf(blue, { ...context, underlay: undefined }), { message: /no underlay address/ })
  t.is(shapeOf(lan, { ...context, underlay: undefined }).mtu, 1500)
})

const made = (shape: ReturnType<typeof shapeOf>): { bridge: LinkInfo; vxlan: LinkInfo } => {
  const link = { alias: shape.alias, mtu: shape.mtu, up: true, running: true, peerIndex: 0, peerElsewhere: false, group: 0, parentDevice: '' }
  return {
    bridge: { ...link, index: 1, name: shape.bridge, mac: shape.bridgeMac, kind: 'bridge', masterIndex: 0 },
    vxlan: {
      ...link,
      index: 2,
      name: shape.vxlan?.name ?? '',
      mac: '02:00:00:00:00:01',
      kind: 'vxlan',
      masterIndex: 1,
      vxlan: { vni: 4096, local: '192.0.2.1', port: 4789, learning: false },
      port: { learning: false, unicastFlood: false, neighbourSuppress: true, locked: false, isolated: false, guard: false },
    },
  }
}

test('devices that are as they should be need no step', (t) => {
  const shape = shapeOf(blue, context)
  t.deepEqual(planNetwork(shape, ns, 'own', { ...made(shape), addresses: [] }), { remove: [], steps: [], fresh: false })
})

test('a flipped flag, a wrong MTU and a device that is down are set right without removing anything', (t) => {
  const shape = shapeOf(blue, context)
  const { bridge, vxlan } = made(shape)
  const port = { ...vxlan.port, learning: true } as NonNullable<LinkInfo['port']>
  const plan = planNetwork(shape, ns, 'own', { bridge: { ...bridge, up: false }, vxlan: { ...vxlan, mtu: 1500, port }, addresses: [] })
  t.deepEqual(plan.remove, [])
  t.false(plan.fresh)
  t.deepEqual(
    plan.steps.map((step) => step.op),
    ['link.set', 'link.set', 'bridge.port'],
  )
})

test('a VXLAN device with another VNI or source is made anew', (t) => {
  const shape = shapeOf(blue, context)
  const { bridge, vxlan } = made(shape)
  const plan = planNetwork(shape, ns, 'own', {
    bridge,
    vxlan: { ...vxlan, vxlan: { vni: 4096, local: '192.0.2.9', port: 4789, learning: false } },
    addresses: [],
  })
  t.deepEqual(plan.remove, [shape.vxlan?.name])
  t.true(plan.fresh)
  t.is(plan.steps[0]?.op, 'vxlan.add')
})

test('a bridge network puts its gateway on the bridge with the length of the pool', (t) => {
  const shape = shapeOf(lan, context)
  const plan = planNetwork(shape, 'own', 'own', { bridge: undefined, vxlan: undefined, addresses: [] })
  t.true(plan.steps.some((step) => step.op === 'address.replace' && step.address === '10.9.0.1/24'))
})

test('an on-link route precedes the one whose gateway it reaches; one for dockerd is only announced', (t) => {
  const endpoint = Endpoint.fromPartial({ id: 'e1', mac: '02:00:00:00:00:01', sandbox: '/ns/c', interfaceName: 'eth0' })
  const routes = [
    { destination: '0.0.0.0/0', gateway: '10.0.0.1' },
    { destination: '10.0.0.1/32', gateway: '' },
  ]
  const steps = configureSteps(endpointShape(endpoint, shapeOf(blue, context), ns, 'own'), ['10.0.0.5/32'], routes)
  t.deepEqual(
    steps.map((step) => ('destination' in step ? step.destination : step.op)),
    ['address.replace', '10.0.0.1/32', '0.0.0.0/0', 'announce'],
  )
  const [step] = configureSteps(
    endpointShape(endpoint, shapeOf(blue, context), ns, 'own'),
    [],
    [{ destination: '10.7.0.0/16', gateway: '', mtu: 1400, table: 9 }],
  )
  t.like(step, { op: 'route.replace', mtu: 1400, table: 9 })
  const docker = endpointShape({ ...endpoint, sandbox: '' }, shapeOf(blue, context), ns, 'own')
  t.true(docker.peerName.startsWith('hp'))
  t.deepEqual(
    configureSteps(docker, ['10.0.0.5/32'], routes).map((step) => step.op),
    ['announce'],
  )
})

test('the underlay is what was asked for, else the global address of the link with the default route', (t) => {
  const links = [
    { index: 2, name: 'eth0', mtu: 1500 },
    { index: 3, name: 'eth1', mtu: 9000 },
  ] as LinkInfo[]
  const addresses = [
    { linkIndex: 2, address: 'fe80::1/64' },
    { linkIndex: 2, address: '192.0.2.1/24' },
    { linkIndex: 3, address: '198.51.100.1/24' },
  ]
  const routes = [{ linkIndex: 2, destination: '0.0.0.0/0', gateway: '192.0.2.254', protocol: 3 }]
  t.deepEqual(chooseUnderlay({}, links, addresses, routes), { interface: 'eth0', address: '192.0.2.1', mtu: 1500 })
  t.is(chooseUnderlay({ interface: 'eth1' }, links, addresses, [])?.address, '198.51.100.1')
  t.is(chooseUnderlay({ address: '198.51.100.1' }, links, addresses, [])?.mtu, 9000)
  t.is(chooseUnderlay({ address: '203.0.113.1' }, links, addresses, routes), undefined)
  t.is(chooseUnderlay({}, links, addresses, []), undefined)
})

test('a suspect is given up only when seen again after its grace, and forgotten when it was cleared', (t) => {
  const suspects = new Suspects(100)
  t.deepEqual(suspects.round(['x'], 0), [])
  t.deepEqual(suspects.round(['x'], 50), [])
  t.deepEqual(suspects.round([], 80), [])
  t.deepEqual(suspects.round(['x'], 200), [])
  t.deepEqual(suspects.round(['x'], 300), ['x'])
})
