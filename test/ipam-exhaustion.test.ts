/** Four ipam replicas on a real NATS and etcd: a pool of exactly 10,000 addresses goes to 10,000 claims made at once. */

import { type Bus, connectBus } from '@heddle/bus'
import { busServices, type Claim } from '@heddle/contract'
import { allPages, HeddleError, withCall } from '@heddle/core'
import { ipamConfig, ipamService } from '@heddle/ipam'
import { createLogger, createRuntime } from '@heddle/runtime'
import { connectStore } from '@heddle/store'
import { startEtcd, startNats } from '@heddle/testkit'
import test from 'ava'

const size = 10_000

test('with four replicas and 10,000 concurrent claims on 10,000 addresses every claim succeeds, none is given twice, and the next is told', async (t) => {
  const nats = await startNats()
  t.teardown(() => nats.stop())
  const etcd = await startEtcd()
  t.teardown(() => etcd.stop())
  const logger = createLogger({ name: 'test', host: 'h1', log: { level: 'error', pretty: true } })
  const connect = async (name: string): Promise<Bus> => {
    const bus = await connectBus({ servers: [nats.url], name, logger })
    t.teardown(() => bus.close())
    return bus
  }
  for (let replica = 0; replica < 4; replica++) {
    const store = connectStore({ endpoints: [etcd.url], logger })
    t.teardown(() => store.close())
    const runtime = createRuntime({ name: 'ipam', host: `h${replica}`, version: 'test', log: { level: 'error', pretty: true } })
    ipamService.build(runtime, { bus: await connect(`ipam-${replica}`), store }, ipamConfig.parse({}))
    t.teardown(() => runtime.stop())
    await runtime.start()
  }

  const ipam = (await connect('caller')).client(busServices.ipam)
  const { pool } = await withCall({ timeoutMs: 10_000 }, (call) =>
    ipam.createPool({ pool: { space: 'full', prefix: '10.9.0.0/16', ranges: [{ first: '10.9.1.0', last: '10.9.40.15' }] } }, call),
  )
  const poolIds = [pool?.id ?? '']
  const allocate = (owner: string) =>
    withCall({ timeoutMs: 120_000, key: owner }, async (call) => (await ipam.allocate({ owner, host: 'h1', wants: [{ poolIds }] }, call)).allocations[0]?.claim)

  const startMs = performance.now()
  const claims = await Promise.all(Array.from({ length: size }, (_, n) => allocate(`endpoint-${n}`)))
  t.log(`${size} claims in ${Math.round(performance.now() - startMs)} ms`)
  t.is(new Set(claims.map((claim) => claim?.address)).size, size)
  t.deepEqual(
    claims.map((claim) => claim?.owner),
    claims.map((_, n) => `endpoint-${n}`),
  )

  const late = await Promise.allSettled(Array.from({ length: 20 }, (_, n) => allocate(`late-${n}`)))
  t.deepEqual(
    late.map((outcome) => outcome.status === 'rejected' && HeddleError.from(outcome.reason).code),
    late.map(() => 'pool-exhausted' as const),
  )

  const again = await Promise.all(Array.from({ length: 100 }, (_, n) => allocate(`endpoint-${n}`)))
  t.deepEqual(
    again.map((claim) => claim?.address),
    claims.slice(0, 100).map((claim) => claim?.address),
  )

  // More than one message of NATS takes.
  const listed = await withCall({ timeoutMs: 30_000 }, (call) =>
    allPages(
      (pageToken) => ipam.listClaims({ poolId: poolIds[0] ?? '', pageToken }, call),
      (page) => page.claims,
    ),
  )
  const held = (claim: Claim | undefined) => `${claim?.address} ${claim?.owner}`
  t.deepEqual(listed.map(held).toSorted(), claims.map(held).toSorted())

  const freed = await withCall({ timeoutMs: 10_000 }, (call) => ipam.release({ owner: 'endpoint-77' }, call))
  t.is(freed.released, 1)
  t.is((await allocate('late-1'))?.address, claims[77]?.address)
})
