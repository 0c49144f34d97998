/**
 * Durable claims a second over the bus: one ipam replica in its own process, 64 callers in this one, a real NATS and etcd,
 * every claim a trace. The rival writes the same records from this process straight to the same etcd, one transaction a claim.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { connectBus } from '@heddle/bus'
import { busServices } from '@heddle/contract'
import { withCall } from '@heddle/core'
import { createRuntime } from '@heddle/runtime'
import { connectUngrouped } from '@heddle/store'
import { startEtcd, startNats } from '@heddle/testkit'
import { type Figure, figure, median } from './figures.ts'

const callers = 64
const warmUpMs = 1_500
const roundMs = 2_000
const rounds = 3

export async function benchIpamClaims(): Promise<Figure> {
  const nats = await startNats()
  const etcd = await startEtcd()
  const runtime = createRuntime({ name: 'bench', host: 'bench', version: 'bench', log: { level: 'error', pretty: true } })
  await runtime.start()
  const replica = fork(join(import.meta.dirname, 'ipam-replica.ts'), [nats.url, etcd.url])
  const bus = await connectBus({ servers: [nats.url], name: 'bench', logger: runtime.logger })
  const rival = connectUngrouped([etcd.url])
  try {
    await once(replica, 'message')
    const ipam = bus.client(busServices.ipam)
    const { pool } = await withCall({ timeoutMs: 10_000 }, (call) => ipam.createPool({ pool: { space: 'bench', prefix: '10.0.0.0/10' } }, call))
    const poolIds = [pool?.id ?? '']
    let next = 0
    const claim = async () => {
      const owner = `endpoint-${next++}`
      await withCall({ timeoutMs: 10_000, key: owner }, (call) => ipam.allocate({ owner, host: 'bench', wants: [{ poolIds }] }, call))
    }
    const write = async () => {
      const owner = `endpoint-${next++}`
      const value = JSON.stringify({
        poolId: 'bench.11.0.0.0_8',
        address: `11.${next >>> 16}.${(next >>> 8) & 255}.${next & 255}`,
        prefixLength: 8,
        owner,
        host: 'bench',
        claimedAt: new Date().toISOString(),
      })
      await rival.createAll({ [`rival/claim/${next}`]: value, [`rival/owner/${owner}`]: `{"claims":["bench.11.0.0.0_8/${next}"]}` })
    }
    await ratePerSecond(claim, warmUpMs)
    await ratePerSecond(write, warmUpMs)
    const ours: number[] = []
    const rivals: number[] = []
    for (let round = 0; round < rounds; round++) {
      ours.push(await ratePerSecond(claim, roundMs))
      rivals.push(await ratePerSecond(write, roundMs))
    }
    return figure({
      id: 'ipam-claims',
      what: `durable claims over the bus, ${callers} callers, one replica`,
      unit: 'claims/s',
      ours: median(ours),
      rival: median(rivals),
      rivalName: 'one etcd transaction per claim',
    })
  } finally {
    replica.kill()
    rival.close()
    await bus.close()
    await runtime.stop()
    await nats.stop()
    await etcd.stop()
  }
}

/** Each caller does the next as soon as its last is done. */
async function ratePerSecond(operation: () => Promise<void>, forMs: number): Promise<number> {
  let done = 0
  const startMs = performance.now()
  const endMs = startMs + forMs
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (performance.now() < endMs) {
        await operation()
        done++
      }
    }),
  )
  return (done * 1000) / (performance.now() - startMs)
}
