import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HeddleError } from '@heddle/core'
import anyTest, { type TestFn } from 'ava'
import { startGateway, type TestGateway } from '../testing/gateway.ts'
import { addBlue, addEnv, blueConfig } from '../testing/networks.ts'
import { bare, everyOption, left, nothingLeft, vfEnv, vfPci } from '../testing/sriov-networks.ts'

const test = anyTest as TestFn<{ gateway: TestGateway; dir: string }>

test.beforeEach(async (t) => {
  t.context.dir = mkdtempSync(join(tmpdir(), 'heddle-devinfo-'))
  t.context.gateway = await startGateway({ cni: { deviceInfoDir: join(t.context.dir, 'cni') } })
  t.context.gateway.cluster.vfs.addPf('eth0', 4)
})
test.afterEach.always(async (t) => {
  await t.context.gateway.stop()
  rmSync(t.context.dir, { recursive: true, force: true })
})

const ipam = { type: 'host-local', subnet: '10.56.217.0/24' }
const withAddress = { ...bare, ipam }
const del = { ...vfEnv, CNI_COMMAND: 'DEL' }
const check = { ...vfEnv, CNI_COMMAND: 'CHECK' }

test('the same ADD again answers the same; another one for the same interface is refused and harms nothing', async (t) => {
  const { cni, cluster } = t.context.gateway
  const first = await cni(vfEnv, everyOption)
  t.deepEqual(await cni(vfEnv, everyOption), first)
  const before = left(cluster)
  for (const more of [{ vlan: 7 }, { mac: '02:00:00:00:00:01' }, { deviceID: vfPci(1) }, { vfDriver: 'vfio-pci' }]) {
    const other = await cni(vfEnv, { ...everyOption, ...more })
    t.is(other.json.code, 115)
    t.regex(other.json.msg, /call DEL/)
    t.deepEqual(left(cluster), before)
  }
})

test('a VF that another container has is refused, and stays with it', async (t) => {
  const { cni, cluster } = t.context.gateway
  await cni(vfEnv, withAddress)
  const [holder] = cluster.endpoints.keys()
  const before = left(cluster)
  const other = await cni({ ...vfEnv, CNI_CONTAINERID: 'c2' }, withAddress)
  t.is(other.json.code, 123)
  t.true(other.json.msg.includes(holder))
  t.deepEqual(left(cluster), before)
})

test('several interfaces of a container on one network each have a VF', async (t) => {
  const { cni, cluster } = t.context.gateway
  const { deviceID: _, ...none } = bare
  for (const CNI_IFNAME of ['net1', 'net2']) t.is((await cni({ ...vfEnv, CNI_IFNAME }, { ...none, pf: 'eth0' })).exitCode, 0)
  t.deepEqual([...cluster.vfs.claims.keys()], [vfPci(0), vfPci(1)])
  t.deepEqual(
    [...cluster.vfs.claims.values()].map(({ group }) => group),
    ['c1', 'c1'],
  )
})

const ends: [string, object, object][] = [
  ['as it is called first', {}, {}],
  ['without a namespace', { CNI_NETNS: '' }, {}],
  ['with a namespace that is gone', { CNI_NETNS: '/run/netns/gone' }, {}],
  ['with a configuration that no longer suits', { CNI_ARGS: '=bad=' }, { vlan: 9999, spoofchk: 'maybe', ipam: { type: 'nonsense' }, runtimeConfig: 5 }],
]
for (const [name, env, config] of ends) {
  test(`DEL frees VF and address ${name}, and again`, async (t) => {
    const { cni, cluster } = t.context.gateway
    await cni(vfEnv, { ...everyOption, ipam })
    for (let time = 0; time < 2; time++) {
      const { exitCode, stdout } = await cni({ ...del, ...env }, { ...everyOption, ...config })
      t.deepEqual([exitCode, stdout], [0, ''])
      t.deepEqual(left(cluster), nothingLeft)
    }
  })
}

test('DEL frees what an ADD had begun whose record was never made, also by a gateway that was started since', async (t) => {
  const { cni, cluster } = t.context.gateway
  await cni(vfEnv, withAddress)
  cluster.endpoints.clear()
  const other = await startGateway({}, cluster)
  t.is((await other.cni(del, withAddress)).exitCode, 0)
  t.deepEqual(left(cluster), nothingLeft)
  await other.stop()
})

test('DEL after a boot, when the VF was made anew, frees what was claimed', async (t) => {
  const { cni, cluster } = t.context.gateway
  await cni(vfEnv, withAddress)
  const vf = cluster.vfs.vfs.get(vfPci(0))
  Object.assign(vf ?? {}, { generation: 'boot2', state: 'ready', settings: vf?.baseline?.settings })
  cluster.interfaces.clear()
  t.is((await cni({ ...del, CNI_NETNS: '/run/netns/gone' }, withAddress)).exitCode, 0)
  t.deepEqual(left(cluster), nothingLeft)
})

test('DEL that cannot put the VF back fails and keeps the claim: nobody may be given that VF', async (t) => {
  const { cni, cluster } = t.context.gateway
  await cni(vfEnv, withAddress)
  cluster.faults.set('wiring.detach', new HeddleError('kernel-refused', 'VF not found where it should be'))
  const failed = await cni(del, withAddress)
  t.is(failed.exitCode, 1)
  t.notRegex(failed.stdout, /not found|no such file/i)
  t.is(cluster.vfs.claims.size, 1)
  cluster.faults.clear()
  t.is((await cni(del, withAddress)).exitCode, 0)
  t.deepEqual(left(cluster), nothingLeft)
})

test('DEL succeeds for what is local when no brain answers', async (t) => {
  const { cni, cluster } = t.context.gateway
  await cni(vfEnv, withAddress)
  cluster.faults.set('networks', 'hang').set('ipam', new HeddleError('unavailable', 'away')).set('vfAllocator', 'hang')
  t.is((await cni(del, withAddress)).exitCode, 0)
  t.deepEqual([cluster.interfaces.size, cluster.vfs.vfs.get(vfPci(0))?.state], [0, 'ready'])
})

test('ADD and DEL on a bridge ask nothing of the allocator', async (t) => {
  const { cni, cluster } = t.context.gateway
  addBlue(cluster)
  await cni(addEnv, blueConfig)
  await cni({ ...addEnv, CNI_COMMAND: 'DEL' }, blueConfig)
  t.deepEqual(
    cluster.calls.filter((name) => name.startsWith('vfAllocator')),
    [],
  )
})

test('CHECK is content with what ADD made, and names a claim that is missing beside what the hands see', async (t) => {
  const { cni, cluster } = t.context.gateway
  const { json: prevResult } = await cni(vfEnv, withAddress)
  t.is((await cni(check, { ...withAddress, prevResult })).exitCode, 0)
  cluster.vfs.claims.clear()
  cluster.interfaces.clear()
  const drifted = await cni(check, { ...withAddress, prevResult })
  t.is(drifted.json.code, 117)
  t.regex(drifted.json.msg, /interface is missing.*VF 0000:3b:02\.0 is not claimed/)
})

test('CHECK reads CNI_ARGS as ADD did: a device named there makes the ipam object count', async (t) => {
  const { cni } = t.context.gateway
  const { deviceID, ...config } = withAddress
  const CNI_ARGS = `deviceID=${deviceID}`
  const { json: prevResult, exitCode } = await cni({ ...vfEnv, CNI_ARGS }, config)
  t.is(exitCode, 0)
  t.deepEqual((await cni({ ...check, CNI_ARGS }, { ...config, prevResult })).stdout, '')
})

test('GC puts back and frees the VFs of attachments that are not in the list', async (t) => {
  const { cni, cluster } = t.context.gateway
  for (const [index, id] of ['keep', 'drop'].entries()) await cni({ ...vfEnv, CNI_CONTAINERID: id }, { ...withAddress, deviceID: vfPci(index), vlan: 5 })
  const gc = { ...withAddress, 'cni.dev/valid-attachments': [{ containerID: 'keep', ifname: 'net1' }] }
  t.is((await cni({ CNI_COMMAND: 'GC' }, gc)).exitCode, 0)
  t.deepEqual([...cluster.vfs.claims.keys()], [vfPci(0)])
  t.deepEqual(left(cluster), { claims: 1, endpoints: 1, interfaces: 1, vfClaims: 1, astray: [] })
})

test('STATUS is 50 when no VF could be had', async (t) => {
  const { cni, cluster } = t.context.gateway
  const status = (more: object) => cni({ CNI_COMMAND: 'STATUS' }, { cniVersion: '1.1.0', name: 'sriov-net', type: 'heddle', ...more })
  cluster.vfs.addPool({ name: 'high', selectors: [{ pfNames: ['eth0#3'] }] })
  t.is((await status({ vfPool: 'high' })).exitCode, 0, 'the first ADD makes the network')
  await cni(vfEnv, { ...bare, deviceID: vfPci(3) })
  const taken = await status({ vfPool: 'high' })
  t.is(taken.json.code, 50)
  t.regex(taken.json.msg, /every VF of pool high on host h1 is in use/)
  t.is((await status({ pf: 'eth0' })).exitCode, 0)
  const none = await status({ pf: 'eth9' })
  t.is(none.json.code, 50)
  t.regex(none.json.msg, /no VF of PF eth9 .*heddle pf set-vfs/)
  for (const vf of cluster.vfs.vfs.values()) vf.state = 'quarantined'
  t.is((await status({ pf: 'eth0' })).json.code, 50)
  t.is((await status({})).exitCode, 0, 'each ADD names a device, which the runtime knows to be free')
  cluster.faults.set('vfAllocator', new HeddleError('unavailable', 'away'))
  const silent = await status({})
  t.is(silent.json.code, 50)
  t.regex(silent.json.msg, /vf-allocator does not answer/)
})

test('STATUS of other networks asks nothing of the allocator', async (t) => {
  const { cni, cluster } = t.context.gateway
  addBlue(cluster)
  cluster.faults.set('vfAllocator', new HeddleError('unavailable', 'away'))
  t.is((await cni({ CNI_COMMAND: 'STATUS' }, blueConfig)).exitCode, 0)
})

const infoOf = (file: string) => JSON.parse(readFileSync(file, 'utf8'))

test('the meta-plugin is told of the device in the file it names, until DEL', async (t) => {
  const { gateway, dir } = t.context
  const { cni, cluster } = gateway
  Object.assign(cluster.vfs.vfs.get(vfPci(0)) ?? {}, { rdmaDevices: ['mlx5_2'], representor: 'eth0_0' })
  const file = join(dir, 'cni', 'pod-net1')
  const config = { ...bare, runtimeConfig: { CNIDeviceInfoFile: file } }
  t.is((await cni(vfEnv, config)).exitCode, 0)
  const pci = { 'pci-address': vfPci(0), 'pf-pci-address': '0000:3b:00.0', 'rdma-device': 'mlx5_2', 'representor-device': 'eth0_0' }
  t.deepEqual(infoOf(file), { type: 'pci', version: '1.1.0', pci })
  writeFileSync(file, JSON.stringify({ type: 'pci', version: '1.0.0', pci: { 'pci-address': vfPci(0), 'vhost-net': '/dev/vhost-net' } }))
  await cni(vfEnv, config)
  t.deepEqual(infoOf(file).pci, { 'vhost-net': '/dev/vhost-net', ...pci }, 'what the device plugin told of it stays')
  t.deepEqual(readdirSync(join(dir, 'cni')), ['pod-net1'])
  await cni({ ...vfEnv, CNI_COMMAND: 'DEL' }, config)
  t.deepEqual(readdirSync(join(dir, 'cni')), [])
})

test('a file elsewhere is not written, whoever wrote the configuration, and DEL removes none', async (t) => {
  const { gateway, dir } = t.context
  const precious = join(dir, 'precious')
  writeFileSync(precious, 'x')
  for (const CNIDeviceInfoFile of [precious, `${dir}/cni/../precious`, `${dir}/cni/deep/er`, `${dir}/cni/..`, 'precious', 7]) {
    const config = { ...bare, runtimeConfig: { CNIDeviceInfoFile } }
    const { json } = await gateway.cni(vfEnv, config)
    t.is(json.code, 7)
    t.regex(json.msg, /CNIDeviceInfoFile: .* give a file directly below/)
    t.is((await gateway.cni({ ...vfEnv, CNI_COMMAND: 'DEL' }, config)).exitCode, 0)
  }
  t.is(readFileSync(precious, 'utf8'), 'x')
  t.deepEqual(left(gateway.cluster), nothingLeft)
})

test('an ADD whose meta-plugin cannot be told is undone', async (t) => {
  const { gateway, dir } = t.context
  writeFileSync(join(dir, 'cni'), 'no directory')
  const { json } = await gateway.cni(vfEnv, { ...withAddress, runtimeConfig: { CNIDeviceInfoFile: join(dir, 'cni', 'pod-net1') } })
  t.is(json.code, 11)
  t.regex(json.msg, /cannot be written/)
  t.deepEqual(left(gateway.cluster), nothingLeft)
})

test('in a chain the previous result is kept and the VF follows it; older versions are told less', async (t) => {
  const { cni } = t.context.gateway
  const prevResult = { cniVersion: '0.3.1', interfaces: [{ name: 'eth0' }], ips: [{ version: '4', address: '127.0.0.1/8', interface: 0 }] }
  const { json } = await cni(vfEnv, { ...withAddress, cniVersion: '0.3.1', prevResult })
  t.deepEqual(json.interfaces, [{ name: 'eth0' }, { name: 'net1', mac: '52:54:00:3b:00:00', sandbox: vfEnv['CNI_NETNS'] }])
  t.is(json.ips[1].interface, 1)
})

test('a setting that the card does not take is named as the configuration names it', async (t) => {
  const { cni, cluster } = t.context.gateway
  const refusal = new HeddleError('unsupported', 'PF eth0 does not take linkState disable for VF 0000:3b:02.0: EOPNOTSUPP', {
    field: 'endpoint.vf.settings.linkState',
    remedy: 'leave linkState out, or use a card whose driver supports it',
    details: { setting: 'linkState', device: 'eth0' },
  })
  cluster.faults.set('wiring.prepare', refusal)
  const { json } = await cni(vfEnv, { ...withAddress, link_state: 'disable' })
  t.is(json.code, 2)
  t.is(json.msg, 'PF eth0 does not take link_state disable for VF 0000:3b:02.0: EOPNOTSUPP; leave link_state out, or use a card whose driver supports it')
  t.regex(json.details, /field: link_state, setting: link_state, device: eth0/)
  cluster.faults.clear()
  t.deepEqual(left(cluster), nothingLeft)
})
