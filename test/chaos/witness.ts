/** Two containers that run through it all: pings between them every 20 ms, of which none may be lost to a control-plane fault. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { type CniCall, type LabScope, run } from '@heddle/testkit'
import { addressesOf } from './churn.ts'
import { type ChaosCluster, cniConfig } from './cluster.ts'

export interface Packets {
  readonly family: 'IPv4' | 'IPv6'
  readonly sent: number
  readonly received: number
}

export interface Witness {
  /** The addresses of both, with their container. */
  readonly taken: ReadonlyMap<string, string>
  /** Ends the pings; answers how many were sent and received. */
  stop(): Promise<readonly Packets[]>
  detach(): Promise<void>
}

export async function startWitness(scope: LabScope, cluster: ChaosCluster): Promise<Witness> {
  const attached: { readonly call: Omit<CniCall, 'command'>; readonly addresses: readonly string[] }[] = []
  for (const [index, containerId] of ['witness-from', 'witness-to'].entries()) {
    const call = { containerId, netns: await cluster.sandbox(containerId), ifname: 'eth0', config: cniConfig }
    const added = await cluster.hosts[index]?.cni({ command: 'ADD', ...call })
    if (added?.exitCode !== 0) throw new Error(`${containerId} could not be attached: ${added?.stdout}`)
    attached.push({ call, addresses: addressesOf(added) })
  }
  const [from, to] = attached
  const pings = await Promise.all(
    (to?.addresses ?? []).map(async (address) => {
      const target = address.split('/')[0] ?? ''
      const family = target.includes(':') ? ('IPv6' as const) : ('IPv4' as const)
      return { family, stop: await startPing(scope, from?.call.netns ?? '', family === 'IPv6' ? 'ping6' : 'ping', target) }
    }),
  )
  return {
    taken: new Map(attached.flatMap(({ call, addresses }) => addresses.map((address) => [address, call.containerId ?? ''] as const))),
    stop: () => Promise.all(pings.map(async ({ family, stop }) => ({ family, ...(await stop()) }))),
    async detach() {
      for (const [index, { call }] of attached.entries()) {
        const deleted = await cluster.hosts[index]?.cni({ command: 'DEL', ...call })
        if (deleted?.exitCode !== 0) throw new Error(`${call.containerId} could not be detached: ${deleted?.stdout}`)
      }
    },
  }
}

async function startPing(scope: LabScope, netns: string, applet: string, target: string) {
  // The first packet may meet the other host before it knows the sender.
  await run(['nsenter', `--net=${netns}`, 'busybox', applet, '-c', '3', '-W', '2', target]).catch(() => '')
  const ping = spawn('nsenter', [`--net=${netns}`, 'setpriv', '--pdeathsig', 'KILL', 'busybox', 'sh', '-c', `exec busybox ${applet} -i 0.02 ${target}`], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  scope.defer(applet, () => ping.kill('SIGKILL'))
  const output = text(ping.stdout)
  return async () => {
    ping.kill('SIGINT')
    if (ping.exitCode === null && ping.signalCode === null) await once(ping, 'exit')
    const [, sent, received] = /(\d+) packets transmitted, (\d+) packets received/.exec(await output) ?? []
    if (sent === undefined || received === undefined) throw new Error(`${applet} gave no summary`)
    return { sent: Number(sent), received: Number(received) }
  }
}
