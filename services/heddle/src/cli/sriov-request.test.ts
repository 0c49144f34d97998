import { HeddleError } from '@heddle/core'
import test from 'ava'
import { networkRequest } from './network-request.ts'
import { vfPoolRequest } from './vf-pool-request.ts'

test('flags of an sriov network become its VFs and their settings, and it needs no subnet', (t) => {
  const { sriov, subnets } = networkRequest('fast', {
    kind: 'sriov',
    vfPool: 'fast',
    pf: ['eth0#0-3'],
    vlan: '100',
    vlanQos: '3',
    spoofchk: 'on',
    trust: 'off',
    maxTxRate: '500',
    apart: true,
    near: 'node:1',
    policy: 'spread',
  })
  t.deepEqual(subnets, [])
  t.like(sriov, { pool: 'fast', apart: true, near: 'node:1', policy: 'spread', driver: '', selector: { pfNames: ['eth0#0-3'] } })
  t.like(sriov?.settings, { vlan: 100, vlanQos: 3, spoofchk: true, trust: false, maxTxRate: 500 })
  t.is(sriov?.settings?.minTxRate, undefined, 'what is not said is not set')
})

test('a VLAN trunk is a list of VLANs and ranges', (t) => {
  t.deepEqual(networkRequest('t', { kind: 'sriov', vlanTrunk: '100,200-210' }).sriov?.settings?.trunk, [
    { first: 100, last: 100 },
    { first: 200, last: 210 },
  ])
})

test('a flag that is no value, or of another kind of network, is named', (t) => {
  const fieldOf = (flags: Parameters<typeof networkRequest>[1]) =>
    t.throws(() => networkRequest('x', { subnet: ['10.0.0.0/24'], ...flags }), { instanceOf: HeddleError }).field
  t.is(fieldOf({ kind: 'overlay', vlan: '5' }), '--vlan')
  t.is(fieldOf({ kind: 'bridge', vfPool: 'fast' }), '--vf-pool')
  t.is(fieldOf({ kind: 'sriov', vlan: 'x' }), '--vlan')
  t.is(fieldOf({ kind: 'sriov', maxTxRate: '-1' }), '--max-tx-rate')
  t.is(fieldOf({ kind: 'sriov', trust: 'yes' }), '--trust')
  t.is(fieldOf({ kind: 'sriov', vlanTrunk: '1-2-3' }), '--vlan-trunk')
  t.is(t.throws(() => networkRequest('x', { kind: 'overlay' }), { instanceOf: HeddleError }).field, '--subnet')
})

test('flags of a VF pool are one selector; none at all is refused', (t) => {
  const { pool, createOnly } = vfPoolRequest('fast', { pf: ['eth0#0-3', 'eth1'], numa: ['0'], policy: 'spread', resource: 'example.com/fast' })
  t.like(pool, { name: 'fast', policy: 'spread', driver: '', resourceName: 'example.com/fast' })
  t.like(pool?.selectors, [{ pfNames: ['eth0#0-3', 'eth1'], numaNodes: [0], rdma: false }])
  t.true(createOnly)
  t.is(t.throws(() => vfPoolRequest('all', {}), { instanceOf: HeddleError }).field, '--pf')
  t.is(t.throws(() => vfPoolRequest('all', { numa: ['one'] }), { instanceOf: HeddleError }).field, '--numa')
})
