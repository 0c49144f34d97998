import test from 'ava'
import { openKernel } from './open.ts'
import { withScratch } from './testing/namespaces.ts'
import type { SetVf, Step } from './types.ts'
import { Refused } from './worker/failures.ts'
import type { NetlinkSocket } from './worker/netlink-socket.ts'
import { changeVf } from './worker/vfs.ts'

const kernel = openKernel()
test.after.always(() => kernel.close())

test('a card without VFs has none, and one that is not there is ENODEV', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.run([{ op: 'veth.add', ns, name: 'a', peer: { ns, name: 'b' } }], call)
    t.deepEqual(await kernel.vfs(ns, 'a', call), [])
    t.is((await kernel.link(ns, 'a', call))?.parentDevice, '')
    t.like(await t.throwsAsync(kernel.vfs(ns, 'c', call)), { code: 'kernel-refused', errno: 'ENODEV' })
  }))

test('a setting the driver does not have is unsupported, with the card, the setting and what to do', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.run([{ op: 'veth.add', ns, name: 'a', peer: { ns, name: 'b' } }], call)
    const step: Step = { op: 'vf.set', ns, name: 'a', vf: 0, trust: true, spoofchk: false }
    const error = await t.throwsAsync(kernel.run([step], call))
    t.like(error, { code: 'unsupported', field: 'spoofchk', errno: 'EOPNOTSUPP', index: 0, details: { setting: 'spoofchk' } })
    t.regex(error?.message ?? '', /driver of a .*spoofchk.*EOPNOTSUPP/)
    t.like(await t.throwsAsync(kernel.run([{ ...step, name: 'c' }], call)), { code: 'kernel-refused', errno: 'ENODEV' })
    t.like(await t.throwsAsync(kernel.run([{ ...step, vf: -1 }], call)), { code: 'invalid-argument', field: 'vf' })
    t.is((await kernel.run([{ op: 'vf.set', ns, name: 'a', vf: 0 }], call)).length, 1, 'nothing asked, nothing refused')
  }))

test('a VLAN id that is none, or a link that is not there, is refused', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.run([{ op: 'veth.add', ns, name: 'a', peer: { ns, name: 'b' } }], call)
    const add: Step = { op: 'vlan.add', ns, link: 'a', name: 'a.7', vlan: 7, up: true }
    t.like(await t.throwsAsync(kernel.run([{ ...add, link: 'c' }], call)), { code: 'kernel-refused', errno: 'ENODEV' })
    t.like(await t.throwsAsync(kernel.run([{ ...add, vlan: 0 }], call)), { code: 'invalid-argument', field: 'vlan' })
  }))

/** A driver by the settings it refuses, request by request: attribute numbers of IFLA_VF_INFO. */
function driver(refuses: (settings: readonly number[], request: number) => string | undefined) {
  const requests: number[][] = []
  const socket = {
    request(build: (writer: unknown, sequence: number) => void) {
      const settings: number[] = []
      const writer = new Proxy({} as Record<string, unknown>, {
        get:
          (_, key) =>
          (first: number, second: unknown, ...rest: unknown[]) => {
            if (key === 'message') (rest[1] as () => void)()
            if (key === 'nest') {
              if (depth === 2) settings.push(first)
              depth++
              ;(second as () => void)()
              depth--
            }
            return writer
          },
      })
      let depth = 0
      build(writer, 1)
      requests.push(settings)
      const errno = refuses(settings, requests.length)
      if (errno !== undefined) throw new Refused(errno, '')
    },
  }
  return { socket: socket as unknown as NetlinkSocket, requests }
}

const all: SetVf = {
  op: 'vf.set',
  ns: 'own',
  name: 'pf',
  vf: 1,
  mac: '02:00:00:00:00:01',
  vlan: { id: 5, qos: 0, protocol: '802.1q' },
  spoofchk: true,
  linkState: 'auto',
  trust: true,
}

test('settings that are taken go in one request; the one refused is found by asking one by one, and none after it is tried', (t) => {
  const willing = driver(() => undefined)
  changeVf(willing.socket, 3, all)
  t.deepEqual(willing.requests, [[1, 2, 4, 5, 9]])
  const igb = driver((settings) => (settings.includes(5) ? 'EOPNOTSUPP' : undefined))
  t.like(
    t.throws(() => changeVf(igb.socket, 3, all), { instanceOf: Refused }),
    { errno: 'EOPNOTSUPP', part: { setting: 'linkState' } },
  )
  t.deepEqual(igb.requests, [[1, 2, 4, 5, 9], [1], [2], [4], [5]])
})

test('a driver that was busy for the whole and takes each is no failure', (t) => {
  const busy = driver((_, request) => (request === 1 ? 'EBUSY' : undefined))
  changeVf(busy.socket, 3, all)
  t.deepEqual(busy.requests.slice(1), [[1], [2], [4], [5], [9]])
})
