// A PF that is gone or down, VFs made anew, reads that hang, many events at once: what is said, and what is left alone.
import { withCall } from '@heddle/core'
import { presets } from '@heddle/testkit'
import test from 'ava'
import { until } from '../testing/lab.ts'
import { attach, detach, repair } from '../testing/vf-calls.ts'
import { network, pf, VfLab } from '../testing/vf-lab.ts'

const mac = '02:11:22:33:44:55'

test("a VF that was made anew under its endpoint is nobody's: the next one has it, and a late DEL of the old one leaves it alone", async (t) => {
  const lab = await VfLab.create(t)
  const old = lab.claim(0, 'old', { vlan: 5 }, { mac })
  await attach(lab, old)
  lab.card.tree.setNumVfs(pf, 4)
  lab.card.forget()
  await lab.reported()
  lab.allocator.free(lab.vf(0))
  const next = lab.claim(0, 'next', { vlan: 6 }, { sandbox: '/ns/d' })
  await attach(lab, next)
  t.false((await detach(lab, old)).existed)
  t.like(lab.card.find(lab.vf(0)), { ns: '/ns/d', link: { name: 'net1', alias: 'heddle:next:n1' } })
})

test('while the cards are read, however long that takes, events of many VFs come to one more look', async (t) => {
  const lab = await VfLab.create(t)
  const read = lab.card.sysfs.physicalFunctions
  let looks = 0
  let open = () => {}
  const gate = new Promise<void>((resolve) => (open = resolve))
  lab.card.sysfs.physicalFunctions = async () => {
    looks++
    await gate
    return read()
  }
  const event = () => lab.kernel.tellDevice({ action: 'add', subsystem: 'pci', path: '/devices/pci0000:3b/0000:3b:10.0' })
  event()
  await until('a look', () => looks === 1)
  for (let round = 0; round < 4; round++) {
    event()
    await new Promise((resolve) => setTimeout(resolve, 120))
  }
  open()
  await lab.reported()
  await lab.reported()
  t.true(looks <= 4, `${looks} looks`)
})

test('a read of sysfs that hangs keeps a VF no longer than who waits for it', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 5 }, { mac })
  const read = lab.card.sysfs.virtualFunction
  lab.card.sysfs.virtualFunction = () => new Promise(() => {})
  t.like(await t.throwsAsync(withCall({ timeoutMs: 200 }, (call) => lab.wiring.prepare({ network, endpoint }, call))), { code: 'deadline-exceeded' })
  lab.card.sysfs.virtualFunction = read
  await attach(lab, endpoint)
  t.like(lab.card.find(lab.vf(0)), { ns: '/ns/c' })
})

test('while the PF is in another namespace its VFs are refused with what to do, and none is blamed', async (t) => {
  const lab = await VfLab.create(t)
  const endpoint = lab.claim(0, 'e1', { vlan: 5 }, { mac })
  await lab.kernel.run([{ op: 'link.move', ns: 'own', name: 'eth0', to: { path: '/ns/d' } }])
  const error = await t.throwsAsync(attach(lab, endpoint))
  t.like(error, { code: 'unsupported', field: 'endpoint.vf.pf' })
  await lab.reported()
  t.not(lab.allocator.vfs.get(lab.vf(0))?.state, 'quarantined')
  await lab.kernel.run([{ op: 'link.move', ns: { path: '/ns/d' }, name: 'eth0', to: 'own', rename: 'eth9' }])
  await attach(lab, endpoint)
  t.is(lab.card.info(lab.vf(0)).vlan, 5)
  // It goes away under the endpoint: its VF leaves the sandbox, is offered to nobody, and is put back when the PF is there again.
  await lab.kernel.run([{ op: 'link.move', ns: 'own', name: 'eth9', to: { path: '/ns/d' } }])
  t.true((await detach(lab, endpoint)).existed)
  t.is(lab.card.find(lab.vf(0))?.ns, 'own')
  lab.allocator.free(lab.vf(0))
  t.is((await repair(lab))[0]?.outcome, 'held')
  t.is(lab.allocator.vfs.get(lab.vf(0))?.state, 'foreign')
  await lab.kernel.run([{ op: 'link.move', ns: { path: '/ns/d' }, name: 'eth9', to: 'own' }])
  t.is((await repair(lab))[0]?.outcome, 'repaired')
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

test('a VF that cannot be set up because its PF is down is put back, and the remedy is to set that up', async (t) => {
  const lab = await VfLab.create(t)
  lab.kernel.refusals.set('link.move', ['ENETDOWN'])
  const error = await t.throwsAsync(attach(lab, lab.claim(0, 'e1', { vlan: 5 }, { mac })))
  t.like(error, { code: 'kernel-refused', field: 'endpoint.vf.pf', remedy: 'set its PF up: ip link set eth0 up' })
  t.deepEqual(lab.dirt(lab.vf(0)), [])
})

test('a PF in switchdev mode that takes no VLAN is said to be, with the representor that does', async (t) => {
  const lab = await VfLab.create(t, { functions: [presets.switchdev({ pci: pf, numVfs: 1 })] })
  lab.card.refuses.set('vlan', 'EOPNOTSUPP')
  const error = await t.throwsAsync(attach(lab, lab.claim(0, 'e1', { vlan: 5 })))
  t.like(error, { code: 'unsupported', field: 'endpoint.vf.settings.vlan' })
  t.regex((error as { remedy?: string }).remedy ?? '', /switchdev mode.*representor \(\S+\)/)
})

test('a DEL of what is unknown asks nobody once the claims are known', async (t) => {
  const lab = await VfLab.create(t)
  lab.allocator.down = true
  t.false((await detach(lab, lab.claim(0, 'never'), { endpointId: 'unknown', vf: undefined })).existed)
  t.is(lab.allocator.asked, 0)
})
