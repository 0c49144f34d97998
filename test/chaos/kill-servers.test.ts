// NATS and etcd killed in mid-churn and started again: calls succeed or fail retryably, DEL succeeds for what is local, all is consistent afterwards.
import { setTimeout as delay } from 'node:timers/promises'
import { withLab } from '@heddle/testkit'
import test from 'ava'
import { churn } from './churn.ts'
import { startCluster } from './cluster.ts'
import { settle } from './settled.ts'
import { startWitness } from './witness.ts'

test('NATS and etcd may die and come back in mid-churn', async (t) => {
  t.timeout(600_000)
  await withLab(async (lab) => {
    const cluster = await startCluster(lab)
    await cluster.hosts[0].gateway.current().cli(['network', 'create', 'chaos', '--subnet', '10.66.0.0/24', '--subnet', 'fd66::/64'])
    const witness = await startWitness(cluster)
    for (const server of [cluster.nats, cluster.etcd]) {
      const name = server === cluster.nats ? 'nats' : 'etcd'
      const outage = (async () => {
        await delay(1_000)
        await server.kill()
        await delay(2_000)
        await server.restart()
      })()
      const report = await churn(cluster, 60, 4, name)
      await outage
      t.log(`${name}: ${report.attached} attached, ${report.refused} refused`)
      t.deepEqual(report.duplicates, [])
      t.deepEqual(report.unexpected, [])
      t.deepEqual(report.stuck, [])
      t.true(report.attached > 0, `no ADD succeeded around the outage of ${name}`)
    }
    const left = await settle(cluster, 2, 90_000)
    t.deepEqual(left.endpoints, ['witness-from', 'witness-to'])
    t.is(left.claims.length, 4, left.claims.join(', '))
    t.is(left.links.length, 2, left.links.join(', '))
    const { sent, received } = await witness.stop()
    t.true(sent - received <= 1, `${sent - received} of ${sent} packets were lost`)
  })
})

test('DEL of what is local succeeds while etcd is down, and its address is free once etcd is back', async (t) => {
  t.timeout(300_000)
  await withLab(async (lab) => {
    const cluster = await startCluster(lab)
    await cluster.hosts[0].gateway.current().cli(['network', 'create', 'chaos', '--subnet', '10.66.0.0/24', '--subnet', 'fd66::/64'])
    const attachment = {
      containerId: 'orphan',
      netns: await cluster.sandbox(`hdc${process.pid}-orphan`),
      ifname: 'eth0',
      config: { cniVersion: '1.1.0', name: 'chaos', type: 'heddle' },
    }
    const [host] = cluster.hosts
    t.is((await host.cni({ command: 'ADD', ...attachment })).exitCode, 0)
    await cluster.etcd.kill()
    const refused = await host.cni({ command: 'ADD', ...attachment, containerId: 'refused', ifname: 'eth1' })
    t.deepEqual([refused.exitCode, refused.json?.code], [1, 11], refused.stdout)
    const deleted = await host.cni({ command: 'DEL', ...attachment })
    t.deepEqual([deleted.exitCode, deleted.stdout], [0, ''])
    await cluster.etcd.restart()
    const left = await settle(cluster, 0, 90_000)
    t.deepEqual(left, { endpoints: [], claims: [], links: [] })
  })
})
