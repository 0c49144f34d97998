// Refusals of sysfs under the names the kernel's documentation has for them.
import test from 'ava'
import { errnoOf, refused } from './failures.ts'

const refusal = (code: string) => Object.assign(new Error('refused'), { code })

test('what libuv calls ENOTSUP is the kernel EOPNOTSUPP, so that a netdev without a switch has no switch id instead of an error', (t) => {
  t.is(errnoOf(refusal('ENOTSUP')), 'EOPNOTSUPP')
  t.is(errnoOf(refusal('Unknown system error -524')), 'ENOTSUPP')
  t.is(errnoOf(refusal('Unknown system error -517')), 'E517')
  t.is(errnoOf(refusal('EBUSY')), 'EBUSY')
  t.is(errnoOf('no error'), '')
})

test('a refusal is an error of the catalogue that names errno and path', (t) => {
  const error = refused(refusal('ENOTSUP'), 'reading x', { path: '/sys/x' })
  t.like(error, { code: 'kernel-refused', details: { errno: 'EOPNOTSUPP', path: '/sys/x' } })
})
