/** Networks made from a link of the host, bridges that do more than the usual, and their endpoints. */
import { CreateNetworkRequest } from '@heddle/contract'
import { type Call, HeddleError, withCall } from '@heddle/core'
import test from 'ava'
import { netns } from '../testing/networks.ts'
import { startParts } from '../testing/parts.ts'
import { attach } from './attach.ts'
import { createNetwork } from './network.ts'
import type { FlowParts } from './parts.ts'

type Definition = Parameters<typeof CreateNetworkRequest.fromPartial>[0]
const within = <T>(body: (call: Call) => Promise<T>) => withCall<T>({ timeoutMs: 5000, key: 'e1' }, body)
const make = (parts: FlowParts, definition: Definition) =>
  within((call) => createNetwork(parts, { definition: CreateNetworkRequest.fromPartial({ name: 'wire', ...definition }), createdBy: 'cli' }, call))
const attachTo = (parts: FlowParts, ports: { protocol: string; hostAddress: string; hostPort: number; containerPort: number }[] = []) =>
  within((call) =>
    attach(
      parts,
      {
        endpoint: { id: 'e1', containerId: 'c1', containerName: '', interfaceName: 'eth0', sandbox: netns, mac: '', ports, runtime: 'cni' },
        network: (inner) => parts.directory.byName('wire', inner),
        addresses: [],
        routes: [],
      },
      call,
    ),
  )

test('a network on a wire has the subnets it is given, or none, and the gateway that was asked for', async (t) => {
  const { fake, parts, stop } = await startParts()
  const kinds: [Definition, object][] = [
    [{ kind: 'macvlan', parent: { name: 'eth0' }, subnets: [{ prefix: '10.1.0.0/24', gateway: '10.1.0.254' }] }, { pools: [{ gateway: '10.1.0.254' }] }],
    [
      { kind: 'ipvlan', parent: { name: 'eth0', mode: 'l3' }, subnets: [{ prefix: '10.1.0.0/24' }] },
      { parent: { mode: 'l3' }, pools: [{ gateway: '' }] },
    ],
    [
      { kind: 'vlan', parent: { name: 'eth0', vlan: 7 }, options: { prefix: 'net' } },
      { pools: [], options: { prefix: 'net' } },
    ],
    [
      { kind: 'host-device', parent: { mac: '02-00-00-00-00-01' } },
      { parent: { mac: '02:00:00:00:00:01' }, pools: [] },
    ],
    [{ kind: 'null', subnets: [{ prefix: '10.1.0.0/24' }] }, { pools: [{ prefix: '10.1.0.0/24', gateway: '' }] }],
  ]
  for (const [index, [definition, expected]] of kinds.entries()) {
    const named = { name: `n${index}`, ...definition }
    const { network } = await make(parts, named)
    t.like(network, { vni: 0, ...expected }, definition?.kind)
    t.false((await make(parts, named)).created, definition?.kind)
  }
  t.is(fake.vnis.size, 0)
  await stop()
})

test('a network from another link, or a bridge that is to do something else, is another network', async (t) => {
  const { parts, stop } = await startParts()
  await make(parts, { kind: 'macvlan', parent: { name: 'eth0' } })
  t.false((await make(parts, { kind: 'macvlan', parent: { name: 'eth0', mode: 'bridge' } })).created)
  const other = await t.throwsAsync(make(parts, { kind: 'macvlan', parent: { name: 'eth1', mode: 'vepa' } }))
  t.regex(other?.message ?? '', /its parent\.name is eth0, not eth1; its parent\.mode is bridge, not vepa/)
  const bridge = { name: 'lan', kind: 'bridge', subnets: [{ prefix: '10.2.0.0/24' }] }
  await make(parts, { ...bridge, bridge: { isolated: true } })
  const open = await t.throwsAsync(make(parts, bridge))
  t.regex(open?.message ?? '', /its bridge\.isolated is true, not false/)
  await stop()
})

test('an endpoint that the host routes goes out by its link, unless there is to be no way out', async (t) => {
  const { parts, fake, stop } = await startParts()
  const l3 = { kind: 'ipvlan', parent: { name: 'eth0', mode: 'l3' }, subnets: [{ prefix: '10.1.0.0/24' }, { prefix: 'fd00::/64' }] }
  await make(parts, l3)
  await attachTo(parts)
  const routes = fake.routes.get('e1') ?? []
  t.deepEqual(
    routes.map(({ destination, gateway }) => [destination, gateway]),
    [
      ['0.0.0.0/0', ''],
      ['::/0', ''],
    ],
  )
  for (const closed of [{ internal: true }, { options: { gateway: 'none' } }]) {
    const other = await startParts()
    await make(other.parts, { ...l3, ...closed })
    await attachTo(other.parts)
    t.deepEqual(other.fake.routes.get('e1'), [])
    await other.stop()
  }
  await stop()
})

test('ports are published, and recorded, on the address of the host that the network says, unless one is given', async (t) => {
  const { parts, fake, stop } = await startParts()
  await make(parts, { kind: 'bridge', subnets: [{ prefix: '10.1.0.0/24' }], bridge: { hostBinding: '127.0.0.1' } })
  const port = { protocol: 'tcp', hostAddress: '', hostPort: 8080, containerPort: 80 }
  const ports = [port, { ...port, hostAddress: '192.0.2.1' }]
  await attachTo(parts, ports)
  const expected = [
    ['127.0.0.1', 8080],
    ['192.0.2.1', 8080],
  ]
  for (const found of [fake.published.get('e1'), fake.endpoints.get('e1')?.ports])
    t.deepEqual(
      found?.map(({ hostAddress, hostPort }) => [hostAddress, hostPort]),
      expected,
    )
  await t.notThrowsAsync(attachTo(parts, ports), 'the same wish again is the same endpoint')
  await stop()
})

const bad: [string, object, string][] = [
  ['a macvlan of nothing', { kind: 'macvlan' }, 'parent.name'],
  ['a mode of another kind', { kind: 'macvlan', parent: { name: 'eth0', mode: 'l3' } }, 'parent.mode'],
  ['a VLAN network without a VLAN', { kind: 'vlan', parent: { name: 'eth0' } }, 'parent.vlan'],
  ['a device named twice', { kind: 'host-device', parent: { name: 'eth0', pci: '3b:00.0' } }, 'parent'],
  ['a parent of an overlay', { kind: 'overlay', parent: { name: 'eth0' } }, 'parent'],
  ['a bridge of a macvlan', { kind: 'macvlan', parent: { name: 'eth0' }, bridge: { isolated: true } }, 'bridge'],
  ['a host binding that is no address', { kind: 'bridge', bridge: { hostBinding: 'lo' } }, 'bridge.hostBinding'],
  [
    'a gateway of an ipvlan that the host routes',
    { kind: 'ipvlan', parent: { name: 'eth0', mode: 'l3s' }, subnets: [{ prefix: '10.1.0.0/24', gateway: '10.1.0.1' }] },
    'subnets[0].gateway',
  ],
  ['a gateway of null', { kind: 'null', subnets: [{ prefix: '10.1.0.0/24', gateway: '10.1.0.1' }] }, 'subnets[0].gateway'],
  ['a way out of null', { kind: 'null', options: { gateway: 'network' } }, 'options.gateway'],
  ['a prefix that leaves no room', { kind: 'bridge', options: { prefix: 'x'.repeat(13) } }, 'options.prefix'],
]
for (const [name, definition, field] of bad) {
  test(`${name} is refused with its field before anything is asked of anybody`, async (t) => {
    const { fake, parts, stop } = await startParts()
    t.is(HeddleError.from(await t.throwsAsync(make(parts, definition))).field, field)
    t.deepEqual(fake.calls, [])
    await stop()
  })
}
