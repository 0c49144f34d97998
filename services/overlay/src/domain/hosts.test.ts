import { Host } from '@heddle/contract'
import { HeddleError } from '@heddle/core'
import test from 'ava'
import { checkHost } from './hosts.ts'
import { checkNetworkId, checkVni, maxVni, minVni, randomVni } from './vni.ts'

const check = (change: Partial<Host>) => checkHost(Host.fromPartial({ name: 'h1', vtep: '192.0.2.1', underlayMtu: 1500, epoch: 'abc', ...change }), 'now')

test('a good host gets a canonical address', (t) => {
  t.is(check({ vtep: 'FD00:0::1', underlayMtu: 1280 }).vtep, 'fd00::1')
  t.like(check({ underlayMtu: 576 }), { name: 'h1', vtep: '192.0.2.1', registeredAt: 'now' })
})

test('each bad field is refused by its name', (t) => {
  const cases: [string, Partial<Host>][] = [
    ['host.name', { name: 'h.1' }],
    ['host.name', { name: '' }],
    ['host.vtep', { vtep: '' }],
    ['host.vtep', { vtep: 'h1.example' }],
    ['host.vtep', { vtep: '0.0.0.0' }],
    ['host.vtep', { vtep: '::' }],
    ['host.vtep', { vtep: '224.0.0.1' }],
    ['host.vtep', { vtep: '255.255.255.255' }],
    ['host.vtep', { vtep: 'ff02::1' }],
    ['host.vtep', { vtep: '010.0.0.1' }],
    ['host.underlayMtu', { underlayMtu: 575 }],
    ['host.underlayMtu', { vtep: 'fd00::1', underlayMtu: 1279 }],
    ['host.underlayMtu', { underlayMtu: 65_536 }],
    ['host.epoch', { epoch: '' }],
    ['host.version', { version: 'x'.repeat(65) }],
  ]
  for (const [field, change] of cases) {
    const error = t.throws(() => check(change), undefined, JSON.stringify(change))
    t.true(HeddleError.is(error) && error.code === 'invalid-argument' && error.field === field, `${field}: ${error.message}`)
  }
})

test('VNIs are 4096 to 16777215, and a random one is always among them', (t) => {
  for (const vni of [0, 1, 4095, 16_777_216]) t.throws(() => checkVni(vni), { code: 'invalid-argument' })
  t.is(checkVni(4096), minVni)
  t.is(
    randomVni(() => 0),
    minVni,
  )
  t.is(
    randomVni(() => 1 - Number.EPSILON / 2),
    maxVni,
  )
  for (const id of ['', 'a.b', 'a/b', 'a:b', '>']) t.throws(() => checkNetworkId(id), { code: 'invalid-argument' })
})
