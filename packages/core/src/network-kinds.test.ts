import { BridgeNetwork, ParentLink } from '@heddle/contract'
import test, { type ExecutionContext } from 'ava'
import { HeddleError } from './errors.ts'
import { checkBridge, checkNetworkKind, checkNoGateway, checkParent, hasParent, linkFields, networkKinds } from './network-kinds.ts'

const parent = (kind: string, given?: Partial<ParentLink>) => checkParent(kind, given && ParentLink.fromPartial(given), 'parent')
const bridge = (kind: string, given: Partial<BridgeNetwork>) => checkBridge(kind, BridgeNetwork.fromPartial(given), 'bridge')

function refuses(t: ExecutionContext, field: string, what: RegExp, body: () => unknown): void {
  const error = t.throws(body, undefined, field)
  t.true(HeddleError.is(error) && error.code === 'invalid-argument' && error.field === field && error.remedy !== undefined, `${field}: ${error.message}`)
  t.regex(`${error.message}; ${HeddleError.from(error).remedy}`, what)
}

test('a parent is in canonical form: its mode filled in, its addresses as they are written elsewhere', (t) => {
  t.like(parent('macvlan', { name: 'eth0' }), { name: 'eth0', mode: 'bridge', vlan: 0 })
  t.like(parent('macvlan', { name: 'eth0.100', mode: 'passthru' }), { name: 'eth0.100', mode: 'passthru' })
  t.like(parent('ipvlan', { name: 'eth0' }), { mode: 'l2' })
  t.like(parent('vlan', { name: 'eth0', vlan: 4094 }), { mode: '', vlan: 4094 })
  t.like(parent('host-device', { mac: '02-AA-bb-00-00-01' }), { name: '', mac: '02:aa:bb:00:00:01', pci: '' })
  t.like(parent('host-device', { pci: '3B:02.1' }), { pci: '0000:3b:02.1' })
  for (const kind of networkKinds.filter((one) => !hasParent(one))) t.is(parent(kind), undefined)
})

test('what a parent cannot be is refused by its field, with what it can', (t) => {
  const cases: [string, RegExp, string, Partial<ParentLink> | undefined][] = [
    ['parent', /kind overlay is made from no link.*macvlan, ipvlan, vlan, host-device/, 'overlay', { name: 'eth0' }],
    ['parent', /kind null is made from no link/, 'null', {}],
    ['parent.name', /needs a parent; name the link/, 'macvlan', undefined],
    ['parent.name', /interface name "a\/b" is not valid/, 'ipvlan', { name: 'a/b' }],
    ['parent.mode', /mode l2 is of networks of kind ipvlan, not macvlan; use bridge, private, vepa, passthru/, 'macvlan', { name: 'eth0', mode: 'l2' }],
    ['parent.mode', /mode "ring" is not known; use l2, l3, l3s/, 'ipvlan', { name: 'eth0', mode: 'ring' }],
    ['parent.mode', /mode bridge is of networks of kind macvlan, not vlan; leave it out/, 'vlan', { name: 'eth0', vlan: 5, mode: 'bridge' }],
    ['parent.vlan', /cannot have VLAN 0; use 1 to 4094/, 'vlan', { name: 'eth0' }],
    ['parent.vlan', /cannot have VLAN 4095/, 'vlan', { name: 'eth0', vlan: 4095 }],
    ['parent.vlan', /use kind vlan, or a parent that is a VLAN already, as eth0\.100/, 'macvlan', { name: 'eth0', vlan: 5 }],
    ['parent.pci', /found by its name; give its name alone/, 'macvlan', { name: 'eth0', pci: '0000:3b:02.1' }],
    ['parent', /names no device; give exactly one of name, mac and pci/, 'host-device', {}],
    ['parent', /names its device in 2 ways/, 'host-device', { name: 'eth0', mac: '02:00:00:00:00:01' }],
    ['parent.mac', /not the address of an interface/, 'host-device', { mac: '01:00:5e:00:00:01' }],
    ['parent.pci', /./, 'host-device', { pci: 'eth0' }],
  ]
  for (const [field, what, kind, given] of cases) refuses(t, field, what, () => parent(kind, given))
  refuses(t, 'kind', /"ring" is not known; use overlay, .*null/, () => checkNetworkKind('ring', 'kind'))
})

test('an ipvlan that the host routes has no gateway, and null has none; any other may', (t) => {
  refuses(t, 'gateway', /kind null has no interface/, () => checkNoGateway({ kind: 'null' }, '10.1.0.1', 'gateway'))
  for (const mode of ['l3', 'l3s'])
    refuses(t, 'gateway', /use mode l2/, () => checkNoGateway({ kind: 'ipvlan', parent: parent('ipvlan', { name: 'eth0', mode }) }, '10.1.0.1', 'gateway'))
  t.notThrows(() => checkNoGateway({ kind: 'ipvlan', parent: parent('ipvlan', { name: 'eth0', mode: 'l3' }) }, '', 'gateway'))
  t.notThrows(() => checkNoGateway({ kind: 'ipvlan', parent: parent('ipvlan', { name: 'eth0' }) }, '10.1.0.1', 'gateway'))
})

test('a bridge that does only the usual is said as nothing', (t) => {
  t.is(bridge('bridge', {}), undefined)
  for (const hostBinding of ['0.0.0.0', '::', '0:0::0']) t.is(bridge('bridge', { hostBinding }), undefined)
  t.like(bridge('bridge', { isolated: true, hostBinding: 'FD00:0::1' }), { isolated: true, routed: false, hostBinding: 'fd00::1' })
  refuses(t, 'bridge', /kind macvlan has no bridge/, () => bridge('macvlan', { routed: true }))
  refuses(t, 'bridge.hostBinding', /./, () => bridge('bridge', { hostBinding: 'localhost' }))
  t.deepEqual(linkFields({}), linkFields({ parent: ParentLink.create(), bridge: BridgeNetwork.create() }))
})
