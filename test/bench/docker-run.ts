/**
 * `docker run --rm` of a program that ends at once, from the command to its exit, beyond what the same takes with
 * `--network none`: what a network adds to a container's life. The networks take turns, each round from another one on.
 */
import { type Figure, figure, median, timed } from './figures.ts'
import type { TwoHosts } from './two-hosts.ts'

const rounds = 12

export const runIds = ['docker-run-overlay', 'docker-run-bridge']

export async function runFigures({ hosts, rival, ours, rivalBridge, oursBridge, image }: TwoHosts, progress: (line: string) => void): Promise<Figure[]> {
  const [{ dockerd }] = hosts
  const networks = ['none', rival, ours, rivalBridge, oursBridge]
  const timings = new Map<string, number[]>(networks.map((network) => [network, []]))
  progress(`docker run: ${rounds} rounds of ${networks.length} networks`)
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < networks.length; turn++) {
      const network = networks[(round + turn) % networks.length] as string
      const ms = await timed(() => dockerd.docker(['run', '--rm', '--network', network, image, 'echo']))
      // The first round reads programs and image from the disk.
      if (round > 0) timings.get(network)?.push(ms)
    }
  }
  const p50 = (network: string) => median(timings.get(network) ?? [])
  const none = p50('none')
  progress(networks.map((network) => `${network} ${p50(network).toFixed(0)} ms`).join(', '))
  const beyond = (mine: string, theirs: string) => ({ ours: p50(mine) - none, rival: p50(theirs) - none })
  const what = 'docker run --rm to its exit, beyond --network none, p50'
  return [
    figure({ id: 'docker-run-overlay', what: `${what}, overlay`, unit: 'ms', ...beyond(ours, rival), rivalName: "Docker's overlay, two swarm nodes" }),
    figure({ id: 'docker-run-bridge', what: `${what}, bridge`, unit: 'ms', ...beyond(oursBridge, rivalBridge), rivalName: "Docker's user-defined bridge" }),
  ]
}
