import { Network } from '@heddle/contract'
import { HeddleError } from '@heddle/core'
import test from 'ava'
import { checkNetwork, differences } from './network.ts'
import { checkAlias } from './network-decisions.ts'

const blue = Network.fromPartial({
  name: 'blue',
  kind: 'overlay',
  vni: 5000,
  createdBy: 'cli',
  pools: [
    { poolId: 'blue.10.1.0.0_16', prefix: '10.1.0.0/16', gateway: '10.1.0.1' },
    { poolId: 'blue.fd00_64', prefix: 'fd00:0::/64', gateway: 'FD00::1' },
  ],
})
const check = (change: Parameters<typeof Network.fromPartial>[0]) => checkNetwork(Network.fromPartial({ ...blue, ...change }), () => 'made-up', 'now')

test('a good definition gets an id and canonical addresses', (t) => {
  const network = check({})
  t.is(network.id, 'made-up')
  t.is(network.createdAt, 'now')
  t.deepEqual(
    network.pools.map((pool) => [pool.prefix, pool.gateway]),
    [
      ['10.1.0.0/16', '10.1.0.1'],
      ['fd00::/64', 'fd00::1'],
    ],
  )
  t.is(check({ id: 'given' }).id, 'given')
  t.is(check({ kind: 'bridge', vni: 0 }).kind, 'bridge')
  t.is(check({ mtu: 1280 }).mtu, 1280)
  t.is(check({ mtu: 576, pools: blue.pools.slice(0, 1) }).mtu, 576)
  t.deepEqual(check({ pools: [] }).pools, [])
})

test('each bad field is refused by its name, with what to do', (t) => {
  const pool = { poolId: 'p', prefix: '10.1.0.0/16', gateway: '' }
  const cases: [string, Parameters<typeof Network.fromPartial>[0]][] = [
    ['network.name', { name: 'a/b' }],
    ['network.id', { id: 'a.b' }],
    ['network.id', { id: '../x' }],
    ['network.kind', { kind: 'ring' }],
    ['network.vni', { vni: 4095 }],
    ['network.vni', { vni: 16_777_216 }],
    ['network.vni', { kind: 'bridge' }],
    ['network.mtu', { mtu: 575 }],
    ['network.mtu', { mtu: 1279 }],
    ['network.mtu', { mtu: 65_536 }],
    ['network.createdBy', { createdBy: 'me' }],
    ['network.pools[0].prefix', { pools: [{ ...pool, prefix: '10.1.0.1/16' }] }],
    ['network.pools[0].poolId', { pools: [{ ...pool, poolId: 'a/b' }] }],
    ['network.pools[0].gateway', { pools: [{ ...pool, gateway: '10.2.0.1' }] }],
    ['network.pools[0].gateway', { pools: [{ ...pool, gateway: '10.1.0.0' }] }],
    ['network.pools[0].gateway', { pools: [{ ...pool, gateway: '10.1.0.01' }] }],
    ['network.pools[1].prefix', { pools: [pool, { ...pool, prefix: '10.1.128.0/17' }] }],
    ['network.pools', { pools: Array.from({ length: 17 }, (_, index) => ({ ...pool, prefix: `10.${index}.0.0/16` })) }],
    ['network.options', { options: { key: 'x'.repeat(1025) } }],
  ]
  for (const [field, change] of cases) {
    const error = t.throws(() => check(change), undefined, `${field} ${JSON.stringify(change)}`)
    t.true(HeddleError.is(error) && error.code === 'invalid-argument' && error.field === field, `${field}: ${error.message}`)
  }
})

test('definitions are compared by what the network is, not by who asked or in which order', (t) => {
  const there = check({ id: 'one', options: { a: '1', b: '2' } })
  t.deepEqual(differences(there, check({ id: 'two', vni: 6000, createdBy: 'docker', options: { b: '2', a: '1' }, pools: blue.pools.toReversed() })), {})
  t.deepEqual(Object.keys(differences(there, check({ id: 'one', vni: 6000, options: { a: '1', b: '2' } }))), ['vni'])
  t.deepEqual(differences(there, check({ id: 'two', mtu: 1400, internal: true, options: { a: '1' }, pools: [] })), {
    mtu: '0 there, 1400 asked for',
    internal: 'false there, true asked for',
    pools: '["blue.10.1.0.0_16 10.1.0.0/16 via 10.1.0.1","blue.fd00_64 fd00::/64 via fd00::1"] there, [] asked for',
    options: '[["a","1"],["b","2"]] there, [["a","1"]] asked for',
  })
})

test('an alias is a Docker network of a host', (t) => {
  t.is(checkAlias(`docker:host-1:${'f'.repeat(64)}`), `docker:host-1:${'f'.repeat(64)}`)
  for (const alias of ['', 'docker', 'docker:h', 'docker::x', 'docker:h:', 'docker:a.b:x', 'docker:h:x/y', 'docker:h:x:y', 'podman:h:x']) {
    t.throws(() => checkAlias(alias), { code: 'invalid-argument' }, alias)
  }
})
