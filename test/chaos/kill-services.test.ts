// kill -9 of every service at random points of 200 attach and detach pairs, each restarted: no address twice, nothing left, no packet lost.
import { setTimeout as delay } from 'node:timers/promises'
import { withLab } from '@heddle/testkit'
import test from 'ava'
import { churn } from './churn.ts'
import { startCluster } from './cluster.ts'
import { seededRandom } from './random.ts'
import { checkChurn, checkQuiet } from './verdict.ts'
import { startWitness } from './witness.ts'

const pairs = 200
const killsOfEach = 2

test('services killed at random points lose no address, leak nothing and cost running containers no packet', async (t) => {
  t.timeout(600_000)
  const random = seededRandom()
  t.log(`HEDDLE_SEED=${random.seed}`)
  await withLab(async (lab) => {
    const cluster = await startCluster(lab)
    const witness = await startWitness(lab.scope, cluster)

    let killed = false
    const kills: string[] = []
    const killer = async () => {
      try {
        for (const member of random.shuffled(Array.from({ length: killsOfEach }, () => cluster.members).flat())) {
          await delay(random.next() * 1_500)
          kills.push(member.name)
          await member.restart()
        }
      } finally {
        killed = true
      }
    }
    const [report] = await Promise.all([churn(cluster, { pairs, done: () => killed, label: 'kill', taken: witness.taken }), killer()])
    t.log(`killed ${kills.join(', ')}`)
    checkChurn(t, report)
    await checkQuiet(t, cluster, witness)
  })
})
