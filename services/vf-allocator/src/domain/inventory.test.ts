import { type Vf, VfClaim } from '@heddle/contract'
import test from 'ava'
import { pfs, pristine, vf } from '../testing/cluster.ts'
import { type Inventory, isLate, isLost, merged, sameInventory } from './inventory.ts'

const first = vf(0, 0)
const tagged = { ...pristine, vlan: 100 }
const taken = (change: object = {}) => VfClaim.fromPartial({ host: 'a', pci: first.pci, owner: 'e1', generation: first.generation, ...change })
const merge = (before: Inventory | undefined, seen: Vf, claim?: VfClaim, epoch = 'one') =>
  merged(before, { host: 'a', epoch, pfs: pfs(), vfs: [seen] }, () => claim)
const only = (inventory: Inventory) => inventory.vfs.get(first.pci) as Vf

test('the first report of a generation fixes the baseline, and no later one changes it', (t) => {
  const before = merge(undefined, first)
  t.is(only(before).state, 'ready')
  t.is(only(before).baseline?.settings?.vlan, 0)
  const later = merge(before, { ...first, settings: tagged, baseline: { settings: tagged, name: 'x', mac: first.mac, driver: 'igbvf' } })
  t.is(only(later).baseline?.settings?.vlan, 0)
  t.is(only(later).state, 'dirty')
  t.regex(only(later).reason, /vlan is 100, 0 at its baseline; name is "x", "eth0v0" at its baseline/)
})

test('a VF made anew gets a new baseline, and a late word of the generation before does not lose either', (t) => {
  const anew = { ...first, generation: 'boot:second', baseline: { settings: pristine, name: 'eth9', mac: first.mac, driver: 'igbvf' } }
  const polluted = { ...anew, settings: tagged, baseline: { settings: tagged, name: 'eth9', mac: first.mac, driver: 'igbvf' } }
  const second = merge(merge(undefined, first), anew)
  t.is(only(second).baseline?.name, 'eth9')
  const late = merge(second, first)
  t.is(only(late).baseline?.name, 'eth0v0')
  const again = merge(late, polluted)
  t.is(only(again).baseline?.settings?.vlan, 0)
  t.is(only(again).state, 'dirty')
})

test('a VF in use when it is first seen gets no baseline and is not ready', (t) => {
  t.is(only(merge(undefined, { ...first, state: 'foreign', reason: 'in another namespace', baseline: undefined })).state, 'foreign')
  t.is(only(merge(undefined, { ...first, state: 'ready', baseline: undefined })).state, 'new')
  t.is(only(merge(undefined, first, taken())).baseline, undefined, 'what its holder has set is no baseline')
  t.not(only(merge(undefined, first, taken({ generation: 'boot:before' }))).baseline, undefined, 'a claim of what was there before is none on it')
  t.not(only(merge(undefined, first, taken({ owner: '', reservedBy: 'kubelet' }))).baseline, undefined, 'nobody has set anything yet')
})

test('attaching and detaching a claimed VF changes nothing that is recorded, but what nobody should get is', (t) => {
  const before = merge(undefined, first)
  const used = merge(
    before,
    { ...first, state: 'used', name: '', mac: '', settings: tagged, driver: 'vfio-pci', rdmaDevices: [], baseline: undefined },
    taken(),
  )
  t.true(sameInventory(before, used))
  const stuck = merge(before, { ...first, state: 'quarantined', reason: 'VLAN would not reset', baseline: undefined }, taken())
  t.like(only(stuck), { state: 'quarantined', reason: 'VLAN would not reset' })
  t.true(sameInventory(before, merge(stuck, { ...first, state: 'used', baseline: undefined }, taken())), 'put right while it is claimed')
})

test('a VF that the kubelet has had bound to another driver stays to be taken over, with that driver', (t) => {
  const reserved = taken({ owner: '', reservedBy: 'kubelet', generation: '' })
  const before = merge(undefined, first)
  const bound = { ...first, state: 'used', reason: 'driver is vfio-pci', driver: 'vfio-pci', name: '', mac: '', baseline: undefined }
  t.like(only(merge(before, bound, reserved)), { state: 'ready', driver: 'vfio-pci', name: 'eth0v0' })
  t.like(only(merge(merge(before, bound, reserved), bound, taken({ reservedBy: 'kubelet' }))), { state: 'ready', driver: 'vfio-pci' })
})

test('a report of hands that others have taken over from is known as late', (t) => {
  const second = merge(merge(undefined, first, undefined, 'one'), first, undefined, 'two')
  t.true(isLate(second, 'one'))
  t.false(isLate(second, 'two'))
  t.false(isLate(second, 'three'))
  t.false(isLate(undefined, 'one'))
})

test('a claim is lost with its VF or the generation of it, a reservation only with the address', (t) => {
  const inventory = merge(undefined, first)
  t.false(isLost(taken(), inventory))
  t.false(isLost(taken(), undefined), 'of a host that has not reported nothing is known')
  t.true(isLost(taken({ generation: 'boot:before' }), inventory))
  t.true(isLost(taken({ pci: '0000:3b:10.7' }), inventory))
  t.false(isLost(taken({ owner: '', reservedBy: 'kubelet', generation: '' }), inventory))
})
