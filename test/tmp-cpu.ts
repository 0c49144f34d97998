import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connectBus } from '@heddle/bus'
import { busServices } from '@heddle/contract'
import { withCall } from '@heddle/core'
import { createRuntime } from '@heddle/runtime'
import { startEtcd, startNats } from '@heddle/testkit'

const N = Number(process.env.N ?? 20000)
const cpu = (pid: number) => {
  const f = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(f[11]) + Number(f[12])) * 10
}
const nats = await startNats(),
  etcd = await startEtcd()
const runtime = createRuntime({ name: 'bench', host: 'bench', version: 'bench', log: { level: 'error', pretty: true } })
await runtime.start()
const replica = fork('/work/main/test/bench/ipam-replica.ts', [nats.url, etcd.url], {
  execArgv: process.env.PROF ? ['--cpu-prof', '--cpu-prof-dir=/tmp/cpu'] : [],
})
const bus = await connectBus({ servers: [nats.url], name: 'bench', logger: runtime.logger })
await once(replica, 'message')
const ipam = bus.client(busServices.ipam)
const { pool } = await withCall({ timeoutMs: 10_000 }, (call) => ipam.createPool({ pool: { space: 'bench', prefix: '10.0.0.0/10' } }, call))
let n = 0
const run = async (count: number) => {
  const end = n + count
  await Promise.all(
    Array.from({ length: 64 }, async () => {
      while (n < end) {
        const owner = `e${n++}`
        await withCall({ timeoutMs: 10_000, key: owner }, (call) => ipam.allocate({ owner, host: 'bench', wants: [{ poolIds: [pool!.id] }] }, call))
      }
    }),
  )
}
await run(8000)
const pids = { caller: process.pid, replica: replica.pid!, nats: nats.pid, etcd: etcd.pid }
const before = Object.values(pids).map(cpu),
  s = performance.now()
await run(N)
const ms = performance.now() - s
console.log(
  'rate',
  Math.round((N / ms) * 1000),
  Object.keys(pids)
    .map((k, i) => `${k} ${(((cpu(Object.values(pids)[i]!) - before[i]!) * 1000) / N).toFixed(0)} us`)
    .join(', '),
)
replica.disconnect()
await once(replica, 'exit')
await bus.close()
await runtime.stop()
await nats.stop()
await etcd.stop()
