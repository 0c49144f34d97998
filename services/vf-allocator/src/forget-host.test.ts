// A host that is gone for good: nothing of it stays below heddle/vf/, and nothing of another one goes.
import { withCall } from '@heddle/core'
import test from 'ava'
import { call, claim, pciOf, report, single } from './testing/cluster.ts'

test('a host that is forgotten leaves neither inventory, claims, reservations nor holds, and may come back as a new one', async (t) => {
  const one = await single()
  await report(one, { host: 'b' })
  await claim(one, 'e1')
  await claim(one, 'e2', { policy: 'spread' })
  await call(one, 'claim', { host: 'a', pci: pciOf(0, 3), reserveFor: 'kubelet' })
  await claim(one, 'e3', { pci: pciOf(0, 3) })
  await claim(one, 'other', { host: 'b' })
  await call(one, 'holdPf', { host: 'b', pf: '0000:3b:00.1', epoch: 'first' })

  t.is((await call(one, 'forgetHost', { host: 'a' })).claims, 3)
  const { records } = await withCall({ timeoutMs: 1_000 }, (within) => one.store.list('heddle/vf/', within))
  const left = records.map(({ key }) => key.slice('heddle/vf/'.length)).filter((key) => !key.startsWith('pool/'))
  t.deepEqual(left.toSorted(), [`claim/b/${pciOf(0, 0)}`, 'hold/b/0000:3b:00.1', 'host/b', 'owner/other'])
  await t.throwsAsync(claim(one, 'e4'), { message: /host a/ })
  t.is((await call(one, 'forgetHost', { host: 'a' })).claims, 0)

  await report(one)
  t.is((await claim(one, 'e1')).pci, pciOf(0, 0))
})
