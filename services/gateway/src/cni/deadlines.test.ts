/** Whatever hangs behind the door, and whenever the door stops, each command is answered and leaves nothing. */
import { HeddleError } from '@heddle/core'
import test from 'ava'
import { startGateway } from '../testing/gateway.ts'
import { addBlue, addEnv, blueConfig, leftovers, none } from '../testing/networks.ts'

const parts = ['networks', 'ipam', 'overlay', 'wiring']
const commands: [command: string, more: object, code: number][] = [
  ['ADD', {}, 11],
  ['DEL', {}, 11],
  ['CHECK', { prevResult: { cniVersion: '1.1.0', interfaces: [], ips: [] } }, 11],
  ['GC', { 'cni.dev/valid-attachments': [] }, 11],
  ['STATUS', {}, 50],
]
for (const [command, more, code] of commands) {
  test(`${command} is answered with ${code} in time when nothing behind the door answers`, async (t) => {
    const gateway = await startGateway({ cni: { timeoutMs: 400 } })
    addBlue(gateway.cluster)
    for (const part of parts) gateway.cluster.faults.set(part, 'hang')
    const answer = await gateway.cni({ ...addEnv, CNI_COMMAND: command }, { ...blueConfig, ...more })
    t.is(answer.exitCode, 1)
    t.is(answer.json.code, code, answer.stdout)
    gateway.cluster.faults.clear()
    await gateway.stop()
  })
}

test('an ADD that hangs when the door stops is answered "try again", and leaves nothing', async (t) => {
  const gateway = await startGateway()
  const { cluster } = gateway
  addBlue(cluster)
  cluster.faults.set('wiring.attach', 'hang')
  const adding = gateway.cni(addEnv, blueConfig)
  while (cluster.endpoints.size === 0) await new Promise(setImmediate)
  const stopped = gateway.runtime.stop(9000)
  const { exitCode, json } = await adding
  t.is(exitCode, 1)
  t.is(json.code, 11)
  t.regex(json.msg, /stopping; try again/)
  await stopped
  t.deepEqual(leftovers(cluster), none)
  await gateway.stop()
})

test('an ADD that is quick enough is finished before the door stops', async (t) => {
  const gateway = await startGateway()
  addBlue(gateway.cluster)
  const adding = gateway.cni(addEnv, blueConfig)
  while (gateway.cluster.calls.length === 0) await new Promise(setImmediate)
  await gateway.runtime.stop(9000)
  t.is((await adding).exitCode, 0)
  t.deepEqual(leftovers(gateway.cluster), { claims: 2, endpoints: 1, interfaces: 1 })
  await gateway.stop()
})

test('a DEL succeeds when only the brains hang, however short its time', async (t) => {
  const gateway = await startGateway({ cni: { timeoutMs: 400 }, releaseTimeoutMs: 5000 })
  addBlue(gateway.cluster)
  await gateway.cni(addEnv, blueConfig)
  gateway.cluster.faults.set('networks', 'hang').set('ipam', new HeddleError('unavailable', 'away'))
  t.is((await gateway.cni({ ...addEnv, CNI_COMMAND: 'DEL' }, blueConfig)).exitCode, 0)
  gateway.cluster.faults.clear()
  await gateway.stop()
})
