import { Pf, Vf, VfSelector } from '@heddle/contract'
import test from 'ava'
import { matches, namedPfs } from './selector.ts'

const pf = Pf.fromPartial({ pci: '0000:86:00.0', names: ['eth0', 'eth0r'] })
const vf = Vf.fromPartial({
  host: 'a',
  pci: '0000:86:02.3',
  pf: pf.pci,
  index: 3,
  vendor: '15b3',
  device: '1018',
  driver: 'vfio-pci',
  baseline: { driver: 'mlx5_core' },
  numaNode: 1,
  linkType: 'ether',
  rdmaDevices: ['mlx5_3'],
})
const isMeant = (selector: Parameters<typeof VfSelector.fromPartial>[0]) => matches(VfSelector.fromPartial(selector), vf, pf)

test('an empty selector means every VF, and each list narrows', (t) => {
  t.true(isMeant({}))
  const fitting: Parameters<typeof VfSelector.fromPartial>[0][] = [
    { vendors: ['8086', '15b3'] },
    { devices: ['1018'] },
    { drivers: ['mlx5_core'] },
    { linkTypes: ['ether'] },
    { numaNodes: [0, 1] },
    { hosts: ['a'] },
    { rdma: true },
    { pciAddresses: ['0000:86:02.3'] },
    { pciAddresses: ['0000:86:00.0'] },
    { pciAddresses: ['0000:86:00.0#0-1,3'] },
    { pfNames: ['eth0'] },
    { pfNames: ['eth1', 'eth0r#3'] },
  ]
  for (const selector of fitting) t.true(isMeant(selector), JSON.stringify(selector))
  const others: Parameters<typeof VfSelector.fromPartial>[0][] = [
    { vendors: ['8086'] },
    { devices: ['1017'] },
    // Bound to vfio-pci it is still what it was made as.
    { drivers: ['vfio-pci'] },
    { linkTypes: ['infiniband'] },
    { numaNodes: [0] },
    { hosts: ['b'] },
    { vdpa: true },
    { pciAddresses: ['0000:86:02.4'] },
    { pciAddresses: ['0000:86:00.0#0-2'] },
    { pfNames: ['eth1'] },
    { pfNames: ['eth0#0-2,4'] },
    { vendors: ['15b3'], devices: ['1017'] },
  ]
  for (const selector of others) t.false(isMeant(selector), JSON.stringify(selector))
})

test('the PFs that a selector names are told from those there are', (t) => {
  const named = namedPfs(VfSelector.fromPartial({ pfNames: ['eth0#0-3', 'eth7'] }), [pf])
  t.deepEqual([named?.named, named?.found], [['eth0', 'eth7'], [pf]])
  t.is(namedPfs(VfSelector.fromPartial({ vendors: ['8086'] }), [pf]), undefined)
})
