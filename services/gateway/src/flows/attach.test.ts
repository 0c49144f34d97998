import { HeddleError, withCall } from '@heddle/core'
import test from 'ava'
import { addBlue, leftovers, netns, none } from '../testing/networks.ts'
import { startParts } from '../testing/parts.ts'
import { type AttachWish, attach } from './attach.ts'
import { detach } from './detach.ts'
import type { FlowParts } from './parts.ts'

const ports = [{ protocol: 'tcp', hostAddress: '', hostPort: 8080, containerPort: 80 }]

function wishOf(parts: FlowParts, more: Partial<AttachWish> = {}): AttachWish {
  const endpoint = { id: 'e1', containerId: 'c1', containerName: '', interfaceName: 'eth0', sandbox: netns, mac: '', ports, runtime: 'cni' }
  return { endpoint, network: (call) => parts.directory.byName('blue', call), addresses: [], routes: [], ...more }
}

const within = <T>(timeoutMs: number, body: Parameters<typeof withCall<T>>[1]) => withCall<T>({ timeoutMs, key: 'e1' }, body)

for (const step of ['ipam.allocate', 'wiring.prepare', 'networks.putEndpoint', 'wiring.attach', 'wiring.publishPorts']) {
  test(`when ${step} fails everything is undone and its failure is the one reported`, async (t) => {
    const { fake, parts, stop } = await startParts()
    addBlue(fake)
    fake.faults.set(step, new HeddleError('kernel-refused', `${step} failed`))
    const error = await t.throwsAsync(within(5000, (call) => attach(parts, wishOf(parts), call)))
    t.is(error?.message, `${step} failed`)
    t.deepEqual(leftovers(fake), none)
    await stop()
  })

  test(`when ${step} never answers the caller is told at its deadline and everything is undone after it`, async (t) => {
    const { fake, parts, stop } = await startParts()
    addBlue(fake)
    fake.faults.set(step, 'hang')
    await t.throwsAsync(
      within(150, (call) => attach(parts, wishOf(parts), call)),
      { message: /no result within/ },
    )
    await parts.endpoints.idle()
    t.deepEqual(leftovers(fake), none)
    await stop()
  })
}

test('an undo that fails does not hide the first failure', async (t) => {
  const { fake, parts, stop } = await startParts()
  addBlue(fake)
  fake.faults.set('wiring.attach', new HeddleError('netns-gone', 'first'))
  fake.faults.set('wiring.detach', new HeddleError('kernel-refused', 'second'))
  await t.throwsAsync(
    within(5000, (call) => attach(parts, wishOf(parts), call)),
    { message: 'first' },
  )
  t.is(fake.ipam.claims.size, 0, 'what comes after the failed undo is undone all the same')
  await stop()
})

test('a MAC that is another’s is refused before any link has it; one that is free is attached, and again with the same wish', async (t) => {
  const { fake, parts, stop } = await startParts()
  addBlue(fake)
  const wish = wishOf(parts)
  const asking = { ...wish, endpoint: { ...wish.endpoint, mac: '02:aa:bb:cc:dd:ee' } }
  fake.faults.set('networks.putEndpoint', new HeddleError('mac-taken', 'the MAC is taken'))
  await t.throwsAsync(
    within(5000, (call) => attach(parts, asking, call)),
    { message: 'the MAC is taken' },
  )
  t.deepEqual(
    fake.calls.filter((name) => name === 'wiring.prepare' || name === 'wiring.attach'),
    [],
  )
  t.deepEqual(leftovers(fake), none)
  fake.faults.clear()
  for (const time of ['first', 'again']) {
    const { endpoint } = await within(5000, (call) => attach(parts, asking, call))
    t.like(endpoint, { mac: '02:aa:bb:cc:dd:ee', state: 'wired' }, time)
  }
  await stop()
})

test('a network that was deleted and made again behind the directory is found by the second try', async (t) => {
  const { fake, parts, stop } = await startParts()
  const old = addBlue(fake)
  await within(1000, (call) => parts.directory.byName('blue', call))
  fake.networks.delete(old.id)
  fake.addNetwork({ ...old, id: 'f'.repeat(32) })
  const attached = await within(5000, (call) => attach(parts, wishOf(parts), call))
  t.is(attached.network.id, 'f'.repeat(32))
  t.deepEqual(leftovers(fake), { claims: 2, endpoints: 1, interfaces: 1 })
  await stop()
})

test('a network that is gone for good is unknown after one more try', async (t) => {
  const { fake, parts, stop } = await startParts()
  const old = addBlue(fake)
  await within(1000, (call) => parts.directory.byName('blue', call))
  fake.networks.delete(old.id)
  const error = await t.throwsAsync(within(5000, (call) => attach(parts, wishOf(parts), call)))
  t.is(HeddleError.from(error).code, 'network-unknown')
  t.deepEqual(leftovers(fake), none)
  await stop()
})

test('when nobody can say whether the endpoint is in use, its addresses are left to the sweep', async (t) => {
  const { fake, parts, stop } = await startParts()
  addBlue(fake)
  await within(1000, (call) => attach(parts, wishOf(parts), call))
  fake.faults.set('wiring.prepare', new HeddleError('interface-exists', 'it is in use')).set('networks.listEndpoints', 'hang')
  await t.throwsAsync(
    within(5000, (call) => attach(parts, wishOf(parts), call)),
    { message: 'it is in use' },
  )
  t.is(fake.ipam.claims.size, 2)
  await stop()
})

test('an ADD that is repeated while no record can be read takes nothing away from the container', async (t) => {
  const { fake, parts, stop } = await startParts()
  addBlue(fake)
  await within(1000, (call) => attach(parts, wishOf(parts), call))
  fake.faults.set('networks.listEndpoints', new HeddleError('internal', 'away'))
  await t.throwsAsync(
    within(5000, (call) => attach(parts, wishOf(parts), call)),
    { message: 'away' },
  )
  t.deepEqual(leftovers(fake), { claims: 2, endpoints: 1, interfaces: 1 })
  await stop()
})

test('a detach waits for the attach before it, and leaves nothing', async (t) => {
  const { fake, parts, stop } = await startParts()
  addBlue(fake)
  const wish = { endpointId: 'e1', networkId: '', sandbox: netns, interfaceName: 'eth0' }
  await Promise.all([within(1000, (call) => attach(parts, wishOf(parts), call)), within(1000, (call) => detach(parts, wish, call))])
  t.deepEqual(leftovers(fake), none)
  await stop()
})

test('a detach succeeds when the interface is gone, whether or not the brains could be told', async (t) => {
  const { fake, parts, stop } = await startParts()
  addBlue(fake)
  await within(1000, (call) => attach(parts, wishOf(parts), call))
  fake.faults.set('ipam', 'hang')
  const wish = { endpointId: 'e1', networkId: '', sandbox: netns, interfaceName: 'eth0' }
  await within(5000, (call) => detach(parts, wish, call))
  t.deepEqual(leftovers(fake), { claims: 2, endpoints: 0, interfaces: 0 })
  await stop()
})
