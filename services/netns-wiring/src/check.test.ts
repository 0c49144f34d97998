/** CHECK on the real kernel: each fault planted alone is named alone. */
import type { Endpoint, Network } from '@heddle/contract'
import { macOf } from '@heddle/core'
import test from 'ava'
import { bridgeName, hostEndName, vxlanName } from './domain/names.ts'
import { inside, Lab, sh, until, type WiredHost, within } from './testing/lab.ts'

let lab: Lab
let one: WiredHost
let two: WiredHost
let next = 1
const routes = [
  { destination: '0.0.0.0/0', gateway: '10.9.0.1' },
  { destination: '::/0', gateway: 'fd09::1' },
]
const lan = (): Network =>
  lab.brains.network({
    id: 'lan',
    kind: 'bridge',
    pools: [
      { poolId: 'lan4', prefix: '10.9.0.0/24', gateway: '10.9.0.1' },
      { poolId: 'lan6', prefix: 'fd09::/64', gateway: 'fd09::1' },
    ],
  })
const blue = (): Network => lab.brains.network({ id: 'blue', kind: 'overlay', vni: 4097 })

test.before(async () => {
  lab = await Lab.create(['h1', 'h2'])
  one = await lab.start('h1')
  two = await lab.start('h2')
  await until('both hosts are registered', () => lab.brains.hosts.size === 2)
})
test.after.always(() => lab.close())

interface Planted {
  readonly endpoint: Endpoint
  readonly sandbox: string
  readonly bridge: string
  readonly hostEnd: string
  readonly mac: string
  readonly v4: string
  readonly v6: string
  inSandbox(...command: string[]): Promise<string>
  onHost(...command: string[]): Promise<string>
}

const differencesOf = async (network: Network, endpoint: Endpoint, wanted = routes) =>
  (await within((call) => one.wiring.check({ network, endpoint, routes: wanted }, call))).differences

async function fresh(): Promise<Planted> {
  const last = ++next
  const [v4, v6] = [`10.9.0.${last}/24`, `fd09::${last}/64`]
  const endpoint = await lab.attach(one, lan(), `ep${last}`, [v4, v6], routes)
  const { sandbox, id, mac } = endpoint
  const place = { endpoint, sandbox, bridge: bridgeName('lan'), hostEnd: hostEndName(id), mac, v4, v6 }
  return {
    ...place,
    inSandbox: (...command) => inside(sandbox, ...command),
    onHost: (...command) => inside(one.lab.path, ...command),
  }
}

const faults: [what: string, plant: (at: Planted) => Promise<unknown>, named: (at: Planted) => string][] = [
  ['an interface that is gone', ({ inSandbox }) => inSandbox('ip', 'link', 'delete', 'eth0'), () => 'eth0 is gone'],
  ['an interface that is down', ({ inSandbox }) => inSandbox('ip', 'link', 'set', 'eth0', 'down'), () => 'eth0 is down'],
  ['an interface with another MTU', ({ inSandbox }) => inSandbox('ip', 'link', 'set', 'eth0', 'mtu', '1400'), () => 'eth0 has MTU 1400, it should be 1500'],
  [
    'an interface with another MAC',
    ({ inSandbox }) => inSandbox('ip', 'link', 'set', 'eth0', 'address', '02:66:66:66:66:66'),
    ({ mac }) => `eth0 has MAC 02:66:66:66:66:66, it should be ${mac}`,
  ],
  ['the only IPv4 address gone', ({ inSandbox, v4 }) => inSandbox('ip', 'address', 'delete', v4, 'dev', 'eth0'), ({ v4 }) => `address ${v4} is not on eth0`],
  ['the only IPv6 address gone', ({ inSandbox, v6 }) => inSandbox('ip', 'address', 'delete', v6, 'dev', 'eth0'), ({ v6 }) => `address ${v6} is not on eth0`],
  ['an IPv4 route gone', ({ inSandbox }) => inSandbox('ip', 'route', 'delete', 'default'), () => 'route 0.0.0.0/0 by 10.9.0.1 is not on eth0'],
  ['an IPv6 route gone', ({ inSandbox }) => inSandbox('ip', '-6', 'route', 'delete', 'default'), () => 'route ::/0 by fd09::1 is not on eth0'],
  [
    'a route by another gateway',
    ({ inSandbox }) => inSandbox('ip', 'route', 'replace', 'default', 'via', '10.9.0.254', 'dev', 'eth0'),
    () => 'route 0.0.0.0/0 by 10.9.0.1 is not on eth0',
  ],
  ["the host's end down", ({ onHost, hostEnd }) => onHost('ip', 'link', 'set', hostEnd, 'down'), ({ hostEnd }) => `${hostEnd} is down`],
  [
    "the host's end off its bridge",
    ({ onHost, hostEnd }) => onHost('ip', 'link', 'set', hostEnd, 'nomaster'),
    ({ hostEnd, bridge }) => `${hostEnd} is no port of any bridge, it should be one of ${bridge}`,
  ],
  [
    "the host's end on another bridge",
    async ({ onHost, hostEnd }) => {
      await onHost('ip', 'link', 'add', 'foreign0', 'type', 'bridge')
      await onHost('ip', 'link', 'set', hostEnd, 'master', 'foreign0')
    },
    ({ hostEnd, bridge }) => `${hostEnd} is a port of foreign0, it should be one of ${bridge}`,
  ],
  [
    'the forwarding entry gone',
    ({ onHost, hostEnd, mac }) => onHost('bridge', 'fdb', 'delete', mac, 'dev', hostEnd, 'master', 'static'),
    ({ hostEnd, bridge, mac }) => `${bridge} has no forwarding entry for ${mac} on ${hostEnd}`,
  ],
  ['the sandbox gone', ({ sandbox }) => sh('ip', 'netns', 'delete', sandbox.split('/').at(-1) ?? ''), ({ sandbox }) => `the sandbox ${sandbox} is gone`],
]
for (const [what, plant, named] of faults) {
  test.serial(`CHECK names ${what}, and nothing else`, async (t) => {
    const at = await fresh()
    t.deepEqual(await differencesOf(lan(), at.endpoint), [])
    await plant(at)
    t.deepEqual(await differencesOf(lan(), at.endpoint), [named(at)])
    await within((call) => one.wiring.detach({ endpointId: at.endpoint.id }, call))
    lab.brains.delete(at.endpoint.id)
  })
}

test.serial('of two addresses of a family the one that is gone is named, and the routes by the other are not', async (t) => {
  const endpoint = await lab.attach(one, lan(), 'pair', ['10.9.0.200/24', '10.9.0.201/24'], routes.slice(0, 1))
  await inside(endpoint.sandbox, 'ip', 'address', 'delete', '10.9.0.201/24', 'dev', 'eth0')
  t.deepEqual(await differencesOf(lan(), endpoint, routes.slice(0, 1)), ['address 10.9.0.201/24 is not on eth0'])
})

test.serial("what all containers of a network stand on is named: the bridge down, or without the gateway's address", async (t) => {
  const { endpoint, onHost, bridge } = await fresh()
  await onHost('ip', 'address', 'delete', '10.9.0.1/24', 'dev', bridge)
  t.deepEqual(await differencesOf(lan(), endpoint), [`gateway address 10.9.0.1/24 is not on ${bridge}`])
  await onHost('ip', 'address', 'add', '10.9.0.1/24', 'dev', bridge)
  await onHost('ip', 'link', 'set', bridge, 'down')
  t.deepEqual(await differencesOf(lan(), endpoint), [`${bridge} is down`])
})

test.serial('of an overlay each entry for a container elsewhere is named, and a port that left its bridge', async (t) => {
  const here = await lab.attach(one, blue(), 'here', ['10.1.0.2/24'])
  await lab.attach(two, blue(), 'there', ['10.1.0.3/24'])
  const [mac, hx, hb] = [macOf('there'), vxlanName('blue'), bridgeName('blue')]
  await until('peers are programmed', async () => (await inside(one.fabric, 'bridge', 'fdb')).includes(mac))
  const differences = () => differencesOf(blue(), here, [])
  await until('all is well', async () => (await differences()).length === 0)
  const fabric = (...command: string[]) => inside(one.fabric, ...command)
  const vtep = lab.host('h2').address
  const planted: [plant: string[], named: string][] = [
    [['bridge', 'fdb', 'delete', mac, 'dev', hx, 'dst', vtep, 'self'], `peer entry vxlan ${mac} is missing, it should be ${vtep}`],
    [['bridge', 'fdb', 'delete', mac, 'dev', hx, 'master'], `peer entry bridge ${mac} is missing`],
    [['ip', 'neigh', 'delete', '10.1.0.3', 'dev', hb], `peer entry neighbour 10.1.0.3 is missing, it should be ${mac}`],
  ]
  for (const [plant, named] of planted) {
    let found: string[] = []
    // The repair of the one before may still be looking, and mend this one too.
    await until('the fault is there', async () => {
      await fabric(...plant).catch(() => '')
      found = await differences()
      return found.length > 0
    })
    t.is(found.length, 1, found.join('; '))
    t.true(found[0]?.startsWith(named), found[0])
    await one.reconcile()
    await until(`${named}: repaired`, async () => (await differences()).length === 0)
  }
  await fabric('ip', 'link', 'set', hostEndName('here'), 'nomaster')
  t.deepEqual(await differences(), [`${hostEndName('here')} is no port of any bridge, it should be one of ${hb}`])
})
