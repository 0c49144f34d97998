/** Replicas of vf-allocator in processes of their own, behind proxies to etcd and NATS: killed, cut off, left without replies. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type FaultProxy, startFaultProxy } from '@heddle/testkit'
import type { Random } from '../chaos/random.ts'

export interface Replica {
  readonly etcd: FaultProxy
  readonly nats: FaultProxy
  /** SIGKILL; resolves when another one serves in its place. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export async function startReplica(natsUrl: string, etcdUrl: string, config: object): Promise<Replica> {
  const [etcd, nats] = await Promise.all([startFaultProxy({ target: etcdUrl }), startFaultProxy({ target: natsUrl })])
  const launch = async (): Promise<ChildProcess> => {
    const child = fork(join(import.meta.dirname, '../bench/vf-replica.ts'), [nats.url, etcd.url, JSON.stringify(config)])
    await once(child, 'message')
    return child
  }
  let child = await launch()
  const kill = async () => {
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  return {
    etcd,
    nats,
    async restart() {
      await kill()
      etcd.pass()
      nats.pass()
      child = await launch()
    },
    async stop() {
      await kill()
      await Promise.all([etcd.close(), nats.close()])
    },
  }
}

/** One thing after another befalls one replica after another, until told to stop; all is well again then. Answers what befell. */
export async function befall(replicas: readonly Replica[], random: Random, done: () => boolean): Promise<Record<string, number>> {
  const faults: Record<string, (replica: Replica) => Promise<void>> = {
    kill: (replica) => replica.restart(),
    'cut from etcd': async ({ etcd }) => etcd.cut(),
    'lost replies of etcd': async ({ etcd }) => {
      etcd.swallowReplies()
      await delay(50 + random.next() * 200)
      etcd.pass()
    },
    'slow etcd': async ({ etcd }) => {
      etcd.delay(30)
      await delay(100 + random.next() * 200)
      etcd.delay(0)
    },
    'cut from NATS': async ({ nats }) => nats.cut(),
  }
  const names = Object.keys(faults)
  const counts: Record<string, number> = {}
  while (!done()) {
    const name = names[Math.floor(random.next() * names.length)] as string
    const replica = replicas[Math.floor(random.next() * replicas.length)] as Replica
    counts[name] = (counts[name] ?? 0) + 1
    await (faults[name] as (replica: Replica) => Promise<void>)(replica)
    await delay(100 + random.next() * 300)
  }
  for (const { etcd, nats } of replicas) {
    etcd.pass()
    nats.pass()
  }
  return counts
}
