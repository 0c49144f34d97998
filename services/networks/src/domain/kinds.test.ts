/** Networks made from a link of the host, bridges that do more than the usual, and those with no link at all. */
import { Network } from '@heddle/contract'
import { HeddleError } from '@heddle/core'
import test from 'ava'
import { checkNetwork, differences } from './network.ts'
import { readNetwork, writeNetwork } from './records.ts'

type Definition = Parameters<typeof Network.fromPartial>[0]
const pools = [{ poolId: 'wire.10.1.0.0_24', prefix: '10.1.0.0/24', gateway: '10.1.0.1' }]
const check = (definition: Definition) => checkNetwork(Network.fromPartial({ name: 'wire', createdBy: 'cli', ...definition }), () => 'id', 'now')
const macvlan = (mode = '', more: Definition = {}) => check({ kind: 'macvlan', parent: { name: 'eth0', mode }, pools, ...more })

test('each kind is recorded with what it is made from, and a mode left out is the one it stands for', (t) => {
  const kinds: [Definition, object][] = [
    [{ kind: 'macvlan', parent: { name: 'eth0' }, pools }, { parent: { name: 'eth0', mode: 'bridge' } }],
    [{ kind: 'ipvlan', parent: { name: 'eth0.5' }, pools }, { parent: { name: 'eth0.5', mode: 'l2' } }],
    [
      { kind: 'vlan', parent: { name: 'eth0', vlan: 7 } },
      { parent: { vlan: 7 }, pools: [] },
    ],
    [{ kind: 'host-device', parent: { pci: '3b:02.1' } }, { parent: { pci: '0000:3b:02.1' } }],
    [
      { kind: 'null', pools: [{ ...pools[0], gateway: '' }] },
      { parent: undefined, bridge: undefined },
    ],
    [{ kind: 'bridge', pools, bridge: { isolated: true } }, { bridge: { isolated: true, routed: false } }],
    [{ kind: 'bridge', pools, bridge: {} }, { bridge: undefined }],
  ]
  for (const [definition, expected] of kinds) {
    const network = check(definition)
    t.like(network, expected, definition?.kind)
    t.deepEqual(readNetwork({ key: '', value: writeNetwork(network), createRevision: 1n, modRevision: 0n }), network)
  }
})

test('what a kind cannot have is refused by its field', (t) => {
  const cases: [string, Definition][] = [
    ['network.parent.name', { kind: 'macvlan' }],
    ['network.parent.mode', { kind: 'ipvlan', parent: { name: 'eth0', mode: 'bridge' } }],
    ['network.parent.vlan', { kind: 'vlan', parent: { name: 'eth0' } }],
    ['network.parent', { kind: 'host-device', parent: {} }],
    ['network.parent', { kind: 'bridge', parent: { name: 'eth0' } }],
    ['network.bridge', { kind: 'macvlan', parent: { name: 'eth0' }, bridge: { routed: true } }],
    ['network.bridge.hostBinding', { kind: 'bridge', bridge: { hostBinding: 'lo' } }],
    ['network.sriov', { kind: 'null', sriov: {} }],
    ['network.vni', { kind: 'vlan', parent: { name: 'eth0', vlan: 7 }, vni: 5000 }],
    ['network.pools[0].gateway', { kind: 'ipvlan', parent: { name: 'eth0', mode: 'l3' }, pools }],
    ['network.pools[0].gateway', { kind: 'null', pools }],
  ]
  for (const [field, definition] of cases) {
    const error = t.throws(() => check(definition), undefined, field)
    t.true(HeddleError.is(error) && error.code === 'invalid-argument' && error.field === field && error.remedy !== undefined, `${field}: ${error.message}`)
  }
})

test('networks from another link, or with another bridge, are not the same', (t) => {
  t.deepEqual(differences(macvlan(), macvlan('bridge')), {})
  t.deepEqual(differences(macvlan(), macvlan('vepa', { parent: { name: 'eth1', mode: 'vepa' } })), {
    'parent.name': 'eth0 there, eth1 asked for',
    'parent.mode': 'bridge there, vepa asked for',
  })
  const bridge = (more: object) => check({ kind: 'bridge', pools, bridge: more })
  t.deepEqual(differences(bridge({}), bridge({ hostBinding: '0.0.0.0' })), {})
  t.deepEqual(differences(bridge({ isolated: true }), bridge({ routed: true, hostBinding: '127.0.0.1' })), {
    'bridge.isolated': 'true there, false asked for',
    'bridge.routed': 'false there, true asked for',
    'bridge.hostBinding': ' there, 127.0.0.1 asked for',
  })
})
