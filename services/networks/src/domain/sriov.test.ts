import { Endpoint, Network, type SriovNetwork, type VfAttachment } from '@heddle/contract'
import { HeddleError } from '@heddle/core'
import test, { type ExecutionContext } from 'ava'
import { checkEndpoint } from './endpoint.ts'
import { checkNetwork, differences } from './network.ts'
import { checkHasVf } from './sriov.ts'

type Change<T> = { [K in keyof T]?: unknown }
const network = (sriov: Change<SriovNetwork> | undefined, change: Change<Network> = {}) =>
  checkNetwork(Network.fromPartial({ name: 'fast', kind: 'sriov', createdBy: 'cli', sriov: sriov as never, ...(change as object) }), () => 'id', 'now')
const endpoint = (vf: Change<VfAttachment> | undefined) =>
  checkEndpoint(Endpoint.fromPartial({ id: 'e1', networkId: 'n1', host: 'h1', state: 'reserved', runtime: 'cni', vf: vf as never }))

function refuses(t: ExecutionContext, field: string, body: () => unknown): void {
  const error = t.throws(body, undefined, field)
  t.true(HeddleError.is(error) && error.code === 'invalid-argument' && error.field === field && error.remedy !== undefined, `${field}: ${error.message}`)
}

test('a network of kind sriov says which VFs it takes and how they are set, in canonical form', (t) => {
  const { sriov } = network({
    pool: 'fast',
    selector: { vendors: ['0x15B3'], pfNames: ['eth0#0-3'] },
    settings: { vlan: 100, vlanQos: 3 },
    near: '3B:00.0',
  })
  t.deepEqual(sriov?.selector?.vendors, ['15b3'])
  t.is(sriov?.near, '0000:3b:00.0')
  t.is(network(undefined).sriov?.pool, '', 'whichever VF is named')
})

test('what cannot be set on a VF is refused by its field, and so are VFs of another kind of network', (t) => {
  const settings: [string, object][] = [
    ['vlan', { vlan: 4095 }],
    ['vlanQos', { vlan: 1, vlanQos: 8 }],
    ['vlanQos', { vlanQos: 1 }],
    ['vlanProto', { vlan: 1, vlanProto: '802.1s' }],
    ['vlanProto', { vlanProto: '802.1ad' }],
    ['minTxRate', { minTxRate: 20, maxTxRate: 10 }],
    ['maxTxRate', { maxTxRate: 4_000_000_000 }],
    ['linkState', { linkState: 'up' }],
    ['mtu', { mtu: 40 }],
    ['trunk', { vlan: 1, trunk: [{ first: 1, last: 2 }] }],
    ['trunk[0]', { trunk: [{ first: 5, last: 4 }] }],
  ]
  for (const [field, change] of settings) {
    refuses(t, `network.sriov.settings.${field}`, () => network({ settings: change }))
    refuses(t, `endpoint.vf.settings.${field}`, () => endpoint({ pci: '0000:3b:02.1', pf: '0000:3b:00.0', settings: change }))
  }
  const settingsOf = (mac: string) => ({ settings: { mac } })
  refuses(t, 'endpoint.vf.settings.mac', () => endpoint({ pci: '0000:3b:02.1', pf: '0000:3b:00.0', ...settingsOf('01:00:5e:00:00:01') }))
  refuses(t, 'network.sriov.settings.mac', () => network(settingsOf('02:00:00:00:00:01')))
  refuses(t, 'network.sriov.near', () => network({ near: 'gpu0' }))
  refuses(t, 'network.sriov.pool', () => network({ pool: 'a/b' }))
  refuses(t, 'network.sriov.policy', () => network({ policy: 'random' }))
  refuses(t, 'network.sriov.driver', () => network({ driver: 'e1000' }))
  refuses(t, 'network.sriov.selector.pciAddresses[0]', () => network({ selector: { pciAddresses: ['eth0'] } }))
  refuses(t, 'network.sriov', () => network({}, { kind: 'bridge' }))
  refuses(t, 'network.vni', () => network({}, { vni: 5000 }))
  refuses(t, 'endpoint.vf.pci', () => endpoint({ pci: '../x', pf: '0000:3b:00.0' }))
  refuses(t, 'endpoint.vf.pf', () => endpoint({ pci: '0000:3b:02.1', pf: '' }))
})

test('networks that take other VFs or set them otherwise are not the same', (t) => {
  const there = network({ pool: 'fast', settings: { vlan: 100 } })
  t.deepEqual(differences(there, network({ pool: 'fast', settings: { vlan: 100 }, selector: {} })), {})
  t.deepEqual(differences(there, network({ pool: 'slow', apart: true })), {
    'sriov.pool': 'fast there, slow asked for',
    'sriov.settings': '{"vlan":100} there, {} asked for',
    'sriov.apart': 'false there, true asked for',
  })
})

test('an endpoint has a VF exactly when its network is of that kind', (t) => {
  const vf = { pci: '3B:02.1', pf: '0000:3b:00.0' }
  t.is(endpoint(vf).vf?.pci, '0000:3b:02.1')
  t.notThrows(() => checkHasVf(endpoint(vf), network({})))
  refuses(t, 'endpoint.vf', () => checkHasVf(endpoint(undefined), network({})))
  refuses(t, 'endpoint.vf', () => checkHasVf(endpoint(vf), Network.fromPartial({ name: 'blue', kind: 'bridge' })))
})
