/** Networks of every kind, defined in a CNI configuration. */
import anyTest, { type TestFn } from 'ava'
import { startGateway, type TestGateway } from '../testing/gateway.ts'
import { addEnv, leftovers, none, settled } from '../testing/networks.ts'

const test = anyTest as TestFn<{ gateway: TestGateway }>

test.beforeEach(async (t) => {
  t.context.gateway = await startGateway()
})
test.afterEach.always((t) => t.context.gateway.stop())

const config = (heddle: object, name = 'wire') => ({ cniVersion: '1.1.0', name, type: 'heddle', heddle })
const subnets = ['10.7.0.0/24']

test('the first ADD makes a network of the kind that its configuration says, and the next finds it', async (t) => {
  const { cni, cluster } = t.context.gateway
  const kinds: [object, object][] = [
    [{ kind: 'macvlan', parent: { name: 'eth0', mode: 'vepa' }, subnets }, { parent: { name: 'eth0', mode: 'vepa' } }],
    [{ kind: 'macvlan', parent: 'eth0', subnets }, { parent: { name: 'eth0', mode: 'bridge' } }],
    [{ kind: 'ipvlan', parent: { name: 'eth0', mode: 'l3' }, subnets }, { parent: { mode: 'l3' } }],
    [
      { kind: 'vlan', parent: { name: 'eth0', vlan: 7 } },
      { parent: { vlan: 7 }, pools: [] },
    ],
    [
      { kind: 'host-device', parent: { pci: '3b:00.0' } },
      { parent: { pci: '0000:3b:00.0' }, pools: [] },
    ],
    [
      { kind: 'bridge', subnets, bridge: { isolated: true, routed: true, hostBinding: '127.0.0.1' } },
      { bridge: { isolated: true, routed: true, hostBinding: '127.0.0.1' } },
    ],
  ]
  for (const [index, [heddle, expected]] of kinds.entries()) {
    const what = JSON.stringify(heddle)
    const given = config(heddle, `wire${index}`)
    for (const CNI_CONTAINERID of ['c1', 'c2']) {
      const added = await cni({ ...addEnv, CNI_CONTAINERID }, given)
      t.is(added.exitCode, 0, `${what} ${added.stdout}`)
      t.is(added.json.interfaces.at(-1).name, 'eth0', what)
      t.is((await cni({ ...addEnv, CNI_COMMAND: 'DEL', CNI_CONTAINERID }, given)).exitCode, 0)
    }
    t.deepEqual(await settled(cluster), none, what)
    t.like([...cluster.networks.values()].at(-1), { createdBy: 'cni', ...expected }, what)
  }
})

test('a device that is given away keeps its MAC, in the result and in the record', async (t) => {
  const { cni, cluster } = t.context.gateway
  const { json } = await cni(addEnv, config({ kind: 'host-device', parent: 'eth1' }))
  t.is(json.interfaces.at(-1).mac, '02:00:00:00:00:0d')
  t.is([...cluster.endpoints.values()][0]?.mac, '02:00:00:00:00:0d')
})

test('a sandbox on null has addresses and no interface', async (t) => {
  const { cni, cluster } = t.context.gateway
  const { json } = await cni(addEnv, config({ kind: 'null', subnets }))
  t.deepEqual([json.interfaces ?? [], json.ips, json.routes ?? []], [[], [{ address: '10.7.0.1/24' }], []])
  t.deepEqual(leftovers(cluster), { claims: 1, endpoints: 1, interfaces: 1 })
})

test('what a kind cannot have, and a network that is there as another, is refused by its key', async (t) => {
  const { cni, cluster } = t.context.gateway
  cluster.addNetwork({ name: 'wire', kind: 'macvlan', parent: { name: 'eth0', mode: 'bridge' } })
  const macvlan = (parent: object) => config({ kind: 'macvlan', parent })
  const cases: [object, number, RegExp][] = [
    [config({ kind: 'macvlan' }), 7, /needs a parent/],
    [macvlan({ name: 'eth0', mode: 'l2' }), 7, /mode l2 is of networks of kind ipvlan/],
    [macvlan({ name: 'eth0', nmode: 'x' }), 2, /"nmode".*the keys are: name, mode, vlan, mac, pci/],
    [config({ kind: 'bridge', bridge: { icc: false } }), 2, /"icc".*the keys are: isolated, routed, hostBinding/],
    [config({ kind: 'ring' }), 7, /kind "ring" is not known; use overlay, .*, null/],
    [macvlan({ name: 'eth1' }), 101, /its parent\.name is eth0, not eth1/],
    [{ ...macvlan({ name: 'eth0', mode: 'passthru' }), mac: '02:00:00:00:00:01', name: 'other' }, 2, /has a MAC that cannot be chosen/],
  ]
  for (const [given, code, sentence] of cases) {
    const { json } = await cni(addEnv, given)
    t.is(json.code, code, JSON.stringify(given))
    t.regex(`${json.msg}; ${json.details ?? ''}`, sentence)
  }
  t.deepEqual(await settled(cluster), none)
})
