import { Endpoint, Network } from '@heddle/contract'
import { HeddleError, macOf } from '@heddle/core'
import test from 'ava'
import { checkEndpoint, checkInPools } from './endpoint.ts'

const good = Endpoint.fromPartial({ id: 'e1', networkId: 'n1', host: 'h1', state: 'reserved', runtime: 'cni', addresses: ['10.1.0.5/16', 'fd00:0::5/64'] })
const check = (change: Parameters<typeof Endpoint.fromPartial>[0]) => checkEndpoint(Endpoint.fromPartial({ ...good, ...change }))

test('a good record is put into canonical form and gets a MAC made from its id', (t) => {
  const endpoint = check({ ports: [{ protocol: 'tcp', hostAddress: '::', hostPort: 0, containerPort: 80 }] })
  t.is(endpoint.mac, macOf('e1'))
  t.deepEqual(endpoint.addresses, ['10.1.0.5/16', 'fd00::5/64'])
  t.is(check({ mac: '02-AA-bb-00-00-01' }).mac, '02:aa:bb:00:00:01')
})

test('each bad field is refused by its name', (t) => {
  const port = { protocol: 'tcp', hostAddress: '', hostPort: 1, containerPort: 1 }
  const cases: [string, Parameters<typeof Endpoint.fromPartial>[0]][] = [
    ['endpoint.id', { id: 'a/b' }],
    ['endpoint.id', { id: '' }],
    ['endpoint.networkId', { networkId: 'a.b' }],
    ['endpoint.host', { host: 'h.1' }],
    ['endpoint.state', { state: 'gone' }],
    ['endpoint.runtime', { runtime: 'podman' }],
    ['endpoint.mac', { mac: '01:00:5e:00:00:01' }],
    ['endpoint.mac', { mac: '00:00:00:00:00:00' }],
    ['endpoint.mac', { mac: 'nonsense' }],
    ['endpoint.addresses[0]', { addresses: ['10.1.0.5'] }],
    ['endpoint.addresses[1]', { addresses: ['fd00::5/64', 'fd00:0::5/64'] }],
    ['endpoint.sandbox', { sandbox: 'run/netns/x' }],
    ['endpoint.sandbox', { sandbox: '/run/\0' }],
    ['endpoint.sandbox', { state: 'addressed' }],
    ['endpoint.ipam', { ipam: '../host-local' }],
    ['endpoint.interfaceName', { interfaceName: 'a'.repeat(16) }],
    ['endpoint.containerId', { containerId: '../x' }],
    ['endpoint.ports[0].protocol', { ports: [{ ...port, protocol: 'icmp' }] }],
    ['endpoint.ports[0].hostPort', { ports: [{ ...port, hostPort: 65_536 }] }],
    ['endpoint.ports[0].containerPort', { ports: [{ ...port, containerPort: 0 }] }],
    ['endpoint.ports[0].hostAddress', { ports: [{ ...port, hostAddress: '1.2.3' }] }],
  ]
  for (const [field, change] of cases) {
    const error = t.throws(() => check(change), undefined, `${field} ${JSON.stringify(change)}`)
    t.true(HeddleError.is(error) && error.code === 'invalid-argument' && error.field === field, `${field}: ${error.message}`)
  }
})

test('an address outside the pools of the network is refused by its place', (t) => {
  const network = Network.fromPartial({ name: 'blue', pools: [{ prefix: '10.1.0.0/16' }, { prefix: 'fd00::/64' }] })
  t.notThrows(() => checkInPools(check({}), network))
  const error = t.throws(() => checkInPools(check({ addresses: ['10.1.0.5/16', '10.2.0.5/16'] }), network))
  t.true(HeddleError.is(error) && error.code === 'address-outside-pool' && error.field === 'endpoint.addresses[1]')
  t.notThrows(() => checkInPools(check({ addresses: ['10.2.0.5/16'], ipam: 'host-local' }), network), "another IPAM plugin's need not be of a pool")
  t.notThrows(() => checkInPools(check({ addresses: [] }), Network.fromPartial({ name: 'bare' })))
})
