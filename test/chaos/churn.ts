/** Attach and detach pairs by several runtimes at once, as kubelet would do them: a failed ADD is followed by DEL, DEL is repeated. */
import { setTimeout as delay } from 'node:timers/promises'
import type { CniCall, CniOutcome } from '@heddle/testkit'
import type { ChaosCluster, ChaosHost } from './cluster.ts'

export interface ChurnReport {
  /** ADDs that succeeded and failed. */
  attached: number
  refused: number
  /** What must be empty: addresses given to two containers at once, failures that are not retryable, DELs that never succeeded. */
  readonly duplicates: string[]
  readonly unexpected: string[]
  readonly stuck: string[]
}

const config = { cniVersion: '1.1.0', name: 'chaos', type: 'heddle' }
/** CNI error code "try again later". */
const tryAgain = 11

/** At least `pairs`, and on until `done`. */
export async function churn(cluster: ChaosCluster, pairs: number, parallel: number, label: string, done: () => boolean = () => true): Promise<ChurnReport> {
  const report: ChurnReport = { attached: 0, refused: 0, duplicates: [], unexpected: [], stuck: [] }
  const held = new Map<string, string>()
  const sandboxes = await Promise.all(Array.from({ length: parallel }, (_, worker) => cluster.sandbox(`hdc${process.pid}-${label}-${worker}`)))
  let next = 0
  const worker = async (index: number): Promise<void> => {
    const host = cluster.hosts[index % 2] as ChaosHost
    const netns = sandboxes[index] ?? ''
    while (next < pairs || !done()) {
      const containerId = `${label}-${next++}`
      const attachment = { containerId, netns, ifname: 'eth0', config }
      const added = await host.cni({ command: 'ADD', ...attachment })
      const addresses: string[] = added.exitCode === 0 ? added.json.ips.map((ip: { address: string }) => ip.address) : []
      if (added.exitCode === 0) report.attached++
      else {
        report.refused++
        if (!isRetryable(added)) report.unexpected.push(`ADD ${containerId}: ${added.stdout}`)
      }
      for (const address of addresses) {
        const other = held.get(address)
        if (other !== undefined) report.duplicates.push(`${address}: ${other} and ${containerId}`)
        held.set(address, containerId)
      }
      await delay(Math.random() * 20)
      // From here on somebody else may rightly get them.
      for (const address of addresses) held.delete(address)
      if (!(await detached(host, attachment, report))) report.stuck.push(containerId)
    }
  }
  await Promise.all(sandboxes.map((_, index) => worker(index)))
  return report
}

async function detached(host: ChaosHost, attachment: Omit<CniCall, 'command'>, report: ChurnReport): Promise<boolean> {
  for (let attempt = 0; attempt < 40; attempt++) {
    const outcome = await host.cni({ command: 'DEL', ...attachment })
    if (outcome.exitCode === 0) return true
    if (!isRetryable(outcome)) report.unexpected.push(`DEL: ${outcome.stdout}`)
    await delay(250)
  }
  return false
}

export function isRetryable({ json }: CniOutcome): boolean {
  return json?.code === tryAgain
}
