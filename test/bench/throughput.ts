/** One TCP stream between containers on two hosts: Heddle's overlay, Docker's overlay and the bare underlay in turn. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { run, withLab } from '@heddle/testkit'
import { figure, median, type Suite } from './figures.ts'
import { addressOn, startTwoHosts } from './two-hosts.ts'

const rounds = 5
const secondsEach = 4

export const throughputSuite: Suite = {
  ids: ['overlay-tcp', 'overlay-tcp-underlay'],
  run: (progress) =>
    withLab(async (lab) => {
      const { hosts, rival, ours, container } = await startTwoHosts(lab)
      const [first, second] = hosts
      const server = await container(first, 'server')
      const client = await container(second, 'client')
      for (const network of [rival, ours]) {
        await first.dockerd.api('POST', `/networks/${network}/connect`, { Container: server.id })
        await second.dockerd.api('POST', `/networks/${network}/connect`, { Container: client.id })
      }
      const between = `/proc/${server.pid}/ns/net`
      const from = `/proc/${client.pid}/ns/net`
      const paths = {
        ours: { server: between, client: from, address: await addressOn(first, server.id, ours) },
        rival: { server: between, client: from, address: await addressOn(first, server.id, rival) },
        underlay: { server: first.netns, client: second.netns, address: first.host.address },
      }
      const rates: Record<string, number[]> = { ours: [], rival: [], underlay: [] }
      for (let round = 0; round < rounds; round++) {
        for (const [name, path] of Object.entries(paths)) rates[name]?.push(await gigabitsPerSecond(path))
        progress(
          `round ${round + 1}: ${Object.entries(rates)
            .map(([name, values]) => `${name} ${values.at(-1)?.toFixed(1)}`)
            .join(', ')} Gbit/s`,
        )
      }
      const of = (name: string) => median(rates[name] ?? [])
      return [
        figure({
          id: 'overlay-tcp',
          what: 'one TCP stream, container to container',
          unit: 'Gbit/s',
          ours: of('ours'),
          rival: of('rival'),
          rivalName: "Docker's overlay",
        }),
        figure({
          id: 'overlay-tcp-underlay',
          what: 'one TCP stream against the bare wire',
          unit: 'Gbit/s',
          ours: of('ours'),
          rival: of('underlay'),
          rivalName: 'the underlay, host to host',
        }),
      ]
    }),
}

async function gigabitsPerSecond(path: { readonly server: string; readonly client: string; readonly address: string }): Promise<number> {
  const server = spawn('nsenter', [`--net=${path.server}`, 'setpriv', '--pdeathsig', 'KILL', 'iperf3', '--server', '--one-off', '--bind', path.address], {
    stdio: 'ignore',
  })
  const ended = once(server, 'exit')
  try {
    await delay(300)
    const report = JSON.parse(await run(['nsenter', `--net=${path.client}`, 'iperf3', '--json', '--time', String(secondsEach), '--client', path.address]))
    return (report.end.sum_received.bits_per_second as number) / 1e9
  } finally {
    server.kill()
    await ended
  }
}
