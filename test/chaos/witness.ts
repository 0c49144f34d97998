/** Two containers that run through it all: a ping between them every 20 ms, of which none may be lost to a control-plane fault. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { run } from '@heddle/testkit'
import type { ChaosCluster } from './cluster.ts'

export interface Witness {
  /** Ends the ping; answers how many were sent and received. */
  stop(): Promise<{ readonly sent: number; readonly received: number }>
}

export async function startWitness(cluster: ChaosCluster): Promise<Witness> {
  const [first, second] = cluster.hosts
  const [from, to] = [await cluster.sandbox(`hdc${process.pid}-from`), await cluster.sandbox(`hdc${process.pid}-to`)]
  const config = { cniVersion: '1.1.0', name: 'chaos', type: 'heddle' }
  const here = await first.cni({ command: 'ADD', containerId: 'witness-from', netns: from, ifname: 'eth0', config })
  const there = await second.cni({ command: 'ADD', containerId: 'witness-to', netns: to, ifname: 'eth0', config })
  if (here.exitCode !== 0 || there.exitCode !== 0) throw new Error(`the witnesses could not be attached: ${here.stdout} ${there.stdout}`)
  const address = String(there.json.ips[0].address).split('/')[0] ?? ''
  // The first packet may meet the other host before it knows the sender.
  await run(['nsenter', `--net=${from}`, 'busybox', 'ping', '-c', '3', '-W', '2', address]).catch(() => '')
  const ping = spawn('nsenter', [`--net=${from}`, 'setpriv', '--pdeathsig', 'KILL', 'busybox', 'sh', '-c', `exec busybox ping -i 0.02 ${address}`], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const output = text(ping.stdout)
  return {
    async stop() {
      ping.kill('SIGINT')
      if (ping.exitCode === null && ping.signalCode === null) await once(ping, 'exit')
      const [, sent, received] = /(\d+) packets transmitted, (\d+) packets received/.exec(await output) ?? []
      if (sent === undefined || received === undefined) throw new Error('ping gave no summary')
      return { sent: Number(sent), received: Number(received) }
    },
  }
}
