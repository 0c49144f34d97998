import { Vf } from '@heddle/contract'
import { HeddleError } from '@heddle/core'
import test from 'ava'
import { deviceOf, type Offer, type Resource } from './devices.ts'
import { prefer } from './preference.ts'

/** Devices as `<pf>.<index>`, each PF on the node given. */
function resourceOf(policy: Resource['policy'], pfs: Readonly<Record<string, { readonly node: number; readonly count: number }>>) {
  const offers = new Map<string, Offer>()
  for (const [pf, { node, count }] of Object.entries(pfs)) {
    for (let index = 0; index < count; index++) {
      const vf = Vf.fromPartial({ pci: `${pf}.${index}`, pf, numaNode: node })
      offers.set(vf.pci, { vf, driver: '', device: deviceOf(vf, undefined, false) })
    }
  }
  return { policy, offers }
}
const all = ({ offers }: Pick<Resource, 'offers'>) => [...offers.keys()]

test('packing fills the port with the fewest free devices before the next', (t) => {
  const resource = resourceOf('pack', { a: { node: 0, count: 3 }, b: { node: 0, count: 2 } })
  t.deepEqual(prefer(resource, { available: all(resource), mustInclude: [], size: 3 }), ['b.0', 'b.1', 'a.0'])
})

test('spreading takes from every port in turn, the emptiest first', (t) => {
  const resource = resourceOf('spread', { a: { node: 0, count: 3 }, b: { node: 0, count: 2 } })
  t.deepEqual(prefer(resource, { available: all(resource), mustInclude: [], size: 3 }), ['a.0', 'b.0', 'a.1'])
})

test('devices come from one NUMA node when one has enough of them', (t) => {
  const resource = resourceOf('spread', { a: { node: 0, count: 1 }, b: { node: 1, count: 3 } })
  t.deepEqual(prefer(resource, { available: all(resource), mustInclude: [], size: 2 }), ['b.0', 'b.1'])
  const packed = resourceOf('pack', { a: { node: 0, count: 3 }, b: { node: 1, count: 2 } })
  t.deepEqual(prefer(packed, { available: all(packed), mustInclude: [], size: 2 }), ['b.0', 'b.1'], 'the larger node is left whole')
})

test('what must be included is, and the rest is near it', (t) => {
  const resource = resourceOf('pack', { a: { node: 0, count: 2 }, b: { node: 1, count: 4 }, c: { node: 1, count: 2 } })
  t.deepEqual(prefer(resource, { available: all(resource), mustInclude: ['b.3'], size: 3 }), ['b.3', 'b.0', 'b.1'])
})

test('no more are answered than there are, and none that is not of the resource', (t) => {
  const resource = resourceOf('pack', { a: { node: -1, count: 2 } })
  t.deepEqual(prefer(resource, { available: ['a.1', 'z.0', 'a.0'], mustInclude: [], size: 5 }), ['a.0', 'a.1'])
})

test('the order in which the kubelet names the devices changes nothing', (t) => {
  const resource = resourceOf('spread', { a: { node: 0, count: 2 }, b: { node: 1, count: 2 }, c: { node: 1, count: 2 } })
  const wish = { mustInclude: ['c.1'], size: 4 }
  t.deepEqual(prefer(resource, { ...wish, available: all(resource) }), prefer(resource, { ...wish, available: all(resource).reverse() }))
})

test('more that must be included than are asked for is refused', (t) => {
  const resource = resourceOf('pack', { a: { node: 0, count: 2 } })
  const error = t.throws(() => prefer(resource, { available: [], mustInclude: ['a.0', 'a.1'], size: 1 })) as HeddleError
  t.true(HeddleError.is(error) && error.code === 'invalid-argument')
})
