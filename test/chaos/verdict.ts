/** What must hold of every churn and of what is left after it, whatever was killed meanwhile. */
import type { ExecutionContext } from 'ava'
import type { ChurnReport } from './churn.ts'
import { type ChaosCluster, cniTimeoutMs } from './cluster.ts'
import { nothing, settle } from './settled.ts'
import type { Witness } from './witness.ts'

/** For the start of the launcher and for a machine that is busy. */
const marginMs = 9_000

export function checkChurn(t: ExecutionContext, { calls, duplicates, unexpected, stuck }: ChurnReport): void {
  const slowest = (command: string) => Math.max(...calls.filter((call) => call.command === command).map(({ tookMs }) => tookMs))
  const adds = calls.filter(({ command }) => command === 'ADD')
  const attached = adds.filter(({ succeeded }) => succeeded).length
  t.log(
    `${attached} attached, ${adds.length - attached} refused; the slowest ADD took ${slowest('ADD').toFixed(0)} ms, the slowest DEL ${slowest('DEL').toFixed(0)} ms`,
  )
  t.deepEqual(duplicates, [])
  t.deepEqual(unexpected, [])
  t.deepEqual(stuck, [])
  t.true(attached > 0, 'no ADD succeeded at all')
  t.deepEqual(
    calls.filter(({ tookMs }) => tookMs > cniTimeoutMs + marginMs),
    [],
    'a call outlived its deadline',
  )
}

/** The two witnesses alone, then, without them and their network, nothing. */
export async function checkQuiet(t: ExecutionContext, cluster: ChaosCluster, witness: Witness): Promise<void> {
  const expected = {
    endpoints: ['witness-from', 'witness-to'],
    claims: 4,
    links: 2,
    // On each host the other's witness: one VXLAN destination, an IPv4 and an IPv6 neighbour.
    peers: 6,
  }
  const quiet = await settle(cluster, expected)
  t.deepEqual(quiet.present, expected, quiet.inDetail)
  for (const { family, sent, received } of await witness.stop()) {
    t.log(`${family}: ${sent} packets sent, ${received} received`)
    t.true(sent > 100, family)
    // The last one may be under way when the ping is stopped.
    t.true(sent - received <= 1, `${sent - received} of ${sent} packets of ${family} were lost`)
  }
  const there = (await cluster.remains(0)).join('\n')
  for (const what of ['heddle/ipam/claim/', 'heddle/networks/endpoint/', 'heddle/overlay/vni/', 'namespace ', 'nftables vnis', 'nftables members4']) {
    t.true(there.includes(what), `${what} would not be missed: ${there}`)
  }
  await witness.detach()
  const empty = await settle(cluster, nothing)
  t.deepEqual(empty.present, nothing, empty.inDetail)
  await cluster.gateway().cli(['network', 'rm', 'chaos'])
  t.deepEqual(await cluster.remains(60_000), [])
}
