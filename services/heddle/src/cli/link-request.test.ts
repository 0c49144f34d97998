import { Endpoint, Network } from '@heddle/contract'
import { HeddleError } from '@heddle/core'
import test from 'ava'
import { networkRequest } from './network-request.ts'
import { endpointTable, networkFacts, networkTable } from './views.ts'

type Flags = Parameters<typeof networkRequest>[1]

test('flags of a network on a wire become its parent, and it needs no subnet', (t) => {
  t.like(networkRequest('n', { kind: 'macvlan', parent: 'eth0', mode: 'vepa' }), { subnets: [], parent: { name: 'eth0', mode: 'vepa' }, bridge: undefined })
  t.like(networkRequest('n', { kind: 'vlan', parent: 'eth0', vlan: '7' }), { parent: { name: 'eth0', vlan: 7 }, sriov: undefined })
  t.like(networkRequest('n', { kind: 'host-device', parentPci: '3b:00.0' }).parent, { name: '', pci: '3b:00.0' })
  t.like(networkRequest('n', { kind: 'host-device', parentMac: '02:00:00:00:00:01' }).parent, { mac: '02:00:00:00:00:01' })
  t.like(networkRequest('n', { kind: 'null' }), { parent: undefined, bridge: undefined, subnets: [] })
})

test('flags of a bridge become what it does beside the usual', (t) => {
  const flags = { kind: 'bridge', subnet: ['10.1.0.0/24'], isolated: true, routed: true, hostBinding: '127.0.0.1' }
  t.deepEqual(networkRequest('n', flags).bridge, { isolated: true, routed: true, hostBinding: '127.0.0.1' })
})

test('a flag of another kind is named, with the kinds it is of', (t) => {
  const cases: [Partial<Flags>, string, RegExp][] = [
    [{ kind: 'overlay', parent: 'eth0' }, '--parent', /kind macvlan or ipvlan or vlan or host-device; add --kind macvlan/],
    [{ kind: 'bridge', mode: 'vepa' }, '--mode', /macvlan or ipvlan/],
    [{ kind: 'macvlan', parentMac: '02:00:00:00:00:01' }, '--parent-mac', /host-device/],
    [{ kind: 'macvlan', vlan: '7' }, '--vlan', /vlan or sriov/],
    [{ kind: 'macvlan', isolated: true }, '--isolated', /kind bridge/],
    [{ kind: 'overlay', hostBinding: '127.0.0.1' }, '--host-binding', /kind bridge/],
    [{ kind: 'vlan', parent: 'eth0', vlan: 'x' }, '--vlan', /not a whole number/],
  ]
  for (const [flags, field, sentence] of cases) {
    const error = t.throws(() => networkRequest('n', { subnet: ['10.1.0.0/24'], kind: 'overlay', ...flags }), { instanceOf: HeddleError })
    t.is(error.field, field)
    t.regex(`${error.message}; ${error.remedy}`, sentence)
  }
  t.is(t.throws(() => networkRequest('n', { kind: 'bridge' }), { instanceOf: HeddleError }).field, '--subnet')
})

test('a network is shown with what it is made from, and an endpoint without a MAC that is not its own', (t) => {
  const network = (more: object) => Network.fromPartial({ name: 'wire', createdBy: 'cli', ...more })
  const macvlan = network({ kind: 'macvlan', parent: { name: 'eth0', mode: 'vepa' } })
  t.regex(networkTable([macvlan]), /PARENT .*\nwire +macvlan +eth0 vepa /)
  t.regex(networkFacts(macvlan), /MTU: +the parent's\nparent: +eth0 vepa\n/)
  t.regex(networkFacts(network({ kind: 'vlan', parent: { name: 'eth0', vlan: 7 } })), /parent: +eth0 VLAN 7\n/)
  const bridge = network({ kind: 'bridge', bridge: { isolated: true, routed: true, hostBinding: '127.0.0.1' } })
  t.regex(networkFacts(bridge), /bridge: +containers do not reach each other; source addresses are kept; ports are published on 127\.0\.0\.1\n/)
  const macOf = (networkKind: string) => endpointTable([Endpoint.fromPartial({ id: 'e', mac: '02:00:00:00:00:01', networkKind })]).includes('02:00:00:00:00:01')
  t.deepEqual(['macvlan', 'ipvlan', 'null', 'host-device'].map(macOf), [true, false, false, true])
})
