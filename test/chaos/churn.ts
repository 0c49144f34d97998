/** Attach and detach pairs by several runtimes at once, as kubelet would do them: a failed ADD is followed by DEL, DEL is repeated. */
import { setTimeout as delay } from 'node:timers/promises'
import type { CniCall, CniOutcome } from '@heddle/testkit'
import { type ChaosCluster, type ChaosHost, cniConfig } from './cluster.ts'

export interface ChurnOptions {
  /** At least so many, and on until `done`. */
  readonly pairs: number
  readonly done: () => boolean
  /** Begins the names of its containers. */
  readonly label: string
  /** Addresses that are others' all the while, by container. */
  readonly taken: ReadonlyMap<string, string>
  /** Whenever a call begins. */
  readonly onCall?: () => void
}

export interface ChurnCall {
  readonly command: 'ADD' | 'DEL'
  readonly host: string
  readonly succeeded: boolean
  /** performance.now() when it began. */
  readonly beganMs: number
  readonly tookMs: number
}

export interface ChurnReport {
  readonly calls: readonly ChurnCall[]
  /** What must be empty: addresses given to two containers at once, failures that are not retryable, DELs that never succeeded. */
  readonly duplicates: readonly string[]
  readonly unexpected: readonly string[]
  readonly stuck: readonly string[]
}

const parallel = 4
/** CNI error code "try again later". */
const tryAgain = 11

export async function churn(cluster: ChaosCluster, { pairs, done, label, taken, onCall }: ChurnOptions): Promise<ChurnReport> {
  const report = { calls: [] as ChurnCall[], duplicates: [] as string[], unexpected: [] as string[], stuck: [] as string[] }
  const held = new Map(taken)
  const sandboxes = await Promise.all(Array.from({ length: parallel }, (_, worker) => cluster.sandbox(`${label}-${worker}`)))
  const call = async (host: ChaosHost, request: CniCall & { readonly command: 'ADD' | 'DEL' }): Promise<CniOutcome> => {
    const beganMs = performance.now()
    onCall?.()
    const outcome = await host.cni(request)
    const succeeded = outcome.exitCode === 0
    report.calls.push({ command: request.command, host: host.name, succeeded, beganMs, tookMs: performance.now() - beganMs })
    if (!succeeded && !isRetryable(outcome)) report.unexpected.push(`${request.command} ${request.containerId}: ${outcome.stdout}`)
    return outcome
  }
  let next = 0
  const worker = async (index: number): Promise<void> => {
    const host = cluster.hosts[index % 2] as ChaosHost
    while (next < pairs || !done()) {
      const containerId = `${label}-${next++}`
      const attachment = { containerId, netns: sandboxes[index] ?? '', ifname: 'eth0', config: cniConfig }
      const added = await call(host, { command: 'ADD', ...attachment })
      const addresses = added.exitCode === 0 ? addressesOf(added) : []
      for (const address of addresses) {
        const other = held.get(address)
        if (other !== undefined) report.duplicates.push(`${address}: ${other} and ${containerId}`)
        held.set(address, containerId)
      }
      await delay(Math.random() * 20)
      // From here on somebody else may rightly get them.
      for (const address of addresses) held.delete(address)
      let attempts = 0
      while ((await call(host, { command: 'DEL', ...attachment })).exitCode !== 0 && ++attempts < 40) await delay(250)
      if (attempts === 40) report.stuck.push(containerId)
    }
  }
  await Promise.all(sandboxes.map((_, index) => worker(index)))
  return report
}

export function addressesOf({ json }: CniOutcome): string[] {
  return json.ips.map((ip: { address: string }) => ip.address)
}

export function isRetryable({ json }: CniOutcome): boolean {
  return json?.code === tryAgain
}
