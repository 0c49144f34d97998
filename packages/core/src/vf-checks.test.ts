import { VfSelector, VfSettings } from '@heddle/contract'
import test from 'ava'
import { HeddleError } from './errors.ts'
import { checkPci, checkVfSelector, checkVfSettings, splitIndexes } from './vf-checks.ts'

type Change<T> = { [K in keyof T]?: unknown }
const selector = (change: Change<VfSelector>) => checkVfSelector(VfSelector.fromPartial(change as object), 'selector')

test('what is said of VFs becomes canonical, each entry once', (t) => {
  const checked = selector({
    vendors: ['0x8086', '8086', '15B3'],
    pciAddresses: ['86:00.0#0-1,3', '0000:86:02.1'],
    pfNames: ['eth0#0-3,7', 'eth#1#2'],
    numaNodes: [-1, 0],
  })
  t.deepEqual(checked.vendors, ['8086', '15b3'])
  t.deepEqual(checked.pciAddresses, ['0000:86:00.0#0-1,3', '0000:86:02.1'])
  t.deepEqual(splitIndexes(checked.pfNames[0] ?? ''), { device: 'eth0', indexes: [0, 1, 2, 3, 7] })
  t.is(splitIndexes('eth#1#2').device, 'eth#1')
  t.is(splitIndexes('eth0').indexes, undefined)
  t.is(checkPci('3B:02.1', 'pci'), '0000:3b:02.1')
})

test('each bad entry is refused by its place, with what to do', (t) => {
  const cases: [string, Change<VfSelector>][] = [
    ['selector.vendors[1]', { vendors: ['8086', 'intel'] }],
    ['selector.devices[0]', { devices: ['154'] }],
    ['selector.drivers[0]', { drivers: ['../x'] }],
    ['selector.pciAddresses[0]', { pciAddresses: ['eth0'] }],
    ['selector.pciAddresses[0]', { pciAddresses: ['0000:86:00.0#3-1'] }],
    ['selector.pfNames[0]', { pfNames: ['a/b'] }],
    ['selector.pfNames[0]', { pfNames: ['eth0#x'] }],
    ['selector.linkTypes[0]', { linkTypes: ['wifi'] }],
    ['selector.numaNodes[0]', { numaNodes: [-2] }],
    ['selector.hosts[0]', { hosts: ['a.b'] }],
    ['selector.hosts', { hosts: Array.from({ length: 257 }, () => 'a') }],
  ]
  for (const [field, change] of cases) {
    const error = t.throws(() => selector(change), undefined, field)
    t.true(HeddleError.is(error) && error.code === 'invalid-argument' && error.field === field && error.remedy !== undefined, `${field}: ${error.message}`)
  }
})

test('settings that say nothing are left so, and a MAC of zeros means none', (t) => {
  t.deepEqual(checkVfSettings(VfSettings.fromPartial({}), 'settings'), VfSettings.fromPartial({}))
  t.is(checkVfSettings(VfSettings.fromPartial({ mac: '00-00-00-00-00-00' }), 'settings').mac, '00:00:00:00:00:00')
})
