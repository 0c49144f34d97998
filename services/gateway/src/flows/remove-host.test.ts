// A host that is gone for good, and one that is not.
import { Endpoint } from '@heddle/contract'
import { HeddleError, withCall } from '@heddle/core'
import test, { type ExecutionContext } from 'ava'
import { addBlue } from '../testing/networks.ts'
import { startParts } from '../testing/parts.ts'
import { attach } from './attach.ts'
import { removeHost } from './remove-host.ts'

async function withDeadHost(t: ExecutionContext) {
  const started = await startParts()
  const { fake, parts } = started
  addBlue(fake)
  const endpoint = { id: 'e1', containerId: 'c1', containerName: 'web', interfaceName: 'eth0', sandbox: '/run/netns/x', mac: '', ports: [], runtime: 'cni' }
  const wish = { endpoint, network: (call: Parameters<typeof parts.directory.byName>[1]) => parts.directory.byName('blue', call), addresses: [], routes: [] }
  await withCall({ timeoutMs: 5000 }, (call) => attach(parts, wish, call))
  fake.hostAlive = false
  const { host } = parts.cluster
  const refused = async (code: string, message: RegExp, name = host) => {
    const error = await t.throwsAsync(removing(name), { message })
    t.like(HeddleError.from(error), { code, field: 'name' })
    t.truthy(HeddleError.from(error).remedy)
  }
  const removing = (name = host, force = false) => withCall({ timeoutMs: 5000 }, (call) => removeHost(parts, name, force, call))
  return { ...started, host, removing, refused }
}

test('a host with endpoints is forgotten with them only when that is asked for', async (t) => {
  const { fake, removing, refused, host, stop } = await withDeadHost(t)
  await refused('host-in-use', /has 1 endpoint, web in network blue/)
  t.is(fake.endpoints.size, 1)
  fake.endpoints.set('elsewhere', Endpoint.fromPartial({ id: 'elsewhere', host: 'another' }))
  t.deepEqual(await removing(host, true), { endpoints: 1, vfClaims: 0 })
  t.deepEqual([...fake.endpoints.keys()], ['elsewhere'])
  t.is(fake.ipam.claims.size, 0)
  await stop()
})

test('a host that is alive, or that nobody has heard of, is refused and keeps what it has', async (t) => {
  const { fake, refused, stop } = await withDeadHost(t)
  fake.hostAlive = true
  await refused('host-in-use', /is alive/)
  await refused('host-unknown', /there is no host "nobody"/, 'nobody')
  await refused('invalid-argument', /no host was named/, '')
  t.is(fake.endpoints.size, 1)
  await stop()
})

test('the overlay may hear of the deleted endpoints a moment later', async (t) => {
  const { fake, removing, host, stop } = await withDeadHost(t)
  fake.faults.set('overlay.removeHost', new HeddleError('host-in-use', 'it has endpoints in 1 network'))
  const removed = removing(host, true)
  while (fake.calls.filter((name) => name === 'overlay.removeHost').length < 2) await new Promise((resolve) => setTimeout(resolve, 10))
  fake.faults.delete('overlay.removeHost')
  t.is((await removed).endpoints, 1)
  await stop()
})
