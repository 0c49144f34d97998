// NATS and etcd killed in mid-churn and started again: calls succeed or fail retryably, DEL succeeds for what is local, all is consistent afterwards.
import { setTimeout as delay } from 'node:timers/promises'
import { withLab } from '@heddle/testkit'
import test from 'ava'
import { churn, isRetryable } from './churn.ts'
import { cniConfig, startCluster } from './cluster.ts'
import { nothing, settle } from './settled.ts'
import { checkChurn, checkQuiet } from './verdict.ts'
import { startWitness } from './witness.ts'

test.serial('NATS and etcd may die and come back in mid-churn', async (t) => {
  t.timeout(600_000)
  await withLab(async (lab) => {
    const cluster = await startCluster(lab)
    const witness = await startWitness(lab.scope, cluster)
    for (const name of ['nats', 'etcd'] as const) {
      const server = cluster[name]
      let over = false
      let begun = 0
      const outage = async () => {
        try {
          await delay(1_000)
          await server.kill()
          const fromMs = performance.now()
          const before = begun
          const downMs = () => performance.now() - fromMs
          // Every worker may wait for the server in a call that began before; that ends by its deadline.
          while (downMs() < 2_000 || (begun < before + 2 && downMs() < 20_000)) await delay(50)
          const toMs = performance.now()
          await server.restart()
          return { fromMs, toMs }
        } finally {
          over = true
        }
      }
      const options = { pairs: 60, done: () => over, label: name, taken: witness.taken, onCall: () => begun++ }
      const [report, { fromMs, toMs }] = await Promise.all([churn(cluster, options), outage()])
      const meanwhile = report.calls.filter(({ beganMs }) => beganMs > fromMs && beganMs < toMs)
      t.log(`${name}: ${meanwhile.length} of ${report.calls.length} calls began while it was down`)
      t.true(meanwhile.length > 0)
      checkChurn(t, report)
    }
    await checkQuiet(t, cluster, witness)
  })
})

for (const name of ['etcd', 'nats'] as const) {
  test.serial(`DEL of what is local succeeds while ${name} is down, and its address is free once ${name} is back`, async (t) => {
    t.timeout(300_000)
    await withLab(async (lab) => {
      const cluster = await startCluster(lab)
      // Without NATS the door reaches the hands only in its own process, where they are on a host that is really run.
      const host = cluster.hosts[name === 'nats' ? 1 : 0]
      const attachment = { containerId: 'orphan', netns: await cluster.sandbox('orphan'), ifname: 'eth0', config: cniConfig }
      t.is((await host.cni({ command: 'ADD', ...attachment })).exitCode, 0)
      await cluster[name].kill()
      const refused = await host.cni({ command: 'ADD', ...attachment, containerId: 'refused', ifname: 'eth1' })
      t.true(refused.exitCode === 1 && isRetryable(refused), refused.stdout)
      const deleted = await host.cni({ command: 'DEL', ...attachment })
      t.deepEqual([deleted.exitCode, deleted.stdout], [0, ''])
      await cluster[name].restart()
      const { present, inDetail } = await settle(cluster, nothing)
      t.deepEqual(present, nothing, inDetail)
    })
  })
}
