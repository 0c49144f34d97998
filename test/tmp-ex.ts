import { connectBus } from '@heddle/bus'
import { busServices } from '@heddle/contract'
import { withCall } from '@heddle/core'
import { ipamConfig, ipamService } from '@heddle/ipam'
import { createLogger, createRuntime } from '@heddle/runtime'
import { connectStore } from '@heddle/store'
import { startEtcd, startNats } from '@heddle/testkit'

const nats = await startNats(),
  etcd = await startEtcd()
const logger = createLogger({ name: 'test', host: 'h1', log: { level: 'error', pretty: true } })
const stat = { commits: 0, failed: 0, lists: 0, commitMs: 0 }
const bus = (name: string) => connectBus({ servers: [nats.url], name, logger })
const replicas = Number(process.argv[2] ?? 4),
  size = 10000,
  par = Number(process.argv[3] ?? 10000)
for (let i = 0; i < replicas; i++) {
  const store = connectStore({ endpoints: [etcd.url], logger })
  const commit = store.commit.bind(store),
    list = store.list.bind(store)
  store.commit = async (tx, call) => {
    stat.commits++
    const s = performance.now()
    const r = await commit(tx, call)
    stat.commitMs += performance.now() - s
    if (!r.succeeded) stat.failed++
    return r
  }
  store.list = async (p, call) => {
    stat.lists++
    return list(p, call)
  }
  const runtime = createRuntime({ name: 'ipam', host: `h${i}`, version: 'test', log: { level: 'error', pretty: true } })
  ipamService.build(runtime, { bus: await bus(`i${i}`), store }, ipamConfig.parse({}))
  await runtime.start()
}
const ipam = (await bus('caller')).client(busServices.ipam)
const { pool } = await withCall({ timeoutMs: 10_000 }, (call) =>
  ipam.createPool({ pool: { space: 'full', prefix: '10.9.0.0/16', ranges: [{ first: '10.9.1.0', last: '10.9.40.15' }] } }, call),
)
const allocate = (owner: string) =>
  withCall(
    { timeoutMs: 120_000, key: owner },
    async (call) => (await ipam.allocate({ owner, host: 'h1', wants: [{ poolIds: [pool!.id] }] }, call)).allocations[0]?.claim,
  )
const s = performance.now()
let n = 0
const lap = setInterval(() => console.log(Math.round(performance.now() - s), n, JSON.stringify(stat)), 500)
const got: string[] = []
let next = 0
await Promise.all(
  Array.from({ length: par }, async () => {
    while (next < size) {
      const i = next++
      got.push((await allocate(`e${i}`))!.address)
      n++
    }
  }),
)
clearInterval(lap)
console.log('done', performance.now() - s, new Set(got).size, stat)
await nats.stop()
await etcd.stop()
process.exit(0)
