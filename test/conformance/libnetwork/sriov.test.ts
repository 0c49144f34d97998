// The driver `sriov` in front of the real parts of a host that has no SR-IOV card: what can be had is, what cannot is told, and nothing stays.

import { join } from 'node:path'
import { createUnderlay, type HeddleProcess, LabScope, labDirectory, type PluginClient, pluginClient, run, startHeddle } from '@heddle/testkit'
import test from 'ava'

const scope = new LabScope()
let heddle: HeddleProcess
let docker: PluginClient
let netns: string

const ids = { NetworkID: 'a'.repeat(64), EndpointID: 'e'.repeat(64) }
const network = (generic: object) => ({
  NetworkID: ids.NetworkID,
  Options: { 'com.docker.network.generic': generic, 'com.docker.network.internal': true },
  IPv4Data: [{ AddressSpace: 'LocalDefault', Pool: '172.18.0.0/16', Gateway: '172.18.0.1/16' }],
  IPv6Data: [],
})
const endpoint = { ...ids, Interface: { Address: '172.18.0.2/16', AddressIPv6: '', MacAddress: '' }, Options: {} }

test.before(async () => {
  const dir = labDirectory(scope)
  const underlay = createUnderlay({ hosts: 1 })
  scope.defer('underlay', () => underlay.remove())
  netns = underlay.hosts[0]?.path ?? ''
  heddle = await startHeddle(scope, { host: 'cardless', netns, dir })
  docker = pluginClient(join(heddle.pluginDir, 'sriov.sock'))
  scope.defer('plugin client', () => docker.close())
})
test.after.always(() => scope.close())

/** Keys of what a user has made. */
async function records(): Promise<string[]> {
  const command = ['etcdctl', '--endpoints', heddle.etcd.join(','), 'get', '--prefix', '--keys-only', 'heddle/']
  const keys = await run(['nsenter', `--net=${netns}`, ...command], { env: { ETCDCTL_API: '3' } })
  return keys.split('\n').filter((key) => /^heddle\/(networks|ipam)\//.test(key) || /^heddle\/vf\/.*(172\.18|eeee)/.test(key))
}

async function refused(method: string, body: object): Promise<string> {
  const { status, json } = await docker.call(`NetworkDriver.${method}`, body)
  return `${status} ${json.Err}`
}

test.serial('a PF and a pool that are not there are refused by name', async (t) => {
  const before = await records()
  t.regex(await refused('CreateNetwork', network({ pf_iface: 'lo', vlanid: '100' })), /500 lo is not a device of host cardless that can have VFs; /)
  t.regex(await refused('CreateNetwork', network({ phys_network: 'fast' })), /500 there is no VF pool fast; create it with `heddle vf pool create fast`/)
  t.deepEqual(await records(), before)
})

test.serial('a network of a pool without VFs is made; its container is told that there is none, and keeps nothing', async (t) => {
  const before = await records()
  await heddle.cli(['vf', 'pool', 'create', 'fast', '--vendor', '8086'])
  t.deepEqual((await docker.call('NetworkDriver.CreateNetwork', network({ phys_network: 'fast', vlanid: '100', prefix: 'net' }))).json, {})
  t.like((await heddle.json(['network', 'inspect', `docker-${'a'.repeat(12)}`])).network, { kind: 'sriov', internal: true, options: { prefix: 'net' } })
  const made = await records()
  t.regex(await refused('CreateEndpoint', endpoint), /500 host cardless has reported no device that can have VFs; /)
  t.deepEqual(await records(), made)
  t.regex(await refused('Join', { ...ids, SandboxKey: '', Options: {} }), /500 endpoint eeeeeeeeeeee is not recorded; start the container again/)
  for (const method of ['Leave', 'DeleteEndpoint', 'DeleteNetwork']) t.deepEqual((await docker.call(`NetworkDriver.${method}`, ids)).json, {}, method)
  t.deepEqual(await records(), before)
})
