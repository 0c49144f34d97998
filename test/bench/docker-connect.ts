/**
 * `docker network connect` and `disconnect` of a running container to an overlay network that has an endpoint on the
 * other host, through the Engine API: Heddle's against the overlay of two swarm nodes in the same namespaces.
 */
import { type Figure, figure, median, timed } from './figures.ts'
import type { DockerHost, TwoHosts } from './two-hosts.ts'

/** Blocks of one network's rounds alternate, as for CNI: what a driver leaves the kernel to do meets its own next calls, and not the other's. */
const blocks = 8
const roundsOfBlock = 7
const rivalName = "Docker's overlay, two swarm nodes"

export const connectIds = ['docker-connect', 'docker-disconnect']

export async function connectFigures({ hosts, rival, ours, container }: TwoHosts, progress: (line: string) => void): Promise<Figure[]> {
  const [first, second] = hosts
  const peer = await container(second, 'peer')
  for (const network of [rival, ours]) await connect(second, network, peer.id)
  const { id } = await container(first, 'subject')
  const timings: Record<string, { connect: number[]; disconnect: number[] }> = {
    [rival]: { connect: [], disconnect: [] },
    [ours]: { connect: [], disconnect: [] },
  }
  progress(`connect and disconnect: ${blocks} blocks of ${roundsOfBlock} rounds`)
  for (let block = 0; block < blocks; block++) {
    const network = block % 2 === 0 ? rival : ours
    for (let round = 0; round < roundsOfBlock; round++) {
      const connected = await connect(first, network, id)
      const disconnected = await timed(() => first.dockerd.api('POST', `/networks/${network}/disconnect`, { Container: id }))
      // The first of a block still has what the other's last one left behind.
      if (round === 0) continue
      timings[network]?.connect.push(connected)
      timings[network]?.disconnect.push(disconnected)
    }
  }
  const p50 = (what: 'connect' | 'disconnect') => ({
    ours: median(timings[ours]?.[what] ?? []),
    rival: median(timings[rival]?.[what] ?? []),
  })
  return [
    figure({ id: 'docker-connect', what: 'docker network connect, overlay, p50', unit: 'ms', ...p50('connect'), rivalName }),
    figure({ id: 'docker-disconnect', what: 'docker network disconnect, overlay, p50', unit: 'ms', ...p50('disconnect'), rivalName }),
  ]
}

function connect({ dockerd }: DockerHost, network: string, container: string): Promise<number> {
  return timed(() => dockerd.api('POST', `/networks/${network}/connect`, { Container: container }))
}
