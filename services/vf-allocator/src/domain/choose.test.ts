import { type Vf, VfClaim } from '@heddle/contract'
import test from 'ava'
import { pciOf, pfs, vf, vfs } from '../testing/cluster.ts'
import { anything, choose, type HostView, obstacleTo, type Wanted } from './choose.ts'
import { merged } from './inventory.ts'

function view(claims: readonly Partial<VfClaim>[] = [], changed: ReturnType<typeof vf>[] = [], held: readonly string[] = []): HostView {
  const reported = vfs().map((one) => changed.find(({ pci }) => pci === one.pci) ?? one)
  const all = claims.map((claim) => VfClaim.fromPartial({ host: 'a', ...claim }))
  const inventory = merged(undefined, { host: 'a', epoch: 'one', pfs: pfs(), vfs: reported }, () => undefined)
  return { inventory, claims: all, claimOf: (pci) => all.find((claim) => claim.pci === pci), isHeld: (pf) => held.includes(pf) }
}
const chosen = (from: HostView, wanted: Partial<Wanted> = {}, picked: readonly string[] = [], nth = 0) =>
  choose(
    from,
    { ...anything, owner: 'me', ...wanted },
    (pci) => picked.includes(pci),
    () => nth,
  )?.pci
const why = (from: HostView, wanted: Partial<Wanted> = {}, pci = pciOf(0, 0)) => {
  const one = from.inventory.vfs.get(pci)
  return one && obstacleTo(one, from, { ...anything, owner: 'me', ...wanted })
}

test('pack fills one PF before the next, spread takes of the emptiest, and both begin with the lowest', (t) => {
  const one = [{ pci: pciOf(1, 0), owner: 'other' }]
  t.is(chosen(view()), pciOf(0, 0))
  t.is(chosen(view(one)), pciOf(1, 1))
  t.is(chosen(view(one), { policy: 'spread' }), pciOf(0, 0))
  t.is(chosen(view(one), {}, [pciOf(1, 1)]), pciOf(1, 2), 'another call is about to take the first')
  t.is(chosen(view(), {}, [], 2), pciOf(0, 2))
})

test('near keeps to the NUMA node of a device or of a number', (t) => {
  t.is(chosen(view(), { near: 'node:1' }), pciOf(1, 0))
  t.is(chosen(view(), { near: pciOf(1, 3) }), pciOf(1, 0))
  t.is(chosen(view(), { near: '0000:3b:00.1' }), pciOf(1, 0))
  t.is(chosen(view(), { near: 'node:7' }), undefined)
  t.is(why(view(), { near: 'node:1' }), 'far')
})

test('apart keeps the claims of one group on different PFs', (t) => {
  const mine = [{ pci: pciOf(0, 3), owner: 'first', group: 'box' }]
  t.is(chosen(view(mine), { apart: true, group: 'box' }), pciOf(1, 0))
  t.is(chosen(view(mine), { apart: true, group: 'another' }), pciOf(0, 0))
  t.is(chosen(view([...mine, { pci: pciOf(1, 3), owner: 'second', group: 'box' }]), { apart: true, group: 'box' }), undefined)
})

test('a VF that the device plugin has bound goes to who names it, and to nobody else until that driver is off again', (t) => {
  const bound = { ...view().inventory.vfs.get(pciOf(0, 0)), driver: 'vfio-pci' } as Vf
  const withBound = (from: HostView): HostView => ({ ...from, inventory: { ...from.inventory, vfs: new Map([...from.inventory.vfs, [bound.pci, bound]]) } })
  t.is(why(withBound(view())), 'returning')
  t.is(why(withBound(view([{ pci: bound.pci, reservedBy: 'kubelet' }])), { pci: bound.pci }), undefined)
})

test('what stands in the way of each VF is told', (t) => {
  const baseline = undefined
  t.is(why(view()), undefined)
  t.is(why(view([{ pci: pciOf(0, 0), owner: 'other' }])), 'claimed')
  t.is(why(view([{ pci: pciOf(0, 0), owner: 'me', generation: 'boot:before' }])), undefined, 'one that is gone is in nobody’s own way')
  t.is(why(view([{ pci: pciOf(0, 0) }])), 'claimed', 'a claim that cannot be read is one')
  const reserved = view([{ pci: pciOf(0, 0), reservedBy: 'kubelet' }])
  t.is(why(reserved), 'reserved')
  t.is(why(reserved, { pci: pciOf(0, 0) }), undefined, 'who names it has it from the kubelet')
  t.is(why(reserved, { pci: pciOf(0, 0), owner: '' }), 'reserved')
  t.is(why(view([], [], ['0000:3b:00.0'])), 'changing')
  for (const [state, obstacle] of [
    ['quarantined', 'quarantined'],
    ['foreign', 'foreign'],
    ['dirty', 'returning'],
    ['used', 'returning'],
    ['new', 'unexamined'],
  ] as const)
    t.is(why(view([], [vf(0, 0, { state, baseline })])), obstacle)
})
