/** A store on a real etcd behind a proxy that misbehaves, for the tests of what can go wrong between them. */
import { type Call, withCall } from '@heddle/core'
import { type FaultProxy, type FaultProxyOptions, type ServerHandle, startEtcd, startFaultProxy } from '@heddle/testkit'
import type { ExecutionContext } from 'ava'
import pino from 'pino'
import { connectStore, type Store, type Transaction } from '../index.ts'

export const logger = pino({ level: 'silent' })

export interface Setup {
  readonly etcd: ServerHandle
  readonly proxy: FaultProxy
  /** Through the proxy. */
  readonly store: Store
  /** Past the proxy: what everybody else does and sees. */
  readonly direct: Store
}

export async function setUp(t: ExecutionContext, onReply?: FaultProxyOptions['onReply']): Promise<Setup> {
  const etcd = await startEtcd({ progressNotifyMs: 200 })
  const proxy = await startFaultProxy({ target: etcd.url, ...(onReply && { onReply }) })
  const store = connectStore({ endpoints: [proxy.url], logger })
  const direct = connectStore({ endpoints: [etcd.url], logger })
  t.teardown(async () => {
    proxy.pass()
    await Promise.all([store.close(), direct.close()])
    await proxy.close()
    await etcd.stop()
  })
  await within((call) => store.get('connect', call))
  return { etcd, proxy, store, direct }
}

export const within = <T>(body: (call: Call) => Promise<T>, timeoutMs = 10_000): Promise<T> => withCall({ timeoutMs }, body)
export const commit = (store: Store, transaction: Partial<Transaction>) => within((call) => store.commit({ when: [], write: [], ...transaction }, call))
export const get = (store: Store, key: string) => within((call) => store.get(key, call))
export const claim = (key: string, owner: string): Transaction => ({ when: [{ key, is: 'absent' }], write: [{ put: key, value: owner }], otherwiseRead: [key] })
export const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Cut first: a reply that has not reached the proxy yet is lost as well. */
export function loseAndHeal(proxy: FaultProxy): void {
  proxy.cut()
  proxy.pass()
}

export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await condition()) && tries < 2_000; tries++) await pause(5)
}
