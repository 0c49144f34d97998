// kill -9 of every service at random points of 200 attach and detach pairs, each restarted: no address twice, nothing left, no packet lost.
import { setTimeout as delay } from 'node:timers/promises'
import { withLab } from '@heddle/testkit'
import test from 'ava'
import { churn } from './churn.ts'
import { startCluster } from './cluster.ts'
import { settle } from './settled.ts'
import { startWitness } from './witness.ts'

const pairs = 200
const killsOfEach = 2

test('services killed at random points lose no address, leak nothing and cost running containers no packet', async (t) => {
  t.timeout(600_000)
  await withLab(async (lab) => {
    const cluster = await startCluster(lab)
    await cluster.hosts[0].gateway.current().cli(['network', 'create', 'chaos', '--subnet', '10.66.0.0/24', '--subnet', 'fd66::/64'])
    const witness = await startWitness(cluster)

    let killed = false
    const kills: string[] = []
    const killer = (async () => {
      const doomed = Array.from({ length: killsOfEach }, () => cluster.members).flat()
      for (const member of shuffled(doomed)) {
        await delay(Math.random() * 1_500)
        kills.push(member.name)
        await member.restart()
      }
    })().finally(() => {
      killed = true
    })
    const report = await churn(cluster, pairs, 4, 'kill', () => killed)
    await killer
    t.log(`killed ${kills.join(', ')}; ${report.attached} attached, ${report.refused} refused`)

    t.deepEqual(report.duplicates, [])
    t.deepEqual(report.unexpected, [])
    t.deepEqual(report.stuck, [])
    t.true(report.attached > 0, 'no ADD succeeded at all')
    const left = await settle(cluster, 2, 90_000)
    t.deepEqual(left.endpoints, ['witness-from', 'witness-to'])
    t.is(left.claims.length, 4, left.claims.join(', '))
    t.is(left.links.length, 2, left.links.join(', '))
    const { sent, received } = await witness.stop()
    t.log(`${sent} packets sent, ${received} received`)
    t.true(sent > 100)
    // The last one may be under way when the ping is stopped.
    t.true(sent - received <= 1, `${sent - received} of ${sent} packets were lost`)
  })
})

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item)
}
