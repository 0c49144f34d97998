import { HeddleError } from '@heddle/core'
import test from 'ava'
import { type NetworkFlags, networkRequest } from './network-request.ts'

const flags = (more: Partial<NetworkFlags>): NetworkFlags => ({ subnet: ['10.7.0.0/16', 'fd07::/64'], kind: 'overlay', ...more })

test('each address goes to the subnet that contains it', (t) => {
  const { subnets } = networkRequest(
    'blue',
    flags({
      gateway: ['fd07::1', '10.7.0.254'],
      ipRange: ['10.7.1.0/24', 'fd07::100-fd07::1ff'],
      exclude: ['10.7.9.0/24', 'fd07::dead'],
      auxAddress: ['dns=10.7.0.53'],
    }),
  )
  t.deepEqual(subnets, [
    {
      prefix: '10.7.0.0/16',
      gateway: '10.7.0.254',
      ranges: [{ first: '10.7.1.0', last: '10.7.1.255' }],
      excluded: ['10.7.9.0/24'],
      auxiliary: { dns: '10.7.0.53' },
    },
    { prefix: 'fd07::/64', gateway: 'fd07::1', ranges: [{ first: 'fd07::100', last: 'fd07::1ff' }], excluded: ['fd07::dead'], auxiliary: {} },
  ])
})

test('the rest of the flags become fields', (t) => {
  const request = networkRequest('blue', flags({ mtu: '1400', vni: '5000', internal: true, opt: ['gateway=host', 'note=a=b'] }))
  t.like(request, { name: 'blue', kind: 'overlay', mtu: 1400, vni: 5000, internal: true, options: { gateway: 'host', note: 'a=b' } })
})

for (const [what, more, field] of [
  ['a subnet with host bits', { subnet: ['10.7.0.1/16'] }, '--subnet'],
  ['a gateway in no subnet', { gateway: ['192.168.0.1'] }, '--gateway'],
  ['two gateways of one subnet', { gateway: ['10.7.0.1', '10.7.0.2'] }, '--gateway'],
  ['a gateway that is no address', { gateway: ['10.7.0.999'] }, '--gateway'],
  ['half a range', { ipRange: ['10.7.0.1-'] }, '--ip-range'],
  ['an auxiliary address without a name', { auxAddress: ['10.7.0.1'] }, '--aux-address'],
  ['an option without a value', { opt: ['x'] }, '--opt'],
  ['an MTU that is no number', { mtu: '1e3' }, '--mtu'],
  ['a negative VNI', { vni: '-1' }, '--vni'],
] as const) {
  test(`${what} is refused with the name of its flag`, (t) => {
    const error = t.throws(() => networkRequest('blue', flags(more)), { instanceOf: HeddleError })
    t.is(error?.code, 'invalid-argument')
    t.is(error?.field, field)
  })
}
