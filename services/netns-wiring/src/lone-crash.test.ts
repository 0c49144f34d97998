/** kill -9 at any step of an attach or a detach of a link of its own: what the next process makes of it. On a kernel in memory. */
import { Endpoint } from '@heddle/contract'
import { macOf } from '@heddle/core'
import test, { type ExecutionContext } from 'ava'
import { type FakeHost, setUp } from './testing/fake-host.ts'
import { within } from './testing/lab.ts'

const kinds = {
  macvlan: { kind: 'macvlan', parent: 'eth0' },
  'macvlan over a VLAN subinterface': { kind: 'macvlan', parent: 'eth0.100' },
  'host-device': { kind: 'host-device', parent: 'nic0' },
} as const

/** The process ends before its `step`-th change from now on: nothing it does after that has an effect. Answers whether it came to that. */
function mortal({ kernel }: FakeHost, step: number): { readonly died: () => boolean; revive(): void } {
  const { before } = kernel
  const removeLink = kernel.removeLink.bind(kernel)
  let left = step
  const change = () => {
    if (left-- <= 0) throw new Error('killed')
  }
  kernel.before = change
  kernel.removeLink = async (...asked) => {
    change()
    return removeLink(...asked)
  }
  return {
    died: () => left < 0,
    revive() {
      kernel.before = before
      kernel.removeLink = removeLink
    },
  }
}

/** Links by namespace, with what of them may be changed. */
const picture = ({ kernel }: FakeHost) =>
  Object.fromEntries(
    [...kernel.namespaces].map(([ns, { links }]) => [ns, [...links.values()].map(({ name, mac, mtu, up, alias }) => ({ name, mac, mtu, up, alias }))]),
  )

async function subject(t: ExecutionContext, { kind, parent }: (typeof kinds)[keyof typeof kinds], sandbox: string) {
  const host = await setUp(t, { orphanGraceMs: 0 })
  host.kernel.addNetdev('nic0', '0000:3b:00.0', '02:00:00:00:00:77')
  await host.kernel.run([{ op: 'link.set', ns: 'own', name: 'nic0', up: true, mtu: 1400, alias: 'rack 3' }])
  const network = host.brains.network({ id: 'n', kind, mtu: kind === 'macvlan' ? 1300 : 0, parent: { name: parent, mode: '', vlan: 0, mac: '', pci: '' } })
  const endpoint = Endpoint.fromPartial({ id: 'e', networkId: 'n', host: 'a', mac: macOf('e'), addresses: ['10.0.0.2/24'], sandbox, interfaceName: 'net1' })
  return {
    host,
    attach: () => within((call) => host.wiring.attach({ network, endpoint }, call)),
    detach: () => within((call) => host.wiring.detach({ endpointId: 'e', sandbox }, call)),
    check: () => within((call) => host.wiring.check({ network, endpoint }, call)),
    endpoint,
  }
}

const most = 12

for (const [name, kind] of Object.entries(kinds)) {
  for (const [runtime, sandbox] of [
    ['CNI', '/ns/c'],
    ['Docker', ''],
  ] as const) {
    test(`${name} for ${runtime}: after an attach that was killed at any step the next one succeeds, and without one all is as it was`, async (t) => {
      const killed = await eachStep(t, async (step, isRepeated) => {
        const { host, attach, check } = await subject(t, kind, sandbox)
        const before = picture(host)
        const life = mortal(host, step)
        await attach().catch(() => {})
        life.revive()
        if (!life.died()) return false
        await host.restart()
        if (isRepeated) {
          await attach()
          t.deepEqual((await check()).differences, [], `step ${step}`)
        } else {
          host.brains.networks.clear()
          for (let round = 0; round < 3; round++) await host.reconcile()
          t.deepEqual(picture(host), before, `step ${step}`)
        }
        return true
      })
      t.true(killed > 1)
    })

    test(`${name} for ${runtime}: a detach that was killed at any step is ended by the next, or by a round`, async (t) => {
      const killed = await eachStep(t, async (step, isRepeated) => {
        const { host, attach, detach, endpoint } = await subject(t, kind, sandbox)
        const before = picture(host)
        await attach()
        host.brains.put(endpoint)
        const life = mortal(host, step)
        await detach().catch(() => {})
        life.revive()
        if (!life.died()) return false
        await host.restart()
        if (isRepeated) await detach()
        host.brains.delete('e')
        host.brains.networks.clear()
        for (let round = 0; round < 3; round++) await host.reconcile()
        t.deepEqual(picture(host), before, `step ${step}`)
        return true
      })
      t.true(killed > 0)
    })
  }
}

/** From the first step on until none is the last any more, each with the call repeated and not. Answers how many there were. */
async function eachStep(t: ExecutionContext, body: (step: number, isRepeated: boolean) => Promise<boolean>): Promise<number> {
  for (let step = 0; step < most; step++) {
    const died = [await body(step, true), await body(step, false)]
    if (!died.includes(true)) return step
  }
  t.fail(`more than ${most} steps`)
  return most
}
