import test from 'ava'
import { checkHostName, checkInterfaceName, checkNetworkName, HeddleError, hashId, macOf } from './index.ts'

test('names that could leave their subject, key, interface or path are refused and the field is named', (t) => {
  for (const name of ['', '.', '..', 'a/b', 'a b', '-a', 'a\0', 'a'.repeat(64), 'a*', '>']) {
    const error = t.throws(() => checkNetworkName(name, 'network'))
    t.true(HeddleError.is(error) && error.code === 'invalid-argument' && error.field === 'network' && error.remedy !== undefined, name)
  }
  for (const name of ['a.b', 'a*', '']) t.throws(() => checkHostName(name), undefined, name)
  for (const name of ['', 'a/b', 'a:b', 'a b', 'eth%d', '..', 'x'.repeat(16)]) t.throws(() => checkInterfaceName(name), undefined, name)
  t.is(checkNetworkName('blue.1_x-y'), 'blue.1_x-y')
  t.is(checkInterfaceName('eth0.100'), 'eth0.100')
})

test('a MAC derived from an id is local, unicast and stable', (t) => {
  for (let index = 0; index < 200; index++) {
    const mac = macOf(hashId(String(index)))
    t.regex(mac, /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/)
    t.is(Number.parseInt(mac.slice(0, 2), 16) & 3, 2)
    t.is(mac, macOf(hashId(String(index))))
  }
})
